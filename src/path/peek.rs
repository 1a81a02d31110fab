//! Peek: first body bytes → model name and stream flag; bounded, replayed upstream.
//!
//! Enters after [`super::authorize::enter`]: nobody's body is read for an operation that is refused anyway. Leaves with a
//! [`Peeked`]: what the body says, and the part of it that had to be held to find out.
//!
//! # Promises
//! * A body of up to [`HOLD_WHOLE_BYTES`] is held whole, so that it can be sent again and the usage event asked for.
//! * A larger one is held only until its model is known (callers commonly put it behind the messages, and forms behind the
//!   file), at most `limits.hold_bytes_max`, and all held bodies of a core together at most `limits.held_bytes_max`.
//! * One that a rule wants to see is held whole, within the same limits.
//! * Only top-level keys count, and a second `model` is an error: what is authorized is what the endpoint will read.

use std::ops::Range;

use super::authorize::Entrant;
use super::body::{BodyFault, BodyReader};
use super::exchange::Exchange;
use super::refuse::Refusal;
use crate::clock::Expired;
use crate::http1::Known;
use crate::local::Local;
use crate::meter::ShedReason;
use crate::operations::BodyKind;
use crate::peek::MultipartPeek;

/// Bodies up to this size are held whole.
pub(crate) const HOLD_WHOLE_BYTES: usize = 1024 * 1024;
/// First size of the buffer for a body that did not come along with its head.
const HELD_BYTES_FIRST: usize = 64 * 1024;

/// What a body says, and what of it is held.
pub(crate) struct Peeked<'a> {
    pub(crate) held: Held<'a>,
    /// What the form's parts say; a JSON body's findings are in the scratch.
    pub(crate) form: Option<Box<MultipartPeek>>,
}

/// How much of a body has to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Until it says which model is meant.
    UntilModel,
    /// Only what may be needed to send it again: nothing in it matters.
    Beginning,
    /// All of it: a rule wants to see it.
    Whole,
}

/// The part of the body that was received while it was looked at.
pub(crate) enum Held<'a> {
    /// No body, or none that matters.
    Nothing,
    /// All of it, behind the head.
    Inline,
    /// All of it.
    Whole(HeldBytes<'a>),
    /// Its beginning; the rest is still to be read.
    Part(HeldBytes<'a>),
}

impl<'a> Held<'a> {
    /// The body, if all of it is held.
    pub(crate) fn whole<'e>(&'e self, ex: &'e Exchange<'a>) -> &'e [u8] {
        match self {
            Self::Nothing => &[],
            Self::Inline => ex.inline_body(),
            Self::Whole(held) | Self::Part(held) => held.as_slice(),
        }
    }
}

/// Held bytes, counted against the core's budget until dropped.
pub(crate) struct HeldBytes<'a> {
    bytes: Vec<u8>,
    counted: usize,
    local: &'a Local,
}

impl<'a> HeldBytes<'a> {
    fn new(local: &'a Local) -> Self {
        Self { bytes: Vec::new(), counted: 0, local }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, no longer counted: they are on their way.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Makes room for more, doubling; never for more than `left` bytes, so that a read cannot reach beyond the body.
    fn make_room(&mut self, left: Option<u64>, hold: Hold) -> Result<(), Refusal> {
        let limits = &self.local.settings.limits;
        if self.bytes.len() >= limits.hold_bytes_max {
            return Err(match hold {
                Hold::UntilModel => Refusal::ModelTooLate,
                Hold::Beginning | Hold::Whole => Refusal::BodyTooLarge,
            });
        }
        if self.bytes.len() < self.bytes.capacity() {
            return Ok(());
        }
        let step = self.bytes.len().max(HELD_BYTES_FIRST).min(limits.hold_bytes_max - self.bytes.len());
        let step = left.map_or(step, |left| step.min(usize::try_from(left).unwrap_or(usize::MAX)));
        let held_after = self.local.held_bytes.get() + step;
        if held_after > limits.held_bytes_max {
            self.local.meter.sheds.bump(ShedReason::HeldBytes);
            return Err(Refusal::Overloaded);
        }
        self.local.held_bytes.set(held_after);
        self.counted += step;
        self.bytes.reserve_exact(step);
        Ok(())
    }
}

impl Drop for HeldBytes<'_> {
    fn drop(&mut self) {
        self.local.held_bytes.set(self.local.held_bytes.get() - self.counted);
    }
}

/// Looks at the body of a request whose operation needs to know what it says.
///
/// # Errors
/// [`BodyFault`]: the body is not what the operation needs, too large, too slow, or the caller is gone.
pub(crate) async fn peek<'a>(ex: &mut Exchange<'a>, entrant: &Entrant) -> Result<Peeked<'a>, BodyFault> {
    let (endpoint, hold_what) = (entrant.endpoint(), entrant.hold());
    let limits = &ex.local.settings.limits;
    let bytes_max = match endpoint.body {
        BodyKind::Multipart => limits.audio_body_bytes_max,
        BodyKind::None | BodyKind::Json => limits.body_bytes_max,
    };
    ex.body.limit(bytes_max).map_err(BodyFault::Refused)?;
    let mut looker = match endpoint.body {
        BodyKind::None => Looker::Nothing,
        BodyKind::Json => {
            ex.scratch.json.restart();
            Looker::Json
        }
        BodyKind::Multipart => {
            let content_type = ex.field(Known::ContentType).unwrap_or_default();
            let form =
                MultipartPeek::new(content_type).map_err(|_| BodyFault::Refused(Refusal::BodyInvalid))?;
            Looker::Form(Box::new(form))
        }
    };
    let held = if ex.body.is_done() {
        look_at_inline(ex, &mut looker).map_err(BodyFault::Refused)?
    } else {
        hold(ex, &mut looker, hold_what).await?
    };
    Ok(Peeked { held, form: looker.into_form() })
}

