//! Secure: a connection of the TLS listener → one whose bytes can be read, or closed.
//!
//! Who is on the other side is not known yet, so nothing here is generous: a deadline, a number of handshakes in progress, and
//! their costly steps queue behind each other ([`Turnstile`](crate::cores::Turnstile)), so that running streams have their turns.
//!
//! Plain HTTP gets an answer that says what is wrong, and nothing of it is looked at but its first byte: a credential in it was
//! sent in the clear and must not be seen to work.

use rustls::{Error, PeerIncompatible, ProtocolVersion};

use super::tell::{DRAIN_BYTES_MAX, LINGER};
use crate::local::Local;
use crate::meter::{HandshakeOutcome, ShedReason, TlsVersion};
use crate::socket::{Agreed, HandshakeFault, Socket};

const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
    content-length: 107\r\n\r\n\
    This port speaks TLS: use https://. The request was not read; if a secret was in it, it was sent in clear.\n";

/// Shakes hands. Whether there is somebody to serve.
pub(super) async fn secure(local: &Local, socket: &mut Socket) -> bool {
    let Some(config) = local.terms().downstream.clone() else { return false };
    let Some(_place) = Place::take(local) else {
        local.meter.sheds.bump(ShedReason::Handshakes);
        return false;
    };
    let watch = local.deadlines.watch();
    watch.set(local.clock.read().after(local.settings.timeouts.handshake));
    let turn = async || local.turnstile.pass().await;
    let outcome = match watch.race(socket.accept_tls(config, &local.buffers, turn)).await {
        Ok(Ok(agreed)) => {
            local.meter.tls_versions.bump(version_of(agreed.version));
            outcome_of_agreed(agreed)
        }
        Ok(Err(fault)) => outcome_of(&fault),
        Err(_expired) => HandshakeOutcome::Timeout,
    };
    local.meter.handshakes_down.bump(outcome);
    if outcome == HandshakeOutcome::PlainHttp {
        watch.set(local.clock.read().after(LINGER));
        let _ = socket.try_send(NOT_TLS, &[]);
        socket.shutdown_write();
        // A close with unread bytes would be a reset, which destroys what is under way.
        let _ = watch.race(drain(local, socket)).await;
    }
    matches!(outcome, HandshakeOutcome::Full | HandshakeOutcome::Resumed)
}

/// Throws away what the caller still sends, until it ends its side.
async fn drain(local: &Local, socket: &Socket) {
    let mut thrown_away = 0;
    let mut buffer = local.buffers.small();
    while thrown_away < DRAIN_BYTES_MAX {
        socket.readable().await;
        buffer.clear();
        match socket.try_recv(&mut buffer) {
            Ok(Some(0)) | Err(_) => return,
            Ok(received) => thrown_away += received.unwrap_or(0),
        }
    }
}

/// A handshake in progress, among those that the core may have.
struct Place<'a>(&'a Local);

impl<'a> Place<'a> {
    fn take(local: &'a Local) -> Option<Self> {
        let taken = local.handshakes.get();
        (taken < local.settings.limits.handshakes_max).then(|| {
            local.handshakes.set(taken + 1);
            Self(local)
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.handshakes.set(self.0.handshakes.get() - 1);
    }
}

pub(super) const fn outcome_of_agreed(agreed: Agreed) -> HandshakeOutcome {
    if agreed.resumed { HandshakeOutcome::Resumed } else { HandshakeOutcome::Full }
}

fn version_of(version: ProtocolVersion) -> TlsVersion {
    if version == ProtocolVersion::TLSv1_3 { TlsVersion::Tls13 } else { TlsVersion::Tls12 }
}

/// The label of a failure: few, whatever a stranger sends.
pub(super) fn outcome_of(fault: &HandshakeFault) -> HandshakeOutcome {
    match fault {
        HandshakeFault::Closed | HandshakeFault::Io(_) => HandshakeOutcome::Closed,
        HandshakeFault::PlainHttp => HandshakeOutcome::PlainHttp,
        HandshakeFault::TooLong => HandshakeOutcome::Malformed,
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "rustls's enum grows; what is new has no label of its own"
        )]
        HandshakeFault::Tls(error) => match error {
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => HandshakeOutcome::Version,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeOutcome::Incompatible,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => HandshakeOutcome::Certificate,
            Error::AlertReceived(_) => HandshakeOutcome::Alert,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => HandshakeOutcome::Malformed,
            _ => HandshakeOutcome::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::NOT_TLS;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(NOT_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
