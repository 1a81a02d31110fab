//! Records: one direction of an established TLS connection, sealed or opened in place. Sans-io; nothing here allocates.
//!
//! rustls shakes hands and derives the keys; from then on the records are ours, because its record layer makes a `Vec` for
//! each record in either direction (`docs/decisions/0010-our-own-record-layer.md`). The ciphers are ring's.
//!
//! # Source
//! RFC 8446 §5 (TLS 1.3), RFC 5246 §6.2 with RFC 5288 §3 (AES-GCM) and RFC 7905 §2 (ChaCha20-Poly1305) for TLS 1.2.

use std::ops::Range;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

use super::fault::Fault;

/// Type, version and length.
pub(super) const HEADER_BYTES: usize = 5;
/// Most bytes that one record carries.
pub(super) const PLAIN_BYTES_MAX: usize = 1 << 14;
/// Most bytes that a record is longer than what it carries: header, explicit nonce (TLS 1.2, AES-GCM), tag.
pub(super) const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + EXPLICIT_BYTES + TAG_BYTES;

const TAG_BYTES: usize = 16;
/// The part of a nonce that an AES-GCM record of TLS 1.2 carries.
const EXPLICIT_BYTES: usize = 8;
/// How much longer than its content a record's body may be.
const EXPANSION_MAX_13: usize = 256;
const EXPANSION_MAX_12: usize = 2048;
/// The version that every record claims, also in TLS 1.3 (RFC 8446 §5.1).
const VERSION: [u8; 2] = [3, 3];
/// Records that one AES-GCM key may seal: 2^24 full ones keep an attacker's advantage below 2^-60.
const SEALED_BY_ONE_KEY_MAX: u64 = 1 << 24;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    ApplicationData = 23,
}

impl ContentType {
    fn of(byte: u8) -> Result<Self, Fault> {
        match byte {
            20 => Ok(Self::ChangeCipherSpec),
            21 => Ok(Self::Alert),
            22 => Ok(Self::Handshake),
            23 => Ok(Self::ApplicationData),
            _ => Err(Fault::Unexpected),
        }
    }
}

/// How long the first record in `bytes` is, header included; `None` until its header is there.
///
/// # Errors
/// No record of TLS 1.2 or 1.3 begins like this.
pub(super) fn record_len(bytes: &[u8], version: ProtocolVersion) -> Result<Option<usize>, Fault> {
    let Some([kind, major, _, high, low]) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    if !(20..=23).contains(kind) || *major != 3 {
        return Err(Fault::Malformed);
    }
    let body = usize::from(u16::from_be_bytes([*high, *low]));
    let expansion_max = if version == ProtocolVersion::TLSv1_3 { EXPANSION_MAX_13 } else { EXPANSION_MAX_12 };
    if body > PLAIN_BYTES_MAX + expansion_max {
        return Err(Fault::TooLong);
    }
    Ok(Some(HEADER_BYTES + body))
}

/// How a record is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// TLS 1.3: the type is sealed too, the header is what is authenticated with it.
    Tls13,
    /// TLS 1.2 with half of the nonce in the record.
    Tls12Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305, whose nonce is not sent.
    Tls12Implicit,
}

/// One direction's key, and how often it has been used.
pub(super) struct Key {
    aead: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    form: Form,
    sealed_max: u64,
}

