//! What an operator may write: the TOML, key for key, every one optional.
//!
//! The structs here are the one list of keys. Parsing goes in three steps so that one run names every problem:
//! 1. [`unknown_or_mistyped`] compares the text's keys and types with a [`File`] in which every key is set;
//! 2. serde fills a [`File`] from what is left;
//! 3. `check` turns values into [`Settings`] and says which of them do not hold.

mod check;
mod passthrough;
mod tls;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::passthrough::default;
use super::{AccessLogSink, DriverChoice, Listener, Overrides, Passthrough, Problem, Settings};

/// The whole file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    listener: ListenerSection,
    passthrough: PassthroughSection,
    tls: TlsSection,
    ops: OpsSection,
    cores: CoresSection,
    tables: TablesSection,
    admin: AdminSection,
    limits: LimitsSection,
    timeouts: TimeoutsSection,
    drain: DrainSection,
    metering: MeteringSection,
    access_log: AccessLogSection,
    upstream: UpstreamSection,
    process: ProcessSection,
    trusted_proxies: TrustedProxiesSection,
}

/// One section: its keys with their TOML types. Integers are signed, so that `-1` is reported as out of range.
macro_rules! section {
    ($name:ident { $($key:ident: $kind:ty),* $(,)? }) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct $name {
            $(#[serde(skip_serializing_if = "Option::is_none")] $key: Option<$kind>,)*
        }
    };
}

section!(ListenerSection { address: String, plain_beyond_loopback: bool, admin_origin: String });
section!(PassthroughSection {
    address: String,
    origins: Vec<String>,
    head_timeout_s: f64,
    idle_timeout_s: f64,
    auth_callback_url: String,
    auth_callback_timeout_s: f64,
    cache_ttl_s: f64,
    refusal_cache_ttl_s: f64,
    cache_entries_max: i64,
    single_flight: bool,
    rate_limit_per_s: i64,
    tls: bool,
    plain_beyond_loopback: bool,
    open_beyond_loopback: bool,
    forward_credential: bool,
});
section!(TlsSection { address: String, certificates: Vec<tls::KeyPairEntry>, client_ca: String });
section!(OpsSection { address: String, series_max: i64 });
section!(CoresSection { count: i64, driver: String, pin: bool });
section!(TablesSection { file: String });
section!(AdminSection {
    feed: String,
    fleet_key_file: String,
    state_dir: String,
    ca_file: String,
    client_chain: String,
    client_key: String,
    node: String,
    reconnect_min_s: f64,
    reconnect_max_s: f64,
    staleness_max_s: f64,
});
section!(LimitsSection {
    head_bytes_max: i64,
    request_line_bytes_max: i64,
    field_bytes_max: i64,
    fields_max: i64,
    body_bytes_max: i64,
    audio_body_bytes_max: i64,
    hold_bytes_max: i64,
    held_bytes_max: i64,
    connections_max: i64,
    connections_per_address_max: i64,
    requests_per_connection_max: i64,
    handshakes_max: i64,
    pat_cache_entries: i64,
});
section!(TimeoutsSection {
    head_s: f64,
    keep_alive_s: f64,
    body_idle_s: f64,
    body_bytes_per_s_min: i64,
    upload_total_s: f64,
    write_stall_s: f64,
    stream_keep_alive_s: f64,
    handshake_s: f64,
});
section!(DrainSection { min_s: f64, deadline_s: f64 });
section!(MeteringSection { include_usage: bool });
section!(AccessLogSection { path: String, sample: f64, sample_failures: f64 });
section!(UpstreamSection {
    idle_per_endpoint: i64,
    idle_timeout_s: f64,
    attempts_max: i64,
    system_roots: bool,
    ca_files: Vec<String>,
    client_chain: String,
    client_key: String,
});
section!(ProcessSection { lock_file: String, allow_second_instance: bool, huge_pages: bool });
section!(TrustedProxiesSection { cidrs: Vec<String> });

/// A TOML text in which every key is set, for the test of the example.
#[cfg(test)]
pub(super) fn every_key() -> String {
    File::with_every_key().to_toml()
}

/// Text to settings, or everything that is wrong with it.
pub(super) fn parse(text: &str, overrides: &Overrides) -> Result<Settings, Vec<Problem>> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
        vec![Problem { key: String::new(), message: error.to_string().trim_end().to_owned() }]
    })?;
    let mut problems = Vec::new();
    unknown_or_mistyped(&mut table, &File::with_every_key().to_table(), "", &mut problems);
    let mut file: File = match table.try_into() {
        Ok(file) => file,
        Err(error) => {
            problems.push(Problem { key: String::new(), message: error.to_string().trim_end().to_owned() });
            return Err(problems);
        }
    };
    // An empty variable is one that is not set.
    if let Some(url) = overrides.auth_callback_url.as_ref().filter(|url| !url.is_empty()) {
        file.passthrough.auth_callback_url = Some(url.clone());
    }
    let settings = check::settings(&file, &mut problems);
    if problems.is_empty() {
        Ok(settings)
    } else {
        problems.sort();
        Err(problems)
    }
}

