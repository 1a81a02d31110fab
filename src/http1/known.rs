//! Which header fields the proxy knows, and what follows from the name alone.

/// The fields that the proxy itself reads, removes or writes. All others are [`Known::Other`] and pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Known {
    /// Any other field.
    #[default]
    Other,
    /// Any other `X-Forwarded-…`. The name is told by its beginning, as is [`Self::Other`] by what it is not: these two, and no
    /// others, may be no valid name at all.
    XForwardedOther,
    /// A name with `_` in it. Servers that read `-` and `_` alike (CGI, WSGI) would take it for another
    /// field, so it is never passed on; one that shadows a known field is an error.
    Underscored,
    Accept,
    AcceptEncoding,
    Authorization,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    RetryAfter,
    Server,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Via,
    XApiKey,
    XAuthUser,
    XDomainId,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    XGuardrailsRequest,
    XRealIp,
    XRequestId,
    XRequestMethod,
    XRequestPath,
    XUserId,
    XUserName,
}

impl Known {
    /// Which field a field name names, in any case.
    ///
    /// * `name`: visible ASCII. That [`Known::Other`] is a valid name at all is for the caller to check; every other
    ///   answer implies it.
    ///
    /// # Cost
    /// One look at the length, then compares of whole words (`benches/head_parse.rs`).
    #[must_use]
    pub fn classify(name: &[u8]) -> Self {
        let known = Self::by_name(name);
        if known == Self::Other && name.contains(&b'_') { Self::Underscored } else { known }
    }

    /// Connection-level fields (RFC 9110 §7.6.1, and the older ones in use): they end at this proxy,
    /// both ways. Underscored names are treated alike.
    #[must_use]
    pub const fn is_hop_by_hop(self) -> bool {
        const HOP_BY_HOP: u64 = Known::Connection.bit()
            | Known::Http2Settings.bit()
            | Known::KeepAlive.bit()
            | Known::ProxyAuthenticate.bit()
            | Known::ProxyAuthorization.bit()
            | Known::ProxyConnection.bit()
            | Known::Te.bit()
            | Known::Trailer.bit()
            | Known::TransferEncoding.bit()
            | Known::Upgrade.bit()
            | Known::Underscored.bit();
        self.bit() & HOP_BY_HOP != 0
    }

    /// Fields that say who or how much: naming them in `Connection` must not strip them.
    #[must_use]
    pub(super) const fn is_protected(self) -> bool {
        const PROTECTED: u64 = Known::Host.bit()
            | Known::ContentLength.bit()
            | Known::ContentType.bit()
            | Known::ContentEncoding.bit()
            | Known::Authorization.bit()
            | Known::XRequestId.bit();
        self.bit() & PROTECTED != 0
    }

    /// Whether `name` is a known field once `_` is read as `-`, and several of them as one: two readers would
    /// see two messages.
    #[must_use]
    pub(super) fn is_shadowed_by(name: &[u8]) -> bool {
        let (mut dashed, mut len) = ([0_u8; 32], 0);
        for &byte in name {
            let byte = if byte == b'_' { b'-' } else { byte };
            if byte == b'-' && len > 0 && dashed[len - 1] == b'-' {
                continue;
            }
            let Some(to) = dashed.get_mut(len) else { return false };
            *to = byte;
            len += 1;
        }
        Self::by_name(&dashed[..len]) != Self::Other
    }

    /// This field's bit in a set of fields.
    #[must_use]
    pub(super) const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Fields with a name of their own, then the `X-Forwarded-…` family.
    #[inline] // benches/head_parse.rs
    pub(super) fn by_name(name: &[u8]) -> Self {
        let known = Self::by_length(name);
        let is_forwarded =
            || name.first_chunk::<12>().is_some_and(|start| Key::of(start).is(Key::of(b"x-forwarded-")));
        if known == Self::Other && is_forwarded() { Self::XForwardedOther } else { known }
    }

