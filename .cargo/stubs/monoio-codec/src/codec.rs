//! The traits between bytes and items.

use std::io;

use bytes::BytesMut;

/// What a [`Decoder`] found at the front of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decoded<T> {
    /// An item; its bytes were taken out of the buffer.
    Some(T),
    /// Not a whole item yet.
    Insufficient,
    /// Not a whole item yet, and not before the buffer holds this many bytes.
    InsufficientAtLeast(usize),
}

impl<T> Decoded<T> {
    /// The item.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn unwrap(self) -> T {
        match self {
            Self::Some(item) => item,
            Self::Insufficient | Self::InsufficientAtLeast(_) => panic!("no whole item was decoded"),
        }
    }
}

/// Takes items from the front of a buffer.
pub trait Decoder {
    type Item;
    type Error: From<io::Error>;

    /// Takes the next item from the front of `src`, or says that more bytes are needed.
    ///
    /// # Errors
    /// The bytes can never become an item. The stream is of no further use.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Decoded<Self::Item>, Self::Error>;

    /// The same, once the peer has sent everything.
    ///
    /// # Errors
    /// As [`Self::decode`], and [`io::ErrorKind::UnexpectedEof`] if part of an item is left over.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Decoded<Self::Item>, Self::Error> {
        let decoded = self.decode(src)?;
        if matches!(decoded, Decoded::Some(_)) || src.is_empty() {
            return Ok(decoded);
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended inside an item").into())
    }
}

/// Appends items to a buffer.
pub trait Encoder<Item> {
    type Error: From<io::Error>;

    /// Appends the bytes of `item` to `dst`.
    ///
    /// # Errors
    /// The item has no form on the wire.
    fn encode(&mut self, item: Item, dst: &mut BytesMut) -> Result<(), Self::Error>;
}
