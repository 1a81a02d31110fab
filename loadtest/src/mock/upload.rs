//! A request body on its way in.

use super::request::Request;
use crate::http1::{ChunkDecoder, ChunkStep};

/// Largest request body that is kept; the connection of a larger one is dropped.
pub(super) const BODY_MAX: u64 = 512 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub(super) enum Left {
    Length(u64),
    Chunked(ChunkDecoder),
}

/// A request whose body is not all there.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) request: Request,
    pub(super) body: Vec<u8>,
    left: Left,
}

impl Upload {
    pub(super) const fn new(request: Request, left: Left) -> Self {
        Self { request, body: Vec::new(), left }
    }

    /// Takes body bytes from the front of `input`; gives how many and whether the body is complete. `None`: it is no body.
    pub(super) fn take(&mut self, input: &[u8]) -> Option<(usize, bool)> {
        match &mut self.left {
            Left::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                self.body.extend_from_slice(&input[..take]);
                *left -= take as u64;
                Some((take, *left == 0))
            }
            Left::Chunked(decoder) => {
                let mut used = 0;
                loop {
                    match decoder.step(&input[used..]).ok()? {
                        ChunkStep::Payload { payload } => {
                            self.body.extend_from_slice(payload);
                            used += payload.len();
                            if self.body.len() as u64 > BODY_MAX {
                                return None;
                            }
                        }
                        ChunkStep::Framing { taken } => used += taken,
                        ChunkStep::End { taken } => return Some((used + taken, true)),
                        ChunkStep::NeedMore => return Some((used, false)),
                    }
                }
            }
        }
    }
}
