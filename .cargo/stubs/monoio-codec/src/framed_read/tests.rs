//! The reader against a scripted stream.

use std::{collections::VecDeque, io};

use bytes::BytesMut;
use monoio::{
    BufResult,
    buf::{IoBufMut, IoVecBufMut},
    io::{AsyncReadRent, AsyncReadRentExt, stream::Stream},
};

use super::FramedRead;
use crate::{Decoded, Decoder};

/// Gives one scripted piece per read, then the end.
struct Script(VecDeque<Result<&'static [u8], io::ErrorKind>>);

impl Script {
    fn new(pieces: &[Result<&'static [u8], io::ErrorKind>]) -> Self {
        Self(pieces.iter().copied().collect())
    }
}

impl AsyncReadRent for Script {
    async fn read<T: IoBufMut>(&mut self, buf: T) -> BufResult<usize, T> {
        match self.0.pop_front() {
            // `&[u8]` is itself a stream that fills such a buffer; the pieces are smaller than any buffer here.
            Some(Ok(mut piece)) => piece.read(buf).await,
            Some(Err(kind)) => (Err(kind.into()), buf),
            None => (Ok(0), buf),
        }
    }

    async fn readv<T: IoVecBufMut>(&mut self, buf: T) -> BufResult<usize, T> {
        (Err(io::ErrorKind::Unsupported.into()), buf)
    }
}

/// Lines without their LF; a line that starts with `!` is an error.
struct Lines;

impl Decoder for Lines {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Decoded<BytesMut>, io::Error> {
        let Some(end) = src.iter().position(|byte| *byte == b'\n') else {
            return Ok(Decoded::Insufficient);
        };
        let mut line = src.split_to(end + 1);
        line.truncate(end);
        if line.starts_with(b"!") { Err(io::ErrorKind::InvalidData.into()) } else { Ok(Decoded::Some(line)) }
    }
}

async fn lines_of(pieces: &[Result<&'static [u8], io::ErrorKind>]) -> Vec<Result<Vec<u8>, io::ErrorKind>> {
    let mut reader = FramedRead::new(Script::new(pieces), Lines);
    let mut seen = Vec::new();
    while let Some(item) = reader.next().await {
        seen.push(item.map(|line| line.to_vec()).map_err(|error| error.kind()));
    }
    assert!(reader.next().await.is_none(), "the end is the end");
    seen
}

#[monoio::test(driver = "legacy")]
async fn items_do_not_depend_on_where_reads_split_them() {
    let expected = vec![Ok(b"one".to_vec()), Ok(b"".to_vec()), Ok(b"three".to_vec())];
    let wire: &'static [u8] = b"one\n\nthree\n";
    for cut in 0..=wire.len() {
        let (front, back) = wire.split_at(cut);
        let pieces: Vec<_> = [front, back].into_iter().filter(|piece| !piece.is_empty()).map(Ok).collect();
        assert_eq!(lines_of(&pieces).await, expected, "cut at byte {cut}");
    }
    let single: Vec<_> = wire.chunks(1).map(Ok).collect();
    assert_eq!(lines_of(&single).await, expected, "one byte per read");
}

#[monoio::test(driver = "legacy")]
async fn an_end_inside_an_item_is_an_error() {
    assert_eq!(
        lines_of(&[Ok(b"one\ntw")]).await,
        vec![Ok(b"one".to_vec()), Err(io::ErrorKind::UnexpectedEof)]
    );
}

#[monoio::test(driver = "legacy")]
async fn nothing_is_decoded_after_an_error() {
    assert_eq!(lines_of(&[Ok(b"!\nGET\n"), Ok(b"two\n")]).await, vec![Err(io::ErrorKind::InvalidData)]);
    assert_eq!(
        lines_of(&[Ok(b"one\n"), Err(io::ErrorKind::ConnectionReset), Ok(b"two\n")]).await,
        vec![Ok(b"one".to_vec()), Err(io::ErrorKind::ConnectionReset)]
    );
}

#[monoio::test(driver = "legacy")]
async fn peeked_bytes_are_decoded_afterwards() {
    let mut reader = FramedRead::new(Script::new(&[Ok(b"one\n")]), ());
    assert_eq!(reader.peek_data().await.expect("a read"), b"one\n");
    assert_eq!(reader.next_with(&mut Lines).await.expect("an item").expect("a line"), "one");
    assert!(reader.peek_data().await.expect("the end is no error").is_empty());
    assert!(reader.next_with(&mut Lines).await.is_none());
}

/// Goal: an item larger than any buffer step arrives whole. Method: 100,000 bytes in reads of at most 3,000.
#[monoio::test(driver = "legacy")]
async fn an_item_larger_than_the_buffer_arrives_whole() {
    let mut wire = vec![b'x'; 100_000];
    wire.push(b'\n');
    let wire: &'static [u8] = wire.leak();
    let pieces: Vec<_> = wire.chunks(3_000).map(Ok).collect();
    assert_eq!(lines_of(&pieces).await, vec![Ok(vec![b'x'; 100_000])]);
}

#[monoio::test(driver = "legacy")]
async fn the_scripted_stream_gives_what_it_is_told() {
    let (result, bytes) = Script::new(&[Ok(b"ab")]).read_exact(Vec::with_capacity(2)).await;
    assert_eq!((result.expect("a read"), bytes), (2, b"ab".to_vec()));
}
