//! One connection of the ops listener.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use monoio::io::sink::Sink;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::TcpStream;
use monoio::time::timeout;
use monoio_codec::{Decoded, Decoder};
use monoio_http::h1::codec::decoder::RequestHeadDecoder;
use monoio_http::h1::codec::encoder::GenericEncoder;
use monoio_http::h1::payload::{FixedPayload, Payload};

use super::{Answers, Reply};
use crate::http1::write::{Framing, HeadWriter};
use crate::http1::{BodyLength, HeadError, HeadLimits, Parsed, RequestHead};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 8 << 10,
    first_line_bytes_max: 2 << 10,
    field_bytes_max: 8 << 10,
    fields_max: 64,
};
/// Bytes asked for per read.
const READ_BYTES: usize = 2 << 10;
/// A connection without a request. Scrapers come back every 15 to 60 seconds.
const IDLE: Duration = Duration::from_secs(90);
/// From a head's first byte to its last.
const HEAD: Duration = Duration::from_secs(5);
/// A whole answer; a large exposition over a slow line is some megabytes.
const WRITE: Duration = Duration::from_secs(30);

/// How long, and how many reads, a peer that broke a rule may go on sending.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS_MAX: usize = 512;

/// A request as far as this listener cares.
struct Request {
    head: http::request::Parts,
    keep_alive: bool,
    /// It announces a body, which nobody here reads.
    has_body: bool,
}

/// Why there is no further request on the connection.
enum Over {
    /// The peer ended it or was too slow.
    Gone,
    /// What came is no request.
    Refused(HeadError),
}

/// Serves requests until the peer ends, breaks a rule or takes too long.
pub(super) async fn serve<A: Answers>(stream: TcpStream, answers: &A) {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = BytesMut::new();
    let mut scratch = Box::new(RequestHead::new());
    loop {
        let request = match read_request(&mut reader, &mut buffer, &mut scratch).await {
            Ok(request) => request,
            Err(Over::Gone) => return,
            Err(Over::Refused(error)) => {
                let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                if send(&mut writer, Reply::text(status, "bad request\n"), false).await {
                    linger(&mut reader, &mut writer).await;
                }
                return;
            }
        };
        let keep_alive = request.keep_alive && !request.has_body;
        let reply = match (&request.head.method, request.has_body) {
            (_, true) => Reply::text(StatusCode::PAYLOAD_TOO_LARGE, "no request here has a body\n"),
            (&Method::GET | &Method::HEAD, false) => answers.answer(request.head.uri.path()).await,
            (_, false) => Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
        };
        let sent = if request.head.method == Method::HEAD {
            send_head(&mut writer, &reply, keep_alive).await
        } else {
            send(&mut writer, reply, keep_alive).await
        };
        if sent && request.has_body {
            linger(&mut reader, &mut writer).await;
        }
        if !sent || !keep_alive {
            return;
        }
    }
}

/// The next request. Bytes behind its head stay in `buffer`: it may be the next one already.
async fn read_request<R: AsyncReadRent>(
    reader: &mut R,
    buffer: &mut BytesMut,
    scratch: &mut RequestHead,
) -> Result<Request, Over> {
    scratch.reset();
    if buffer.is_empty() {
        timeout(IDLE, fill(reader, buffer)).await.map_err(|_| Over::Gone)??;
    }
    // A read that is dropped by the time-out may lose bytes; the connection is not used again then.
    timeout(HEAD, async {
        loop {
            match scratch.parse(buffer, &LIMITS).map_err(Over::Refused)? {
                Parsed::Complete { len } => return decode(buffer.split_to(len), scratch),
                Parsed::Partial => fill(reader, buffer).await?,
            }
        }
    })
    .await
    .map_err(|_| Over::Gone)?
}

/// One read, appended.
async fn fill<R: AsyncReadRent>(reader: &mut R, buffer: &mut BytesMut) -> Result<(), Over> {
    buffer.reserve(READ_BYTES);
    let tail = buffer.split_off(buffer.len());
    let (result, tail) = reader.read(tail).await;
    buffer.unsplit(tail);
    match result {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(Over::Gone),
    }
}

/// A head that holds to our rules, in the types of `http`.
fn decode(mut bytes: BytesMut, checked: &RequestHead) -> Result<Request, Over> {
    // Our parser lets empty lines pass before a request; the decoder would take them for its end.
    while bytes.starts_with(b"\r\n") {
        bytes.advance(2);
    }
    match RequestHeadDecoder.decode(&mut bytes) {
        Ok(Decoded::Some(head)) => Ok(Request {
            head,
            keep_alive: checked.keep_alive,
            has_body: !matches!(checked.body, BodyLength::None | BodyLength::Length(0)),
        }),
        // Two parsers that differ: the stricter one is right.
        Ok(Decoded::Insufficient | Decoded::InsufficientAtLeast(_)) | Err(_) => {
            Err(Over::Refused(HeadError::Malformed))
        }
    }
}

/// Sends a whole answer; `false` if it did not go out, and the connection is of no further use.
async fn send<W: AsyncWriteRent>(writer: &mut W, reply: Reply, keep_alive: bool) -> bool {
    let payload: Payload = FixedPayload::new(Bytes::from(reply.body)).into();
    let mut response = Response::new(payload);
    *response.status_mut() = reply.status;
    for (name, value) in own_fields(&reply.status, reply.content_type, keep_alive) {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // Made for each answer: an idle connection keeps no 8 KiB of output buffer.
    let mut encoder = GenericEncoder::new(writer);
    let sent = timeout(WRITE, async {
        encoder.send(response).await?;
        Sink::<Response<Payload>>::flush(&mut encoder).await
    });
    matches!(sent.await, Ok(Ok(())))
}

/// The same for HEAD: the encoder would write a length of 0, which is not what GET would have (RFC 9110 §8.6).
async fn send_head<W: AsyncWriteRent>(writer: &mut W, reply: &Reply, keep_alive: bool) -> bool {
    let mut bytes = Vec::with_capacity(256);
    let mut head = HeadWriter::response(&mut bytes, reply.status.as_u16());
    for (name, value) in own_fields(&reply.status, reply.content_type, keep_alive) {
        head = head.field(name.as_str(), value.as_bytes());
    }
    head.end(Framing::Length(reply.body.len() as u64));
    matches!(timeout(WRITE, writer.write_all(bytes)).await, Ok((Ok(_), _)))
}

/// Reads on for a while before closing: a peer that is still sending would be reset, and not see the answer (RFC 9112 §9.6).
async fn linger<R: AsyncReadRent, W: AsyncWriteRent>(reader: &mut R, writer: &mut W) {
    let _ = writer.shutdown().await;
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let drain = timeout(LINGER, async {
        for _ in 0..LINGER_READS_MAX {
            let (result, returned) = reader.read(buffer).await;
            buffer = returned;
            if !matches!(result, Ok(1..)) {
                return;
            }
        }
    });
    let _ = drain.await;
}

/// The fields of every answer.
fn own_fields(
    status: &StatusCode,
    content_type: &'static str,
    keep_alive: bool,
) -> impl Iterator<Item = (HeaderName, &'static str)> {
    let fields = [
        Some((header::CONTENT_TYPE, content_type)),
        Some((header::CACHE_CONTROL, "no-store")),
        (*status == StatusCode::METHOD_NOT_ALLOWED).then_some((header::ALLOW, "GET, HEAD")),
        (!keep_alive).then_some((header::CONNECTION, "close")),
    ];
    fields.into_iter().flatten()
}
