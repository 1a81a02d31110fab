//! Account: what happened → exactly one record, whatever happened.
//!
//! An [`Account`] is opened when a request's first byte arrives and leaves its record when it is dropped, so a panic, a caller that
//! hangs up and a drain are all accounted for. Every stage adds what it learns; none reads it back but for what travels upstream.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use cube_wire::DomainId;
use http::Method;

use crate::clock::Moment;
use crate::local::Local;
use crate::meter::CancelPhase;
use crate::operations::{Endpoint, UsageKind};
use crate::record::{Ending, RequestId, RequestRecord};
use crate::socket::HandshakeFault;
use crate::sse::UsageReader;
use crate::tables::{ClusterEntry, CredentialFault, EndpointEntry, Identity, ModelEntry};

use super::refuse::Refusal;

/// One request's record in the making.
pub(crate) struct Account<'a> {
    local: &'a Local,
    record: RequestRecord,
    started: Moment,
    usage_kind: UsageKind,
    /// When the upstream's head was there.
    answered: Moment,
    streaming: bool,
    /// Nothing was asked: the connection ended inside the head, which leaves no record.
    silent: bool,
}

impl<'a> Account<'a> {
    /// The first byte is here.
    pub(crate) fn open(local: &'a Local, peer: SocketAddr) -> Self {
        local.meter.inflight_requests.up();
        let started = local.clock.read();
        let (client, started_unix_ms) = (Some(peer.ip()), local.clock.unix_ms());
        Self {
            local,
            record: RequestRecord { client, started_unix_ms, ..RequestRecord::default() },
            started,
            usage_kind: UsageKind::None,
            answered: Moment::default(),
            streaming: false,
            silent: false,
        }
    }

    /// There was no request after all.
    pub(crate) fn forget(&mut self) {
        self.silent = true;
    }

    pub(crate) fn request(&mut self, method: &Method, claimed_id: Option<&[u8]>) {
        self.record.method = Some(method.clone());
        match claimed_id.and_then(RequestId::from_caller) {
            Some(claimed) => self.record.request_id = claimed,
            None => self.name(),
        }
    }

    /// Gives the request a name of our own making.
    pub(crate) fn name(&mut self) {
        self.record.request_id = RequestId::from_random(self.local.random(), self.local.random());
    }

    /// The caller's address as a trusted proxy names it: the last one, which is the one that this proxy saw.
    pub(crate) fn forwarded_for(&mut self, value: &[u8]) {
        let last = value.rsplit(|&b| b == b',').next().unwrap_or_default().trim_ascii();
        if let Some(address) = std::str::from_utf8(last).ok().and_then(|text| text.parse().ok()) {
            self.record.client = Some(address);
        }
    }

    /// The caller's address, as far as it can be known: the peer's, or what a trusted peer says.
    pub(crate) fn client(&self) -> IpAddr {
        // Always there; no PAT that is bound to addresses is bound to this one.
        self.record.client.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }

    pub(crate) fn endpoint(&mut self, endpoint: &Endpoint) {
        self.record.template = endpoint.template;
        self.record.operation = Some(endpoint.operation);
        self.usage_kind = endpoint.usage;
    }

    /// What the request is called where it has no operation of ours.
    pub(crate) fn template(&mut self, template: &'static str) {
        self.record.template = template;
    }

    pub(crate) fn caller(&mut self, identity: &Identity) {
        self.record.user = Some(identity.user);
        self.record.pat = identity.pat;
    }

    /// Why a credential is not good; the caller is not told.
    pub(crate) fn credential_fault(&mut self, fault: CredentialFault) {
        self.record.code = Some(fault.code());
    }

    pub(crate) fn domain(&mut self, domain: DomainId) {
        self.record.domain = Some(domain);
    }

    pub(crate) fn model(&mut self, model: &ModelEntry) {
        self.record.model = Some(Arc::clone(&model.label));
        self.record.series = model.series;
    }

