//! What http1 promises, as sentences. Rows of malformed input are tables: one line, one verdict.

mod chunks;
mod malformed_requests;
mod malformed_responses;
mod requests;
mod responses;
mod splits;
mod targets;
mod writing;

use super::{HeadError, HeadLimits, Parsed, RequestHead, ResponseHead};

pub(super) fn request(wire: &[u8]) -> Result<(RequestHead, usize), HeadError> {
    let mut head = RequestHead::new();
    match head.parse(wire, &HeadLimits::default())? {
        Parsed::Complete { len } => Ok((head, len)),
        Parsed::Partial => panic!("not a whole head: {:?}", String::from_utf8_lossy(wire)),
    }
}

pub(super) fn response(wire: &[u8]) -> Result<(ResponseHead, usize), HeadError> {
    let mut head = ResponseHead::new();
    match head.parse(wire, &HeadLimits::default(), false)? {
        Parsed::Complete { len } => Ok((head, len)),
        Parsed::Partial => panic!("not a whole head: {:?}", String::from_utf8_lossy(wire)),
    }
}