/// Whoever looks at the bytes.
enum Looker {
    /// The operation has no body that says anything.
    Nothing,
    /// The scratch's JSON peek.
    Json,
    Form(Box<MultipartPeek>),
}

impl Looker {
    fn look(&mut self, ex: &mut Exchange<'_>, segment: &[u8], last: bool) -> Result<(), Refusal> {
        let looked = match self {
            Self::Nothing => Ok(()),
            Self::Json => {
                let fed = ex.scratch.json.feed(segment);
                if last { fed.and_then(|()| ex.scratch.json.finish()) } else { fed }
            }
            Self::Form(form) => {
                let fed = form.feed(segment);
                if last { fed.and_then(|()| form.finish()) } else { fed }
            }
        };
        looked.map_err(|_| Refusal::BodyInvalid)
    }

    fn knows_model(&self, ex: &Exchange<'_>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Json => ex.scratch.json.model().is_some(),
            Self::Form(form) => form.model().is_some(),
        }
    }

    fn into_form(self) -> Option<Box<MultipartPeek>> {
        match self {
            Self::Form(form) => Some(form),
            Self::Nothing | Self::Json => None,
        }
    }
}

fn look_at_inline<'a>(ex: &mut Exchange<'a>, looker: &mut Looker) -> Result<Held<'a>, Refusal> {
    match looker {
        Looker::Json => ex.look_at_inline_json()?,
        Looker::Form(form) => {
            let looked = form.feed(ex.inline_body()).and_then(|()| form.finish());
            looked.map_err(|_| Refusal::BodyInvalid)?;
        }
        Looker::Nothing => {}
    }
    Ok(if ex.inline_body().is_empty() { Held::Nothing } else { Held::Inline })
}

/// Receives the body until it is whole, or until enough is known to pass on the rest unseen.
async fn hold<'a>(ex: &mut Exchange<'a>, looker: &mut Looker, what: Hold) -> Result<Held<'a>, BodyFault> {
    ex.say_continue().await?;
    let mut held = HeldBytes::new(ex.local);
    loop {
        held.make_room(ex.body.left(), what).map_err(BodyFault::Refused)?;
        let before = held.bytes.len();
        read_more(ex, &mut held.bytes).await?;
        ex.account.received(held.bytes.len() - before);
        let last = ex.body.is_done();
        looker.look(ex, &held.bytes[before..], last).map_err(BodyFault::Refused)?;
        if last {
            return Ok(Held::Whole(held));
        }
        let enough = match what {
            Hold::UntilModel => looker.knows_model(ex),
            Hold::Beginning => true,
            Hold::Whole => false,
        };
        if held.bytes.len() >= HOLD_WHOLE_BYTES && enough {
            ex.late_keys = matches!(looker, Looker::Json);
            return Ok(Held::Part(held));
        }
    }
}

/// One read of body bytes, under the body's deadline.
async fn read_more(ex: &mut Exchange<'_>, into: &mut Vec<u8>) -> Result<(), BodyFault> {
    let deadline = ex.body.deadline(ex.local);
    ex.down.watch.set(deadline);
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(read) = ex.body.poll_read(cx, ex.down, ex.local, into) {
            return std::task::Poll::Ready(read.map(|_| ()));
        }
        ex.down.watch.poll_expired(cx).map(|Expired| Err(BodyFault::Refused(Refusal::BodyTimeout)))
    })
    .await
}

impl Exchange<'_> {
    /// Tells a caller that waits for it to send its body (RFC 9110 §10.1.1).
    pub(super) async fn say_continue(&mut self) -> Result<(), BodyFault> {
        if self.body.take_continue_owed() && self.down.unread().is_empty() {
            let deadline = self.local.clock.now().after(self.local.settings.timeouts.write_stall);
            let told = self.down.tell(b"HTTP/1.1 100 Continue\r\n\r\n", &[], deadline).await;
            told.map_err(|_| BodyFault::Gone)?;
        }
        Ok(())
    }
}

impl BodyReader {
    /// Reads and forgets what is left of a body, so that the connection can serve another request: at most `bytes_max`.
    /// Returns whether the end was reached.
    pub(crate) async fn drain(ex: &mut Exchange<'_>, bytes_max: usize) -> bool {
        let mut sink = ex.local.buffers.small();
        let mut drained = 0;
        while !ex.body.is_done() {
            sink.clear();
            if drained > bytes_max || read_more(ex, &mut sink).await.is_err() {
                return false;
            }
            drained += sink.len();
        }
        true
    }
}

/// Where in the held bytes the model's name stands, for replacing it.
pub(crate) fn form_model_span(form: &MultipartPeek) -> Option<Range<usize>> {
    let span = form.model_span()?;
    Some(usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?)
}