/// Takes out of `table` and reports what `known` does not have, or has with another type.
fn unknown_or_mistyped(table: &mut Table, known: &Table, prefix: &str, problems: &mut Vec<Problem>) {
    table.retain(|key, value| {
        let full_key = format!("{prefix}{key}");
        let Some(example) = known.get(key) else {
            let kind = if prefix.is_empty() { "section" } else { "key" };
            let names: Vec<_> = known.keys().map(String::as_str).collect();
            let message = format!("no such {kind}; known are {}", names.join(", "));
            problems.push(Problem { key: full_key, message });
            return false;
        };
        if let (Value::Table(inner), Value::Table(known)) = (&mut *value, example) {
            unknown_or_mistyped(inner, known, &format!("{full_key}."), problems);
            return true;
        }
        let fits = same_type(value, example);
        if !fits {
            let message = format!("expected {}, found {}", described(example), found(value));
            problems.push(Problem { key: full_key, message });
        }
        fits
    });
}

fn same_type(value: &Value, example: &Value) -> bool {
    match (value, example) {
        // Seconds and shares may be written without a fraction.
        (Value::Integer(_), Value::Float(_)) => true,
        (Value::Array(values), Value::Array(examples)) => {
            examples.first().is_none_or(|example| values.iter().all(|value| same_type(value, example)))
        }
        (value, example) => value.same_type(example),
    }
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(values) if values.iter().any(Value::is_table) => "an array of sections",
        Value::Array(_) => "an array of strings",
        Value::Table(_) => "a section",
    }
}

fn found(value: &Value) -> &'static str {
    // An array of the wrong type is one of something else than strings.
    if value.is_array() { "an array of something else" } else { described(value) }
}

impl File {
    /// The known keys, with values of the right type. Keys that are absent by default are set here.
    fn with_every_key() -> Self {
        let mut file = Self::from(&Settings::default());
        file.listener.admin_origin = Some(String::new());
        file.passthrough.address = Some(String::new());
        file.passthrough.origins = Some(vec![String::new()]);
        file.passthrough.auth_callback_url = Some(String::new());
        file.tls.certificates = Some(vec![tls::KeyPairEntry::default()]);
        file.tls.client_ca = Some(String::new());
        file.upstream.ca_files = Some(vec![String::new()]);
        file.upstream.client_chain = Some(String::new());
        file.upstream.client_key = Some(String::new());
        file.cores.count = Some(1);
        file.tables.file = Some(String::new());
        file.admin.feed = Some(String::new());
        file.admin.fleet_key_file = Some(String::new());
        file.admin.state_dir = Some(String::new());
        file.admin.ca_file = Some(String::new());
        file.admin.client_chain = Some(String::new());
        file.admin.client_key = Some(String::new());
        file.admin.node = Some(String::new());
        file.limits.connections_max = Some(1);
        file.access_log.path = Some(String::new());
        file.process.lock_file = Some(String::new());
        file.trusted_proxies.cidrs = Some(vec![String::new()]);
        file
    }

    fn to_table(&self) -> Table {
        Table::try_from(self).expect("sections of strings, numbers, booleans and arrays of strings are TOML")
    }

    pub(super) fn to_toml(&self) -> String {
        toml::to_string(self).expect("sections of strings, numbers, booleans and arrays of strings are TOML")
    }
}