impl Key {
    /// Takes over what a handshake, or an update of its keys, has agreed on.
    ///
    /// * `sequence`: records so far under this key.
    ///
    /// # Errors
    /// [`Fault::Internal`]: a cipher that is none of the three.
    pub(super) fn new(
        version: ProtocolVersion,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, Fault> {
        let explicit = if version == ProtocolVersion::TLSv1_3 { Form::Tls13 } else { Form::Tls12Explicit };
        let implicit = if version == ProtocolVersion::TLSv1_3 { Form::Tls13 } else { Form::Tls12Implicit };
        let (algorithm, form, sealed_max, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&AES_128_GCM, explicit, SEALED_BY_ONE_KEY_MAX, key, iv)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&AES_256_GCM, explicit, SEALED_BY_ONE_KEY_MAX, key, iv)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, implicit, u64::MAX, key, iv)
            }
            _ => return Err(Fault::Internal),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Fault::Internal)?;
        let iv = iv.as_ref().try_into().map_err(|_| Fault::Internal)?;
        Ok(Self { aead: LessSafeKey::new(key), iv, sequence, form, sealed_max })
    }

    /// Whether this key should seal no more data; what is under way still may.
    pub(super) const fn is_worn(&self) -> bool {
        self.sequence >= self.sealed_max - 64
    }

    /// The nonce of the next record, which is thereby used up: the sequence number, as 96 bits, over the vector.
    fn next_nonce(&mut self) -> Result<[u8; NONCE_LEN], Fault> {
        let mut nonce = self.iv;
        for (byte, part) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= part;
        }
        self.sequence = self.sequence.checked_add(1).ok_or(Fault::Exhausted)?;
        Ok(nonce)
    }

    /// What TLS 1.2 authenticates besides the content. `sequence`: of this very record.
    fn aad_12(sequence: u64, kind: u8, len: usize) -> Aad<[u8; 13]> {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&sequence.to_be_bytes());
        aad[8] = kind;
        aad[9..11].copy_from_slice(&VERSION);
        aad[11..].copy_from_slice(&u16::try_from(len).expect("at most 2^14").to_be_bytes());
        Aad::from(aad)
    }

    /// Appends one record that carries `first` and `second` together, at most [`PLAIN_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`Fault::Exhausted`]: the key has sealed as much as it may.
    pub(super) fn seal(
        &mut self,
        kind: ContentType,
        first: &[u8],
        second: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let len = first.len() + second.len();
        debug_assert!(len <= PLAIN_BYTES_MAX && out.capacity() - out.len() >= len + OVERHEAD_BYTES_MAX);
        if self.sequence >= self.sealed_max {
            return Err(Fault::Exhausted);
        }
        let sequence = self.sequence;
        let nonce = self.next_nonce()?;
        let (outer, explicit, inner) = match self.form {
            Form::Tls13 => (ContentType::ApplicationData, &[][..], Some(kind as u8)),
            Form::Tls12Explicit => (kind, &nonce[NONCE_LEN - EXPLICIT_BYTES..], None),
            Form::Tls12Implicit => (kind, &[][..], None),
        };
        let body = explicit.len() + len + usize::from(inner.is_some()) + TAG_BYTES;
        let [high, low] = u16::try_from(body).expect("a record's body is shorter than 2^16").to_be_bytes();
        let header = [outer as u8, VERSION[0], VERSION[1], high, low];
        out.extend_from_slice(&header);
        out.extend_from_slice(explicit);
        let start = out.len();
        out.extend_from_slice(first);
        out.extend_from_slice(second);
        out.extend(inner);
        let content = &mut out[start..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = match self.form {
            Form::Tls13 => self.aead.seal_in_place_separate_tag(nonce, Aad::from(header), content),
            Form::Tls12Explicit | Form::Tls12Implicit => {
                let aad = Self::aad_12(sequence, kind as u8, len);
                self.aead.seal_in_place_separate_tag(nonce, aad, content)
            }
        };
        out.extend_from_slice(tag.map_err(|_| Fault::Internal)?.as_ref());
        Ok(())
    }

    /// Opens one whole record in place; what it carries, and where in `record` that now lies.
    ///
    /// # Errors
    /// It is not of this peer and this place in its stream, or not what TLS allows here. The connection is over.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(ContentType, Range<usize>), Fault> {
        let header: [u8; HEADER_BYTES] = *record.first_chunk().ok_or(Fault::Malformed)?;
        let outer = ContentType::of(header[0])?;
        match self.form {
            Form::Tls13 => self.open_13(header, outer, record),
            Form::Tls12Explicit | Form::Tls12Implicit => self.open_12(outer, record),
        }
    }

    fn open_13(
        &mut self,
        header: [u8; HEADER_BYTES],
        outer: ContentType,
        record: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), Fault> {
        if outer != ContentType::ApplicationData {
            return Err(Fault::Unexpected);
        }
        let nonce = Nonce::assume_unique_for_key(self.next_nonce()?);
        let body = &mut record[HEADER_BYTES..];
        let inner =
            self.aead.open_in_place(nonce, Aad::from(header), body).map_err(|_| Fault::NotAuthentic)?;
        // Content, its type, any number of zeros.
        let at = inner.iter().rposition(|byte| *byte != 0).ok_or(Fault::Unexpected)?;
        if at > PLAIN_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        Ok((ContentType::of(inner[at])?, HEADER_BYTES..HEADER_BYTES + at))
    }

    fn open_12(
        &mut self,
        kind: ContentType,
        record: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), Fault> {
        let sequence = self.sequence;
        let mut nonce = self.next_nonce()?;
        let mut start = HEADER_BYTES;
        if self.form == Form::Tls12Explicit {
            let explicit =
                record[HEADER_BYTES..].first_chunk::<EXPLICIT_BYTES>().ok_or(Fault::NotAuthentic)?;
            nonce[..NONCE_LEN - EXPLICIT_BYTES].copy_from_slice(&self.iv[..NONCE_LEN - EXPLICIT_BYTES]);
            nonce[NONCE_LEN - EXPLICIT_BYTES..].copy_from_slice(explicit);
            start += EXPLICIT_BYTES;
        }
        let len = (record.len() - start).checked_sub(TAG_BYTES).ok_or(Fault::NotAuthentic)?;
        if len > PLAIN_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let aad = Self::aad_12(sequence, kind as u8, len);
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.aead.open_in_place(nonce, aad, &mut record[start..]).map_err(|_| Fault::NotAuthentic)?;
        Ok((kind, start..start + len))
    }
}
