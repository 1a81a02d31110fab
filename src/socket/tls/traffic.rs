//! Traffic: an established TLS connection without its socket. Records in, what they mean out; and the other way round.
//!
//! Besides data there are alerts, updates of keys, tickets (TLS 1.3, for us as the client) and what TLS 1.2 calls renegotiation,
//! which is always declined. All of them are few on an honest connection, so each has a small allowance.

use std::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ExtractedSecrets, ProtocolVersion};

use super::fault::Fault;
use super::record::{ContentType, HEADER_BYTES, Key, OVERHEAD_BYTES_MAX, PLAIN_BYTES_MAX, record_len};

/// Records in a row that carry no data: empty ones, updates of keys, tickets, warnings.
const IDLE_RECORDS_MAX: u8 = 32;
/// The longest message after the handshake; tickets are about 300 bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;
const WARNING: u8 = 1;
const FATAL: u8 = 2;

const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// What rustls keeps after the handshake: the secrets that new keys are made from.
pub(super) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What a record meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Data, in this part of the record.
    Data(Range<usize>),
    /// Nothing for whoever reads.
    Nothing,
    /// The peer's last word: no more data will come.
    End,
}

/// Both directions of a connection.
pub(super) struct Traffic {
    version: ProtocolVersion,
    receive: Key,
    send: Key,
    /// TLS 1.2 keeps one key for ever and needs nothing more.
    kernel: Option<Box<Kernel>>,
    /// A message whose end has not come yet; mostly empty and without memory.
    begun: Vec<u8>,
    idle_records: u8,
    /// The peer wants our next data under another key.
    update_owed: bool,
    /// The peer asked to shake hands again and has not been declined yet.
    decline_owed: bool,
    declined: bool,
}

impl Traffic {
    /// Takes over after the handshake.
    ///
    /// # Errors
    /// [`Fault::Internal`]: a cipher that we do not have.
    pub(super) fn new(secrets: ExtractedSecrets, kernel: Kernel) -> Result<Self, Fault> {
        let version = match &kernel {
            Kernel::Server(kernel) => kernel.protocol_version(),
            Kernel::Client(kernel) => kernel.protocol_version(),
        };
        let is_13 = version == ProtocolVersion::TLSv1_3;
        Ok(Self {
            version,
            receive: Key::new(version, secrets.rx)?,
            send: Key::new(version, secrets.tx)?,
            kernel: is_13.then(|| Box::new(kernel)),
            begun: Vec::new(),
            idle_records: 0,
            update_owed: false,
            decline_owed: false,
            declined: false,
        })
    }

    /// Length of the first record in `bytes`, if it is there whole.
    ///
    /// # Errors
    /// No record begins like this.
    pub(super) fn whole_record(&self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        Ok(record_len(bytes, self.version)?.filter(|len| *len <= bytes.len()))
    }

    /// Opens one whole record in place.
    ///
    /// # Errors
    /// The connection is over; the peer is told [`Fault::alert`].
    pub(super) fn take(&mut self, record: &mut [u8]) -> Result<Taken, Fault> {
        let (kind, at) = self.receive.open(record)?;
        if !self.begun.is_empty() && kind != ContentType::Handshake {
            // Messages are not interleaved with records of another type (RFC 8446 §5.1).
            return Err(Fault::Unexpected);
        }
        if kind == ContentType::ApplicationData && !at.is_empty() {
            self.idle_records = 0;
            return Ok(Taken::Data(at));
        }
        self.idle_records += 1;
        if self.idle_records > IDLE_RECORDS_MAX {
            return Err(Fault::TooMany);
        }
        match kind {
            ContentType::ApplicationData => Ok(Taken::Nothing),
            ContentType::Alert => self.alerted(&record[at]),
            ContentType::Handshake => self.told(&record[at]),
            ContentType::ChangeCipherSpec => Err(Fault::Unexpected),
        }
    }

    fn alerted(&self, alert: &[u8]) -> Result<Taken, Fault> {
        let &[level, what] = alert else { return Err(Fault::Malformed) };
        match what {
            CLOSE_NOTIFY => Ok(Taken::End),
            USER_CANCELED => Ok(Taken::Nothing),
            // In TLS 1.3 the level says nothing (RFC 8446 §6).
            _ if level == WARNING && self.version != ProtocolVersion::TLSv1_3 => Ok(Taken::Nothing),
            _ => Err(Fault::Alerted(what)),
        }
    }