impl From<&Settings> for File {
    fn from(settings: &Settings) -> Self {
        let Settings { listener, ops, cores, admin, limits, timeouts, drain, access_log, upstream, .. } =
            settings;
        Self {
            listener: ListenerSection::of(listener),
            passthrough: PassthroughSection::of(settings.passthrough.as_deref()),
            tls: tls::section(&settings.tls),
            ops: OpsSection {
                address: Some(ops.address.to_string()),
                series_max: Some(integer(ops.series_max)),
            },
            cores: CoresSection {
                count: cores.count.map(|count| integer(count.get())),
                driver: Some(cores.driver.name().to_owned()),
                pin: Some(cores.pin),
            },
            tables: TablesSection { file: settings.tables.file.as_deref().map(text) },
            admin: tls::admin_section(admin),
            limits: LimitsSection {
                head_bytes_max: Some(integer(limits.head.head_bytes_max)),
                request_line_bytes_max: Some(integer(limits.head.first_line_bytes_max)),
                field_bytes_max: Some(integer(limits.head.field_bytes_max)),
                fields_max: Some(integer(limits.head.fields_max)),
                body_bytes_max: Some(integer(limits.body_bytes_max)),
                audio_body_bytes_max: Some(integer(limits.audio_body_bytes_max)),
                hold_bytes_max: Some(integer(limits.hold_bytes_max)),
                held_bytes_max: Some(integer(limits.held_bytes_max)),
                connections_max: limits.connections_max.map(|count| integer(count.get())),
                connections_per_address_max: Some(integer(limits.connections_per_address_max)),
                requests_per_connection_max: Some(integer(limits.requests_per_connection_max)),
                handshakes_max: Some(integer(limits.handshakes_max)),
                pat_cache_entries: Some(integer(limits.pat_cache_entries)),
            },
            timeouts: TimeoutsSection {
                head_s: Some(timeouts.head.as_secs_f64()),
                keep_alive_s: Some(timeouts.keep_alive.as_secs_f64()),
                body_idle_s: Some(timeouts.body_idle.as_secs_f64()),
                body_bytes_per_s_min: Some(integer(timeouts.body_rate_min)),
                upload_total_s: Some(timeouts.upload_total.as_secs_f64()),
                write_stall_s: Some(timeouts.write_stall.as_secs_f64()),
                handshake_s: Some(timeouts.handshake.as_secs_f64()),
                stream_keep_alive_s: Some(timeouts.stream_keep_alive.as_secs_f64()),
            },
            drain: DrainSection {
                min_s: Some(drain.min.as_secs_f64()),
                deadline_s: Some(drain.deadline.as_secs_f64()),
            },
            metering: MeteringSection { include_usage: Some(settings.metering.include_usage) },
            access_log: AccessLogSection {
                path: access_log.sink.as_ref().map(|sink| match sink {
                    AccessLogSink::Stdout => "stdout".to_owned(),
                    AccessLogSink::File(path) => text(path),
                }),
                sample: Some(access_log.sample),
                sample_failures: Some(access_log.sample_failures),
            },
            upstream: tls::upstream_section(upstream),
            process: ProcessSection {
                lock_file: settings.process.lock_file.as_deref().map(text),
                allow_second_instance: Some(settings.process.allow_second_instance),
                huge_pages: Some(settings.process.huge_pages),
            },
            trusted_proxies: TrustedProxiesSection {
                cidrs: Some(settings.trusted_proxies.iter().map(ToString::to_string).collect()),
            },
        }
    }
}

impl ListenerSection {
    fn of(listener: &Listener) -> Self {
        let admin = listener.admin_origin.as_ref().and_then(|admin| admin.endpoints.first());
        Self {
            address: Some(listener.address.to_string()),
            plain_beyond_loopback: Some(listener.plain_beyond_loopback),
            admin_origin: admin.map(|endpoint| endpoint.url.to_string()),
        }
    }
}

impl PassthroughSection {
    fn of(passthrough: Option<&Passthrough>) -> Self {
        let callback = passthrough.and_then(|passthrough| passthrough.callback.as_ref());
        let cluster = passthrough.map(|passthrough| &*passthrough.cluster);
        let head_timeout = cluster.map_or(default::HEAD_TIMEOUT, |cluster| cluster.head_timeout);
        let idle_timeout = cluster.map_or(default::IDLE_TIMEOUT, |cluster| cluster.idle_timeout);
        let timeout = callback.map_or(default::CALLBACK_TIMEOUT, |callback| callback.timeout);
        Self {
            address: passthrough.map(|passthrough| passthrough.address.to_string()),
            origins: cluster.map(|cluster| cluster.endpoints.iter().map(|e| e.url.to_string()).collect()),
            head_timeout_s: Some(head_timeout.as_secs_f64()),
            idle_timeout_s: Some(idle_timeout.as_secs_f64()),
            auth_callback_url: callback.map(|callback| callback.url.to_string()),
            auth_callback_timeout_s: Some(timeout.as_secs_f64()),
            cache_ttl_s: Some(callback.map_or(0.0, |callback| callback.cache_ttl.as_secs_f64())),
            refusal_cache_ttl_s: Some(
                callback.map_or(0.0, |callback| callback.refusal_cache_ttl.as_secs_f64()),
            ),
            cache_entries_max: Some(integer(
                callback.map_or(default::CACHE_ENTRIES_MAX, |c| c.cache_entries_max),
            )),
            single_flight: Some(callback.is_some_and(|callback| callback.single_flight)),
            rate_limit_per_s: Some(integer(
                callback.map_or(default::RATE_PER_S, |callback| callback.rate_per_s),
            )),
            tls: Some(passthrough.is_some_and(|p| p.tls)),
            plain_beyond_loopback: Some(passthrough.is_some_and(|p| p.plain_beyond_loopback)),
            open_beyond_loopback: Some(passthrough.is_some_and(|p| p.open_beyond_loopback)),
            forward_credential: Some(passthrough.is_some_and(|p| p.forward_credential)),
        }
    }
}

impl DriverChoice {
    /// All choices, with the names that settings use.
    pub const ALL: [Self; 5] = [Self::Auto, Self::UringDefer, Self::UringCoop, Self::Uring, Self::Epoll];

    /// The name as it is written in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::UringDefer => "uring_defer",
            Self::UringCoop => "uring_coop",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

fn integer(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