    #[inline] // benches/head_parse.rs
    fn by_length(name: &[u8]) -> Self {
        match name.len() {
            2 => one_of(name, [(b"te", Self::Te)]),
            3 => one_of(name, [(b"via", Self::Via)]),
            4 => one_of(name, [(b"host", Self::Host), (b"date", Self::Date)]),
            6 => one_of(
                name,
                [
                    (b"accept", Self::Accept),
                    (b"cookie", Self::Cookie),
                    (b"expect", Self::Expect),
                    (b"server", Self::Server),
                ],
            ),
            7 => one_of(name, [(b"trailer", Self::Trailer), (b"upgrade", Self::Upgrade)]),
            9 => one_of(
                name,
                [
                    (b"forwarded", Self::Forwarded),
                    (b"x-api-key", Self::XApiKey),
                    (b"x-real-ip", Self::XRealIp),
                    (b"x-user-id", Self::XUserId),
                ],
            ),
            10 => one_of(
                name,
                [
                    (b"connection", Self::Connection),
                    (b"keep-alive", Self::KeepAlive),
                    (b"set-cookie", Self::SetCookie),
                    (b"user-agent", Self::UserAgent),
                ],
            ),
            11 => one_of(
                name,
                [
                    (b"retry-after", Self::RetryAfter),
                    (b"x-auth-user", Self::XAuthUser),
                    (b"x-domain-id", Self::XDomainId),
                    (b"x-user-name", Self::XUserName),
                ],
            ),
            12 => one_of(name, [(b"content-type", Self::ContentType), (b"x-request-id", Self::XRequestId)]),
            13 => one_of(name, [(b"authorization", Self::Authorization)]),
            14 => one_of(
                name,
                [
                    (b"content-length", Self::ContentLength),
                    (b"http2-settings", Self::Http2Settings),
                    (b"x-request-path", Self::XRequestPath),
                ],
            ),
            15 => one_of(
                name,
                [(b"accept-encoding", Self::AcceptEncoding), (b"x-forwarded-for", Self::XForwardedFor)],
            ),
            16 => one_of(
                name,
                [
                    (b"content-encoding", Self::ContentEncoding),
                    (b"proxy-connection", Self::ProxyConnection),
                    (b"x-forwarded-host", Self::XForwardedHost),
                    (b"x-forwarded-port", Self::XForwardedPort),
                    (b"x-request-method", Self::XRequestMethod),
                ],
            ),
            17 => one_of(
                name,
                [
                    (b"transfer-encoding", Self::TransferEncoding),
                    (b"x-forwarded-proto", Self::XForwardedProto),
                ],
            ),
            18 => one_of(name, [(b"proxy-authenticate", Self::ProxyAuthenticate)]),
            19 => one_of(name, [(b"proxy-authorization", Self::ProxyAuthorization)]),
            20 => one_of(name, [(b"x-guardrails-request", Self::XGuardrailsRequest)]),
            _ => Self::Other,
        }
    }
}

const _: () = assert!((Known::XUserName as u8) < 64, "every field has a bit");

/// A name of up to 24 bytes as words in lower case, which overlap where its length is no multiple of theirs. Setting bit
/// 5 folds letters and leaves digits and `-` alone; no other visible byte folds onto a letter, a digit or `-`.
#[derive(Clone, Copy)]
struct Key(u64, u64, u64);

impl Key {
    #[inline] // benches/head_parse.rs
    fn of<const N: usize>(name: &[u8; N]) -> Self {
        const FOLD: u64 = 0x2020_2020_2020_2020;
        let word = |at: usize| name[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) | FOLD;
        let half = |at: usize| {
            name[at..].first_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes))) | FOLD
        };
        match N {
            0..4 => Self(name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)) | FOLD, 0, 0),
            4..8 => Self(half(0), half(N - 4), 0),
            8..=16 => Self(word(0), word(N - 8), 0),
            _ => Self(word(0), word(8), word(N - 8)),
        }
    }

    /// A derived comparison would go through memory, and cost more than all else here (`benches/head_parse.rs`).
    #[inline]
    const fn is(self, other: Self) -> bool {
        (self.0 ^ other.0) | (self.1 ^ other.1) | (self.2 ^ other.2) == 0
    }
}

/// The field of that name among those of one length.
#[inline] // benches/head_parse.rs
fn one_of<const N: usize, const OF: usize>(name: &[u8], fields: [(&[u8; N], Known); OF]) -> Known {
    const { assert!(N <= 24, "three words hold no more") };
    let Some(name) = name.first_chunk::<N>() else { return Known::Other };
    let name = Key::of(name);
    fields.iter().find(|(of_field, _)| Key::of(of_field).is(name)).map_or(Known::Other, |&(_, known)| known)
}
