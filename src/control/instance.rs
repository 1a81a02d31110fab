//! One instance per address, unless the operator says otherwise.
//!
//! Listeners share their address by `SO_REUSEPORT`, so a second copy of the program that was started by mistake would get half
//! of all connections, silently, and serve them with whatever tables it has. Two guards stand before that: a lock file, and a
//! trial bind of the address without sharing, which also sees instances that have another lock file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::settings::Settings;

/// How long the address of an instance that was killed may stay taken: the kernel takes its rings, and the listeners in them, down on a
/// worker of its own, after the process has ended.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Proof that this process is the one instance at its address, for as long as it is held.
#[derive(Debug)]
pub struct Instance {
    /// The lock goes with the descriptor. `None` if no lock was asked for.
    _lock: Option<File>,
}

/// Why the program may not start.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another process holds the lock.
    #[error(
        "another instance{} holds {}; set process.allow_second_instance to share its connections", of(*pid), path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, if the file says so.
        pid: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("lock file {}: {error}; set process.lock_file to a place that can be written", path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The address is taken, or is not an address of this machine.
    #[error("cannot listen on {address}: {error}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

fn of(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

impl Instance {
    /// Claims the addresses that callers connect to.
    ///
    /// With `process.allow_second_instance`, or port 0 (which takes a free port), nothing is claimed.
    ///
    /// # Errors
    /// Another instance is there, or the guard cannot be set up.
    pub fn claim(settings: &Settings) -> Result<Self, InstanceError> {
        let address = settings.listener.address;
        if settings.process.allow_second_instance || address.port() == 0 {
            return Ok(Self { _lock: None });
        }
        let path = settings.process.lock_file.clone().unwrap_or_else(|| default_lock_file(address));
        let lock = lock(&path)?;
        let passthrough = settings.passthrough.as_ref().map(|passthrough| passthrough.address);
        let https = settings.tls.is_on().then_some(settings.tls.address);
        for address in [Some(address), passthrough, https].into_iter().flatten() {
            wait_for(address)?;
        }
        Ok(Self { _lock: Some(lock) })
    }
}

/// Waits until nobody else has the address.
fn wait_for(address: SocketAddr) -> Result<(), InstanceError> {
    let start = Instant::now();
    loop {
        match try_alone(address) {
            Ok(()) => return Ok(()),
            // The lock is ours, so this may be what is left of an instance that was killed.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && start.elapsed() < PATIENCE => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(error) => return Err(InstanceError::Address { address, error }),
        }
    }
}

/// In the user's runtime directory; without one, in the directory for temporary files, with the user's number in its name.
fn default_lock_file(address: SocketAddr) -> PathBuf {
    let host = address.ip().to_string().replace(':', "-");
    let name = format!("{host}-{}.lock", address.port());
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(directory) if directory.is_dir() => directory.join(format!("cube-proxy-{name}")),
        Some(_) | None => {
            let user = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("cube-proxy-{user}-{name}"))
        }
    }
}

/// Locks a file for as long as it is held.
///
/// # Errors
/// Another process holds it, or it cannot be used.
pub(super) fn lock(path: &Path) -> Result<File, InstanceError> {
    let unusable = |error| InstanceError::Unusable { path: path.to_owned(), error };
    // NOFOLLOW: in a directory that everyone writes to, somebody may have put a link there.
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).expect("open flags are small");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
        .map_err(unusable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = file.take(32).read_to_string(&mut text);
            return Err(InstanceError::Locked { path: path.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(error) => return Err(unusable(error.into())),
    }
    // For people who wonder who holds it; the lock itself is the kernel's.
    let note = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(note.as_bytes()))
        .map_err(unusable)?;
    Ok(file)
}

/// Binds the address without sharing it, and gives it back at once. Nothing is accepted in between: it does not listen.
fn try_alone(address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of an earlier instance that are still closing do not count; one that listens does.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn settings(address: SocketAddr, lock_file: &str) -> Settings {
        let mut settings = Settings::default();
        settings.listener.address = address;
        let name = format!("cube-proxy-{}-{lock_file}", std::process::id());
        settings.process.lock_file = Some(std::env::temp_dir().join(name));
        settings
    }

    fn free_address() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.local_addr().expect("bound")
    }

    #[test]
    fn a_second_instance_is_refused_until_the_first_has_ended() {
        let settings = settings(free_address(), "second");
        let first = Instance::claim(&settings).expect("nobody else");
        let refused = Instance::claim(&settings).expect_err("one is there");
        let message = refused.to_string();
        assert!(matches!(refused, InstanceError::Locked { pid, .. } if pid == Some(std::process::id())));
        assert!(message.contains("process.allow_second_instance"), "{message}");
        drop(first);
        drop(Instance::claim(&settings).expect("the first has ended"));
        std::fs::remove_file(settings.process.lock_file.expect("set above")).expect("our file");
    }

    #[test]
    fn an_instance_with_another_lock_file_is_seen_by_its_address() {
        let address = free_address();
        let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_reuseport(&listener, true).expect("an option");
        bind(&listener, &address).expect("a free port");
        rustix::net::listen(&listener, 1).expect("a listener that shares its address");
        let settings = settings(address, "other");
        let refused = Instance::claim(&settings).expect_err("one is there");
        assert!(matches!(refused, InstanceError::Address { .. }), "{refused}");

        let mut shared = settings.clone();
        shared.process.allow_second_instance = true;
        drop(Instance::claim(&shared).expect("allowed"));
        std::fs::remove_file(settings.process.lock_file.expect("set above")).expect("our file");
    }

    #[test]
    fn a_lock_file_that_is_a_link_is_not_followed() {
        let settings = settings(free_address(), "link");
        let path = settings.process.lock_file.clone().expect("set above");
        std::os::unix::fs::symlink("/dev/null", &path).expect("our link");
        let refused = Instance::claim(&settings).expect_err("a link");
        assert!(matches!(refused, InstanceError::Unusable { .. }), "{refused}");
        std::fs::remove_file(path).expect("our link");
    }

    #[test]
    fn addresses_have_lock_files_of_their_own() {
        let name = |address: &str| default_lock_file(address.parse().expect("an address"));
        assert_ne!(name("127.0.0.1:8080"), name("127.0.0.1:8081"));
        assert!(name("[::1]:8080").to_string_lossy().ends_with("--1-8080.lock"));
    }
}