    pub(crate) fn attempt(&mut self, cluster: &ClusterEntry, endpoint: &EndpointEntry) {
        self.record.cluster = Some(Arc::clone(&cluster.label));
        self.record.endpoint = Some(Arc::clone(&endpoint.url));
        self.record.attempts += 1;
    }

    /// An endpoint's TLS is wrong; how, goes into the record and nowhere else.
    pub(crate) fn upstream_fault(&mut self, fault: &HandshakeFault) {
        self.record.upstream_fault = Some(fault.to_string().into());
    }

    /// The request is about to be sent: what the proxy itself added until now, if it is the first attempt and the body was not
    /// waited for.
    pub(crate) fn sending(&mut self) {
        if self.record.attempts == 1 {
            let added = self.local.clock.read().since(self.started);
            self.local.meter.overhead_request.observe(u64::try_from(added.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Body bytes came from the caller.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.record.bytes_in += bytes as u64;
        self.local.meter.relayed_up_bytes.add(bytes as u64);
    }

    /// Body bytes of our own making went to the caller.
    pub(crate) fn said(&mut self, bytes: usize) {
        self.record.bytes_out += bytes as u64;
    }

    /// Body bytes of the upstream's went to the caller.
    pub(crate) fn relayed(&mut self, bytes: usize) {
        self.record.bytes_out += bytes as u64;
        self.local.meter.relayed_down_bytes.add(bytes as u64);
        self.local.meter.relayed_down_chunks.bump();
    }

    /// The answer has begun: its head is about to be sent.
    pub(crate) fn answering(&mut self, status: u16, now: Moment, stream: bool) {
        self.record.status = status;
        self.record.first_byte = Some(now.since(self.started));
        self.record.stream = stream;
        self.streaming = true;
        self.answered = now;
        if stream {
            self.local.meter.active_streams.up();
        }
    }

    /// The answer's head, and what came with it, has been sent.
    pub(crate) fn answer_sent(&mut self) {
        let added = self.local.clock.read().since(self.answered);
        self.local.meter.overhead_response.observe(u64::try_from(added.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn usage(&mut self, reader: &UsageReader) {
        let usage = reader.usage();
        self.record.prompt_tokens = usage.prompt_tokens;
        self.record.completion_tokens = usage.completion_tokens;
        self.record.estimated = usage.estimated;
        self.record.events = reader.events();
    }

    /// We answered ourselves.
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        let (status, code, _) = refusal.reply();
        self.record.status = status;
        // The reason behind a refused credential is more than the caller was told; it stays.
        self.record.code.get_or_insert(code);
        self.local.meter.refused(code);
    }

    /// More about an ending than its name says.
    pub(crate) fn error(&mut self, code: &'static str) {
        self.record.code = Some(code);
    }

    /// How it ended. Without this call the record says [`Ending::Abandoned`].
    pub(crate) fn end(&mut self, ending: Ending) {
        self.record.ending = ending;
        if ending == Ending::CallerGone {
            let phase = if self.streaming { CancelPhase::Streaming } else { CancelPhase::BeforeHeaders };
            self.local.meter.cancelled.bump(phase);
            if !self.streaming {
                self.record.status = 499;
            }
        }
    }

    pub(crate) const fn started(&self) -> Moment {
        self.started
    }

    pub(crate) const fn usage_kind(&self) -> UsageKind {
        self.usage_kind
    }

    pub(crate) fn request_id(&self) -> &[u8] {
        self.record.request_id.as_bytes()
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.local.meter.inflight_requests.down();
        if self.streaming && self.record.stream {
            self.local.meter.active_streams.down();
        }
        if self.silent {
            return;
        }
        self.record.duration = self.local.clock.read().since(self.started);
        self.local.meter.request_ended(&self.record);
        let mut records = self.local.records.borrow_mut();
        if records.is_open() {
            records.push(std::mem::take(&mut self.record), &self.local.meter);
        }
    }
}
