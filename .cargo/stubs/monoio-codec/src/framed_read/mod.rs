//! Items from a stream: read, decode, repeat.

use std::{fmt, io};

use bytes::BytesMut;
use monoio::io::{AsyncReadRent, stream::Stream};

use crate::{Decoded, Decoder};

/// Capacity at the start, and what is asked for when it is used up. Bytes.
const CAPACITY_START: usize = 8 * 1024;
const CAPACITY_STEP: usize = 4 * 1024;

/// Where the stream is in its life. It only moves downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The peer has sent everything; the buffer may still hold items.
    Ended,
    /// Nothing more will come, be it by the end or by an error.
    Finished,
}

/// A reader of items: `IO` gives bytes, `D` turns them into items.
///
/// # Cancel safety
/// None, as with every read of monoio under io_uring: a `next` that is dropped may take bytes with it.
pub struct FramedRead<IO, D> {
    io: IO,
    decoder: D,
    buffer: BytesMut,
    stage: Stage,
}

impl<IO, D> FramedRead<IO, D> {
    pub fn new(io: IO, decoder: D) -> Self {
        Self { io, decoder, buffer: BytesMut::with_capacity(CAPACITY_START), stage: Stage::Open }
    }

    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    pub fn decoder_mut(&mut self) -> &mut D {
        &mut self.decoder
    }
}

impl<IO: AsyncReadRent, D> FramedRead<IO, D> {
    /// The bytes that are read and not yet decoded; waits for some if there are none. Empty at the end of the stream.
    ///
    /// # Errors
    /// The read failed.
    pub async fn peek_data(&mut self) -> io::Result<&mut [u8]> {
        if self.buffer.is_empty() && self.stage == Stage::Open {
            fill(&mut self.io, &mut self.buffer, &mut self.stage, CAPACITY_STEP).await?;
        }
        Ok(&mut self.buffer)
    }

    /// The next item by another decoder than our own, from the same bytes.
    pub async fn next_with<C: Decoder>(&mut self, decoder: &mut C) -> Option<Result<C::Item, C::Error>> {
        next_item(&mut self.io, decoder, &mut self.buffer, &mut self.stage).await
    }
}

impl<IO: AsyncReadRent, D: Decoder> Stream for FramedRead<IO, D> {
    type Item = Result<D::Item, D::Error>;

    async fn next(&mut self) -> Option<Self::Item> {
        next_item(&mut self.io, &mut self.decoder, &mut self.buffer, &mut self.stage).await
    }
}

impl<IO: fmt::Debug, D: fmt::Debug> fmt::Debug for FramedRead<IO, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedRead")
            .field("io", &self.io)
            .field("decoder", &self.decoder)
            .field("buffered_bytes", &self.buffer.len())
            .field("stage", &self.stage)
            .finish()
    }
}

async fn next_item<IO: AsyncReadRent, D: Decoder>(
    io: &mut IO,
    decoder: &mut D,
    buffer: &mut BytesMut,
    stage: &mut Stage,
) -> Option<Result<D::Item, D::Error>> {
    // Below this many bytes the decoder has said that asking it again is no use.
    let mut wanted = 1;
    loop {
        let decoded = match stage {
            Stage::Finished => return None,
            Stage::Ended => decoder.decode_eof(buffer),
            Stage::Open if buffer.len() < wanted => Ok(Decoded::InsufficientAtLeast(wanted)),
            Stage::Open => decoder.decode(buffer),
        };
        match decoded {
            Ok(Decoded::Some(item)) => return Some(Ok(item)),
            Ok(Decoded::Insufficient) => wanted = buffer.len() + 1,
            Ok(Decoded::InsufficientAtLeast(bytes)) => wanted = bytes,
            Err(error) => {
                *stage = Stage::Finished;
                return Some(Err(error));
            }
        }
        if *stage == Stage::Ended {
            *stage = Stage::Finished;
            return None;
        }
        let room = CAPACITY_STEP.max(wanted.saturating_sub(buffer.len()));
        if let Err(error) = fill(io, buffer, stage, room).await {
            return Some(Err(error.into()));
        }
    }
}

/// One read, appended to `buffer`. No byte that is already there is copied unless the buffer must grow.
async fn fill<IO: AsyncReadRent>(
    io: &mut IO,
    buffer: &mut BytesMut,
    stage: &mut Stage,
    room: usize,
) -> io::Result<()> {
    buffer.reserve(room);
    // The spare capacity becomes a buffer of its own: a read fills its buffer from the start.
    let tail = buffer.split_off(buffer.len());
    let (result, tail) = io.read(tail).await;
    // The two halves are neighbours, so this joins them again without a copy.
    buffer.unsplit(tail);
    match result {
        Ok(0) => *stage = Stage::Ended,
        Ok(_) => {}
        Err(error) => {
            *stage = Stage::Finished;
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
