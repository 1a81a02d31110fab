//! Closed sets of label values: what a metric may be split by is known when the program is compiled.

/// A label whose values are a closed set. Implemented by [`closed_label`].
pub trait Label: Copy + 'static {
    /// Every value, in the order of their numbers.
    const ALL: &'static [Self];

    /// The value's number, from 0, without gaps.
    fn index(self) -> usize;

    /// The value as metrics and logs write it. Public: add, never rename.
    fn name(self) -> &'static str;
}

/// Makes an enum a [`Label`]: `closed_label! { /// doc … pub enum Name { /// doc … Variant = "name", … } }`.
macro_rules! closed_label {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $crate::meter::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}
pub(crate) use closed_label;

closed_label! {
    /// How one attempt at an endpoint went.
    pub enum AttemptOutcome {
        /// The head of a final answer came, whatever its status.
        Answered = "answered",
        /// No connection: refused, unreachable, reset.
        ConnectFailed = "connect_failed",
        /// A connection, and no agreement on TLS: mostly its certificate.
        HandshakeFailed = "handshake_failed",
        /// No connection in time.
        ConnectTimeout = "connect_timeout",
        /// A pooled connection was closed before it answered.
        Stale = "stale",
        /// A new connection was closed before it answered.
        Closed = "closed",
        /// No head in time.
        HeadTimeout = "head_timeout",
        /// The head is not HTTP that we pass on.
        HeadInvalid = "head_invalid",
        /// The caller went away first, or its upload failed.
        Abandoned = "abandoned",
    }
}

closed_label! {
    /// How one call of the authentication callback ended.
    pub enum CallOutcome {
        /// 200.
        Allowed = "allowed",
        /// Any other status.
        Refused = "refused",
        /// No connection, or no answer that makes sense.
        Unreachable = "unreachable",
        /// No answer in time.
        TimedOut = "timed_out",
        /// The caller went away first.
        Abandoned = "abandoned",
    }
}

closed_label! {
    /// Where a request on a passthrough listener had its decision from.
    pub enum DecisionSource {
        /// A call of its own.
        Call = "call",
        /// A decision that was remembered.
        Cache = "cache",
        /// Another request's call.
        Shared = "shared",
    }
}

closed_label! {
    /// Why a request was tried again.
    pub enum RetryReason {
        /// The endpoint could not be connected to.
        Connect = "connect",
        /// The pooled connection was closed.
        Stale = "stale",
        /// The endpoint answered 502, 503 or 429, and there is another.
        Status = "status",
    }
}

closed_label! {
    /// How far a request was when its caller went away.
    pub enum CancelPhase {
        /// Nothing had been sent to the caller.
        BeforeHeaders = "before_headers",
        /// The answer was under way.
        Streaming = "streaming",
    }
}

closed_label! {
    /// Why a connection or request was turned away for want of room.
    pub enum ShedReason {
        /// `limits.connections_max`.
        Connections = "connections",
        /// `limits.connections_per_address_max`.
        Address = "address",
        /// No file descriptor left.
        Descriptors = "descriptors",
        /// `limits.handshakes_max`.
        Handshakes = "handshakes",
        /// `limits.held_bytes_max`.
        HeldBytes = "held_bytes",
    }
}

closed_label! {
    /// How a TLS handshake went.
    pub enum HandshakeOutcome {
        /// A new session: certificates were shown.
        Full = "full",
        /// An earlier session went on.
        Resumed = "resumed",
        /// Not done in time.
        Timeout = "timeout",
        /// The peer went away.
        Closed = "closed",
        /// The peer spoke plain HTTP.
        PlainHttp = "plain_http",
        /// The peer speaks neither TLS 1.2 nor 1.3.
        Version = "version",
        /// No cipher, group, signature or protocol in common.
        Incompatible = "incompatible",
        /// A certificate was missing, or not good enough for us.
        Certificate = "certificate",
        /// The peer gave up, and said so.
        Alert = "alert",
        /// What came is no handshake.
        Malformed = "malformed",
        /// Something else.
        Other = "other",
    }
}

closed_label! {
    /// What a TLS connection speaks.
    pub enum TlsVersion {
        /// TLS 1.2.
        Tls12 = "1.2",
        /// TLS 1.3.
        Tls13 = "1.3",
    }
}

closed_label! {
    /// The hundreds of a status.
    pub enum StatusClass {
        /// No status was sent.
        None = "none",
        /// 1xx, 2xx.
        Success = "2xx",
        /// 3xx.
        Redirection = "3xx",
        /// 4xx, and 499 for a caller that went away.
        CallerError = "4xx",
        /// 5xx.
        ServerError = "5xx",
    }
}

impl StatusClass {
    /// The class of a status; 0 stands for none.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            0..=99 => Self::None,
            100..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::CallerError,
            _ => Self::ServerError,
        }
    }
}
