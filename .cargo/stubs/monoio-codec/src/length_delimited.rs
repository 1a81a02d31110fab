//! Frames that say their length first: what monoio-http's HTTP/2 needs to compile and to read its frames.
//!
//! cube-proxy does not use HTTP/2 of that crate. This is kept small and honest: every setting here is obeyed, and there is
//! no other.

use std::{fmt, io};

use bytes::BytesMut;

use crate::{Decoded, Decoder, FramedRead};

/// How a frame says its length.
#[derive(Debug, Clone, Copy)]
pub struct Builder {
    field_bytes: usize,
    adjustment: usize,
    skip_bytes: usize,
    frame_bytes_max: usize,
}

impl Builder {
    /// A big-endian length of four bytes, which is not part of the frame that comes out; frames of 8 MiB at most.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "the interface that monoio-http expects")]
    pub fn new() -> Self {
        Self { field_bytes: 4, adjustment: 0, skip_bytes: 4, frame_bytes_max: 8 << 20 }
    }

    /// Network byte order, the only one there is here.
    pub fn big_endian(&mut self) -> &mut Self {
        self
    }

    /// How many bytes hold the length: 1 to 8.
    ///
    /// # Panics
    /// On any other number: it comes from the program, never from a peer.
    pub fn length_field_length(&mut self, bytes: usize) -> &mut Self {
        assert!((1..=8).contains(&bytes), "a length has 1 to 8 bytes");
        self.field_bytes = bytes;
        self
    }

    /// How much longer than its length says a frame is, after what is skipped.
    pub fn length_adjustment(&mut self, bytes: usize) -> &mut Self {
        self.adjustment = bytes;
        self
    }

    /// How many bytes at the front are dropped before the frame starts. 0 keeps the length itself in the frame.
    pub fn num_skip(&mut self, bytes: usize) -> &mut Self {
        self.skip_bytes = bytes;
        self
    }

    /// A reader of such frames.
    pub fn new_read<IO>(&self, io: IO) -> FramedRead<IO, LengthDelimitedCodec> {
        FramedRead::new(io, LengthDelimitedCodec { layout: *self })
    }
}

/// Takes whole frames from the front of a buffer.
#[derive(Debug, Clone)]
pub struct LengthDelimitedCodec {
    layout: Builder,
}

impl LengthDelimitedCodec {
    /// The largest length that a peer may announce, before the adjustment.
    #[must_use]
    pub fn max_frame_length(&self) -> usize {
        self.layout.frame_bytes_max
    }

    pub fn set_max_frame_length(&mut self, bytes: usize) {
        self.layout.frame_bytes_max = bytes;
    }
}

impl Decoder for LengthDelimitedCodec {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Decoded<BytesMut>, io::Error> {
        let Builder { field_bytes, adjustment, skip_bytes, frame_bytes_max } = self.layout;
        let Some(field) = src.get(..field_bytes) else {
            return Ok(Decoded::InsufficientAtLeast(field_bytes));
        };
        let announced = field.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let announced = usize::try_from(announced).ok().filter(|bytes| *bytes <= frame_bytes_max);
        let Some(frame_bytes) = announced.and_then(|bytes| bytes.checked_add(adjustment)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, LengthDelimitedCodecError(())));
        };
        let whole_bytes = skip_bytes.saturating_add(frame_bytes);
        if src.len() < whole_bytes {
            return Ok(Decoded::InsufficientAtLeast(whole_bytes));
        }
        let mut frame = src.split_to(whole_bytes);
        Ok(Decoded::Some(frame.split_off(skip_bytes)))
    }
}

/// A peer announced a frame above the maximum.
#[derive(Debug)]
pub struct LengthDelimitedCodecError(());

impl fmt::Display for LengthDelimitedCodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the announced frame is longer than allowed")
    }
}

impl std::error::Error for LengthDelimitedCodecError {}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Builder, LengthDelimitedCodec};
    use crate::{Decoded, Decoder};

    /// The layout of HTTP/2 frames as monoio-http asks for it (RFC 9113 §4.1): 24 bits of length, 9 bytes of head, all kept.
    fn http2() -> LengthDelimitedCodec {
        let mut builder = Builder::new();
        builder.big_endian().length_field_length(3).length_adjustment(9).num_skip(0);
        builder.new_read(()).decoder().clone()
    }

    #[test]
    fn a_frame_comes_out_whole_and_only_whole() {
        let wire = b"\0\0\x04\0\0\0\0\0\0ping\0";
        for cut in 0..13 {
            let decoded = http2().decode(&mut BytesMut::from(&wire[..cut])).expect("so far so good");
            assert!(matches!(decoded, Decoded::InsufficientAtLeast(3 | 13)), "cut at byte {cut}");
        }
        let mut src = BytesMut::from(&wire[..]);
        assert_eq!(http2().decode(&mut src).expect("a frame").unwrap(), &wire[..13]);
        assert_eq!(src, &wire[13..]);
    }

    #[test]
    fn a_frame_above_the_maximum_is_an_error_before_it_is_read() {
        let mut codec = http2();
        codec.set_max_frame_length(0xffff);
        assert!(codec.decode(&mut BytesMut::from(&b"\x01\0\0"[..])).is_err());
        assert!(codec.decode(&mut BytesMut::from(&b"\0\xff\xff"[..])).is_ok());
    }

    #[test]
    fn the_length_itself_can_be_dropped() {
        let mut codec = Builder::new().new_read(()).decoder().clone();
        let mut src = BytesMut::from(&b"\0\0\0\x02abc"[..]);
        assert_eq!(codec.decode(&mut src).expect("a frame").unwrap(), "ab");
        assert_eq!(src, "c");
    }
}
