//! One thread of the mock: its listener, its connections, its timers.

use super::answer::Kitchen;
use super::connection::{Connection, Shared, Waits};
use super::script::Script;
use super::stats::{Counters, Stats, add, sub_one};
use crate::clock::now_ns;
use crate::poller::{Interest, Poller, Ready};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv, sockopt};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
/// Bytes read in one call.
const READ_BYTES: usize = 256 * 1024;
/// Sockets handled per turn.
const BATCH: usize = 256;

/// A thread's world.
pub(super) struct Server {
    poller: Poller,
    listener: OwnedFd,
    kitchen: Kitchen,
    script: Rc<Script>,
    counters: Arc<[Counters]>,
    thread: usize,
    connections: Vec<Option<Box<Connection>>>,
    /// How often each slot has been used: the upper half of its key, so that an old key finds nothing.
    uses: Vec<u32>,
    free: Vec<u32>,
    timers: BinaryHeap<Reverse<(u64, u64)>>,
    turns: VecDeque<u64>,
    scratch: Vec<u8>,
}

impl Server {
    /// A thread that serves `listener` until `stop` becomes readable.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub(super) fn new(
        listener: OwnedFd,
        stop: &impl AsFd,
        script: Script,
        models: &[String],
        counters: Arc<[Counters]>,
        thread: usize,
    ) -> io::Result<Self> {
        let poller = Poller::new(BATCH)?;
        poller.add(&listener, LISTENER, Interest::Read)?;
        poller.add(stop, STOP, Interest::Read)?;
        Ok(Self {
            poller,
            listener,
            kitchen: Kitchen::new(models),
            script: Rc::new(script),
            counters,
            thread,
            connections: Vec::new(),
            uses: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            turns: VecDeque::new(),
            scratch: vec![0; READ_BYTES],
        })
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// The poller broke; nothing that a peer does.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut ready: Vec<Ready> = Vec::with_capacity(BATCH);
        loop {
            let timeout = if self.turns.is_empty() {
                self.timers.peek().map(|Reverse((due, _))| due.saturating_sub(now_ns()))
            } else {
                Some(0)
            };
            ready.clear();
            ready.extend(self.poller.wait(timeout)?);
            for ready in &ready {
                match ready.key {
                    LISTENER => self.accept()?,
                    STOP => return Ok(()),
                    _ => self.ready(*ready),
                }
            }
            self.fire_timers();
            for _ in 0..self.turns.len() {
                let Some(key) = self.turns.pop_front() else { break };
                self.with(key, |connection, shared, _| {
                    connection.queued = false;
                    connection.advance(now_ns(), shared)
                });
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..BATCH {
            match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => self.admit(socket)?,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                // Out of descriptors: those that wait are served when one is free again.
                Err(_) => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    break;
                }
            }
        }
        Ok(())
    }

    fn admit(&mut self, socket: OwnedFd) -> io::Result<()> {
        sockopt::set_tcp_nodelay(&socket, true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.uses.push(0);
            u32::try_from(self.connections.len() - 1).expect("fewer descriptors than 2^32")
        });
        let key = u64::from(self.uses[slot as usize]) << 32 | u64::from(slot);
        self.poller.add(&socket, key, Interest::Read)?;
        self.connections[slot as usize] = Some(Box::new(Connection::new(socket)));
        let counters = &self.counters[self.thread];
        add(&counters.connections, 1);
        add(&counters.connections_open, 1);
        Ok(())
    }

    fn ready(&mut self, ready: Ready) {
        if ready.readable {
            self.with(ready.key, |connection, shared, scratch| {
                let now = now_ns();
                match recv(&connection.socket, &mut *scratch, RecvFlags::empty()) {
                    Ok((0, _)) => {
                        connection.lost(shared.counters);
                        Waits::Closed
                    }
                    Ok((bytes, _)) => connection.receive(&scratch[..bytes], now, shared),
                    Err(Errno::AGAIN | Errno::INTR) => connection.advance(now, shared),
                    Err(_) => {
                        connection.lost(shared.counters);
                        Waits::Closed
                    }
                }
            });
        } else if ready.writable {
            self.with(ready.key, |connection, shared, _| connection.advance(now_ns(), shared));
        }
    }

    fn fire_timers(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let now = now_ns();
        while let Some(Reverse((due, key))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            let counts = self.at(key).is_some_and(|connection| connection.due == due);
            if counts {
                self.with(key, |connection, shared, _| connection.advance(now, shared));
            }
        }
    }

    fn at(&self, key: u64) -> Option<&Connection> {
        let slot = (key & 0xffff_ffff) as usize;
        (self.uses[slot] == (key >> 32) as u32).then(|| self.connections[slot].as_deref())?
    }

    /// Gives the connection of `key`, if it still exists, to `work` and does what it asks for.
    fn with(&mut self, key: u64, work: impl FnOnce(&mut Connection, &mut Shared<'_>, &mut [u8]) -> Waits) {
        let slot = (key & 0xffff_ffff) as usize;
        if self.uses[slot] != (key >> 32) as u32 {
            return;
        }
        let Some(mut connection) = self.connections[slot].take() else { return };
        let all = &self.counters;
        let mut shared = Shared {
            kitchen: &mut self.kitchen,
            counters: &all[self.thread],
            script: &self.script,
            stats: &|| Stats::sum(all),
        };
        let waits = work(&mut connection, &mut shared, &mut self.scratch);
        match waits {
            Waits::Closed => {
                connection.closed(shared.counters);
                sub_one(&shared.counters.connections_open);
                self.uses[slot] = self.uses[slot].wrapping_add(1);
                self.free.push(u32::try_from(slot).expect("a slot is half a key"));
                return;
            }
            Waits::Turn if connection.queued => {}
            Waits::Turn => {
                connection.queued = true;
                self.turns.push_back(key);
            }
            Waits::Until(due) => {
                if connection.due != due {
                    self.timers.push(Reverse((due, key)));
                }
                connection.due = due;
            }
            Waits::Input | Waits::Room | Waits::Nothing => {}
        }
        let interest =
            Interest::of(connection.wants_input() && waits != Waits::Nothing, waits == Waits::Room);
        if interest != connection.interest {
            connection.interest = interest;
            // It was added when it was accepted; if this fails the connection only hangs, and the peer will say so.
            let _ = self.poller.modify(&connection.socket, key, interest);
        }
        self.connections[slot] = Some(connection);
    }
}