    /// Takes handshake messages: any number of them, or a part of one.
    fn told(&mut self, bytes: &[u8]) -> Result<Taken, Fault> {
        if bytes.is_empty() {
            return Err(Fault::Unexpected);
        }
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend_from_slice(bytes);
        let mut rest = &begun[..];
        while let Some((&[kind, a, b, c], after)) = rest.split_first_chunk::<4>() {
            let len = usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("24 bits");
            if len > MESSAGE_BYTES_MAX {
                return Err(Fault::TooLong);
            }
            let Some((message, after)) = after.split_at_checked(len) else { break };
            self.message(kind, message, after.is_empty())?;
            rest = after;
        }
        if !rest.is_empty() {
            self.begun = rest.to_vec();
        }
        Ok(Taken::Nothing)
    }

    fn message(&mut self, kind: u8, message: &[u8], is_last: bool) -> Result<(), Fault> {
        let Some(kernel) = &mut self.kernel else {
            // TLS 1.2: the peer wants to shake hands again. Once it is told no; who goes on is not listening.
            if !matches!(kind, HELLO_REQUEST | CLIENT_HELLO) || self.declined {
                return Err(Fault::Unexpected);
            }
            self.declined = true;
            self.decline_owed = true;
            return Ok(());
        };
        match (kind, &mut **kernel) {
            (KEY_UPDATE, kernel) => {
                let &[requested @ (0 | 1)] = message else { return Err(Fault::Malformed) };
                // What follows is under the new key, so it cannot be in the same record (RFC 8446 §5.1).
                if !is_last {
                    return Err(Fault::Unexpected);
                }
                let secret = match kernel {
                    Kernel::Server(kernel) => kernel.update_rx_secret(),
                    Kernel::Client(kernel) => kernel.update_rx_secret(),
                };
                self.receive = Key::new(self.version, secret.map_err(|_| Fault::Internal)?)?;
                self.update_owed |= requested == 1;
                Ok(())
            }
            (NEW_SESSION_TICKET, Kernel::Client(kernel)) => {
                kernel.handle_new_session_ticket(message).map_err(|_| Fault::Malformed)
            }
            _ => Err(Fault::Unexpected),
        }
    }

    /// Whether something is to be said before the next data.
    const fn owes(&self) -> bool {
        self.update_owed || self.decline_owed || self.send.is_worn()
    }

    /// Appends records that carry as much of `first` followed by `second` as `out` has room for; how much that was.
    ///
    /// # Errors
    /// [`Fault::Exhausted`]: TLS 1.2 has no second key.
    pub(super) fn seal(&mut self, first: &[u8], second: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        if self.owes() {
            self.pay(out)?;
        }
        let (mut first, mut second) = (first, second);
        let mut sealed = 0;
        loop {
            let room = (out.capacity() - out.len()).saturating_sub(OVERHEAD_BYTES_MAX);
            let most = room.min(PLAIN_BYTES_MAX);
            let (a, first_rest) = first.split_at(first.len().min(most));
            let (b, second_rest) = second.split_at(second.len().min(most - a.len()));
            if a.is_empty() && b.is_empty() {
                return Ok(sealed);
            }
            self.send.seal(ContentType::ApplicationData, a, b, out)?;
            sealed += a.len() + b.len();
            (first, second) = (first_rest, second_rest);
        }
    }

    /// Whether the peer waits for a word that our next data may be too late for.
    pub(super) const fn answers_now(&self) -> bool {
        self.decline_owed
    }

    /// Appends that word.
    pub(super) fn answer(&mut self, out: &mut Vec<u8>) {
        if out.capacity() - out.len() > OVERHEAD_BYTES_MAX + HEADER_BYTES
            && std::mem::take(&mut self.decline_owed)
        {
            let _ = self.send.seal(ContentType::Alert, &[WARNING, NO_RENEGOTIATION], &[], out);
        }
    }

    fn pay(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.answer(out);
        if self.update_owed || self.send.is_worn() {
            let secret = match self.kernel.as_deref_mut() {
                Some(Kernel::Server(kernel)) => kernel.update_tx_secret(),
                Some(Kernel::Client(kernel)) => kernel.update_tx_secret(),
                None => return Err(Fault::Exhausted),
            };
            // 0: the peer need not answer with an update of its own.
            self.send.seal(ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 0], &[], out)?;
            self.send = Key::new(self.version, secret.map_err(|_| Fault::Internal)?)?;
            self.update_owed = false;
        }
        Ok(())
    }

    /// Appends an alert: our last word, or why there is none.
    pub(super) fn say_end(&mut self, fault: Option<Fault>, out: &mut Vec<u8>) {
        if out.capacity() - out.len() < OVERHEAD_BYTES_MAX + HEADER_BYTES {
            return;
        }
        let alert = match fault {
            None => [WARNING, CLOSE_NOTIFY],
            Some(fault) => match fault.alert() {
                Some(what) => [FATAL, what],
                None => return,
            },
        };
        // A key that is worn out says nothing; the end of the connection says enough.
        let _ = self.send.seal(ContentType::Alert, &alert, &[], out);
    }
}
