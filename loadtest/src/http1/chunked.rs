//! Chunked bodies, decoded by pulling: each step says what the next bytes are. Extensions and trailers are skipped.

/// What the bytes at the front of the input are.
#[derive(Debug, PartialEq, Eq)]
pub enum ChunkStep<'a> {
    /// `taken` bytes of input, which are body.
    Payload {
        /// The body bytes; all that were taken.
        payload: &'a [u8],
    },
    /// `taken` bytes of framing.
    Framing {
        /// How many input bytes to drop.
        taken: usize,
    },
    /// The body is over; `taken` more bytes belong to it.
    End {
        /// How many input bytes to drop.
        taken: usize,
    },
    /// All input was used.
    NeedMore,
}

/// The input is not a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size { digits: u8 },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer { line_empty: bool },
    Done,
}

/// State between reads of one chunked body.
#[derive(Clone, Copy, Debug)]
pub struct ChunkDecoder {
    at: At,
    left: u64,
    chunks: u64,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self { at: At::Size { digits: 0 }, left: 0, chunks: 0 }
    }
}

impl ChunkDecoder {
    /// Number of data chunks begun so far.
    #[must_use]
    pub const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Looks at the front of `input`. Call again with what is left until it says `NeedMore` or `End`.
    ///
    /// # Errors
    /// The framing is wrong; the connection is of no further use.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<ChunkStep<'a>, Malformed> {
        if self.at == At::Data {
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            if take == 0 {
                return Ok(ChunkStep::NeedMore);
            }
            self.left -= take as u64;
            if self.left == 0 {
                self.at = At::DataCr;
            }
            return Ok(ChunkStep::Payload { payload: &input[..take] });
        }
        for (index, byte) in input.iter().enumerate() {
            self.framing_byte(*byte)?;
            match self.at {
                At::Data => return Ok(ChunkStep::Framing { taken: index + 1 }),
                At::Done => return Ok(ChunkStep::End { taken: index + 1 }),
                At::Size { .. }
                | At::Extension
                | At::SizeLf
                | At::DataCr
                | At::DataLf
                | At::Trailer { .. } => {}
            }
        }
        Ok(if input.is_empty() { ChunkStep::NeedMore } else { ChunkStep::Framing { taken: input.len() } })
    }

    fn framing_byte(&mut self, byte: u8) -> Result<(), Malformed> {
        self.at = match (self.at, byte) {
            (At::Size { digits }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                self.left = self.left * 16 + u64::from(digit);
                At::Size { digits: digits + 1 }
            }
            (At::Size { digits }, b'\r') if digits > 0 => At::SizeLf,
            (At::Size { digits }, b';' | b' ') if digits > 0 => At::Extension,
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, _) => At::Extension,
            (At::SizeLf, b'\n') if self.left == 0 => At::Trailer { line_empty: true },
            (At::SizeLf, b'\n') => {
                self.chunks += 1;
                At::Data
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0 },
            (At::Trailer { line_empty: true }, b'\n') => At::Done,
            (At::Trailer { .. }, b'\n') => At::Trailer { line_empty: true },
            (At::Trailer { line_empty }, b'\r') => At::Trailer { line_empty },
            (At::Trailer { .. }, _) => At::Trailer { line_empty: false },
            (At::Size { .. } | At::SizeLf | At::DataCr | At::DataLf | At::Data | At::Done, _) => {
                return Err(Malformed);
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), Malformed> {
        let (mut decoder, mut body, mut done) = (ChunkDecoder::default(), Vec::new(), false);
        for piece in pieces {
            let mut input = *piece;
            loop {
                match decoder.step(input)? {
                    ChunkStep::Payload { payload } => {
                        body.extend_from_slice(payload);
                        input = &input[payload.len()..];
                    }
                    ChunkStep::Framing { taken } => input = &input[taken..],
                    ChunkStep::End { .. } => {
                        done = true;
                        break;
                    }
                    ChunkStep::NeedMore => break,
                }
            }
        }
        Ok((body, done))
    }

    #[test]
    fn a_chunked_body_decodes_the_same_wherever_reads_cut_it() {
        let wire = b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nt: 1\r\n\r\n";
        for cut in 0..=wire.len() {
            assert_eq!(decode(&[&wire[..cut], &wire[cut..]]), Ok((b"hello!".to_vec(), true)), "cut at {cut}");
        }
    }

    #[test]
    fn a_body_without_its_last_chunk_is_not_done() {
        assert_eq!(decode(&[b"5\r\nhello\r\n"]), Ok((b"hello".to_vec(), false)));
        assert_eq!(decode(&[b"\r\n"]), Err(Malformed));
    }
}
