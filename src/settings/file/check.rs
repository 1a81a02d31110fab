//! Values to [`Settings`]: what is set replaces the default, what does not hold is reported and leaves the default.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::File;
use crate::settings::{AccessLogSink, Cidr, DriverChoice, Feed, Origin, Problem, Settings, Trust};
use crate::tables::{SystemResolver, lone_cluster};

/// One year: longer than any time-out, short enough that sums of durations never overflow.
const SECONDS_MAX: f64 = 31_536_000.0;
/// The shortest time-out: below the clock's resolution it would mean "at once".
const SECONDS_MIN: f64 = 0.001;
const GIB: i64 = 1 << 30;

pub(super) fn settings(file: &File, problems: &mut Vec<Problem>) -> Settings {
    let mut settings = Settings::default();
    let mut check = Check { problems };
    check.addresses(file, &mut settings);
    check.tls(file, &mut settings);
    check.passthrough(&file.passthrough, &mut settings);
    check.upstream(file, &mut settings);
    check.cores(file, &mut settings);
    check.limits(file, &mut settings);
    check.timeouts(file, &mut settings);
    check.access_log(file, &mut settings);
    settings.tables.file = check.path("tables.file", file.tables.file.as_ref());
    check.admin(file, &mut settings);
    settings.process.lock_file = check.path("process.lock_file", file.process.lock_file.as_ref());
    let flags = [
        (&mut settings.listener.plain_beyond_loopback, file.listener.plain_beyond_loopback),
        (&mut settings.cores.pin, file.cores.pin),
        (&mut settings.metering.include_usage, file.metering.include_usage),
        (&mut settings.process.allow_second_instance, file.process.allow_second_instance),
        (&mut settings.process.huge_pages, file.process.huge_pages),
    ];
    for (target, value) in flags {
        *target = value.unwrap_or(*target);
    }
    check.plain_listeners(&settings);
    settings
}

pub(super) struct Check<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn wrong(&mut self, key: &str, message: impl Display) {
        self.problems.push(Problem { key: key.to_owned(), message: message.to_string() });
    }

    fn addresses(&mut self, file: &File, settings: &mut Settings) {
        self.address("listener.address", file.listener.address.as_ref(), &mut settings.listener.address);
        self.address("ops.address", file.ops.address.as_ref(), &mut settings.ops.address);
        if settings.listener.address == settings.ops.address && settings.ops.address.port() != 0 {
            self.wrong("ops.address", "the same as listener.address; operators and callers need two");
        }
        if let Some(url) = &file.listener.admin_origin {
            match lone_cluster("admin", url, &mut SystemResolver) {
                Ok(admin) if admin.endpoints.iter().any(|e| e.addrs.contains(&settings.listener.address)) => {
                    self.wrong(
                        "listener.admin_origin",
                        "the listener itself; name the address of cube-admin",
                    );
                }
                Ok(admin) => settings.listener.admin_origin = Some(Arc::new(admin)),
                Err(why) => self.wrong("listener.admin_origin", format_args!("{url:?}: {why}")),
            }
        }
        self.number("ops.series_max", file.ops.series_max, &mut settings.ops.series_max, 1..=100_000);
        for (index, range) in file.trusted_proxies.cidrs.iter().flatten().enumerate() {
            match range.parse::<Cidr>() {
                Ok(range) => settings.trusted_proxies.push(range),
                Err(error) => {
                    self.wrong(
                        &format!("trusted_proxies.cidrs[{index}]"),
                        format_args!("{range:?}: {error}"),
                    );
                }
            }
        }
    }

    /// Credentials travel in the clear there: nobody serves them to a network by mistake.
    fn plain_listeners(&mut self, settings: &Settings) {
        let in_the_clear =
            |address: SocketAddr, is_meant: bool| !address.ip().to_canonical().is_loopback() && !is_meant;
        let listener = &settings.listener;
        if in_the_clear(listener.address, listener.plain_beyond_loopback) {
            self.wrong(
                "listener.address",
                "credentials would cross a network in the clear; use [tls], or say plain_beyond_loopback = true",
            );
        }
        if let Some(passthrough) = &settings.passthrough
            && in_the_clear(passthrough.address, passthrough.tls || passthrough.plain_beyond_loopback)
        {
            self.wrong(
                "passthrough.address",
                "credentials would cross a network in the clear; say tls = true, or plain_beyond_loopback = true",
            );
        }
    }

    fn cores(&mut self, file: &File, settings: &mut Settings) {
        settings.cores.count = self.count("cores.count", file.cores.count, 1024);
        let Some(name) = &file.cores.driver else { return };
        match DriverChoice::ALL.into_iter().find(|choice| choice.name() == name) {
            Some(choice) => settings.cores.driver = choice,
            None => {
                let names = DriverChoice::ALL.map(DriverChoice::name).join(", ");
                self.wrong("cores.driver", format_args!("{name:?} is not a driver; there are {names}"));
            }
        }
    }

    fn admin(&mut self, file: &File, settings: &mut Settings) {
        let (from, to) = (&file.admin, &mut settings.admin);
        let key_file = self.path("admin.fleet_key_file", from.fleet_key_file.as_ref());
        let state_dir = self.path("admin.state_dir", from.state_dir.as_ref());
        let trust = self.admin_trust(from);
        match &from.feed {
            Some(url) => {
                if settings.tables.file.is_some() {
                    self.wrong(
                        "admin.feed",
                        "tables come from tables.file already; leave one of the two out",
                    );
                }
                for (key, missing) in
                    [("admin.fleet_key_file", key_file.is_none()), ("admin.state_dir", state_dir.is_none())]
                {
                    if missing {
                        self.wrong(key, "is needed with admin.feed");
                    }
                }
                let origin = url.parse::<Origin>();
                if let Err(why) = &origin {
                    self.wrong("admin.feed", format_args!("{url:?}: {why}"));
                }
                if let (Ok(origin), Some(fleet_key_file), Some(state_dir)) = (origin, key_file, state_dir) {
                    if !origin.tls && trust != Trust::default() {
                        self.wrong("admin.feed", "certificates do nothing unless it is https");
                    }
                    to.feed = Some(Feed { origin, fleet_key_file, state_dir, trust });
                }
            }
            None => {
                for (key, set) in
                    [("admin.fleet_key_file", key_file.is_some()), ("admin.state_dir", state_dir.is_some())]
                {
                    if set {
                        self.wrong(key, "does nothing without admin.feed");
                    }
                }
            }
        }
        to.node = from.node.clone();
        if let Some(node) = &from.node
            && !is_node_name(node)
        {
            self.wrong("admin.node", "a node's name is 1 to 64 of a-z A-Z 0-9 _ . -");
        }
        self.timeout("admin.reconnect_min_s", from.reconnect_min_s, &mut to.reconnect_min);
        self.timeout("admin.reconnect_max_s", from.reconnect_max_s, &mut to.reconnect_max);
        if to.reconnect_min > to.reconnect_max {
            self.wrong("admin.reconnect_min_s", "more than admin.reconnect_max_s");
        }
        let mut staleness_max = Duration::ZERO;
        self.seconds("admin.staleness_max_s", from.staleness_max_s, &mut staleness_max, 0.0);
        to.staleness_max = (!staleness_max.is_zero()).then_some(staleness_max);
    }

    fn limits(&mut self, file: &File, settings: &mut Settings) {
        let (from, to) = (&file.limits, &mut settings.limits);
        // 65,535 bytes is what a span inside a head can address; 90 fields is what the head parser keeps.
        self.number("limits.head_bytes_max", from.head_bytes_max, &mut to.head.head_bytes_max, 256..=65_535);
        self.number(
            "limits.request_line_bytes_max",
            from.request_line_bytes_max,
            &mut to.head.first_line_bytes_max,
            64..=65_535,
        );
        self.number(
            "limits.field_bytes_max",
            from.field_bytes_max,
            &mut to.head.field_bytes_max,
            64..=65_535,
        );
        self.number("limits.fields_max", from.fields_max, &mut to.head.fields_max, 4..=90);
        self.number("limits.body_bytes_max", from.body_bytes_max, &mut to.body_bytes_max, 1..=1024 * GIB);
        self.number(
            "limits.audio_body_bytes_max",
            from.audio_body_bytes_max,
            &mut to.audio_body_bytes_max,
            1..=1024 * GIB,
        );
        self.number("limits.hold_bytes_max", from.hold_bytes_max, &mut to.hold_bytes_max, 1024..=1024 * GIB);
        self.number("limits.held_bytes_max", from.held_bytes_max, &mut to.held_bytes_max, 1024..=1024 * GIB);
        self.number(
            "limits.connections_per_address_max",
            from.connections_per_address_max,
            &mut to.connections_per_address_max,
            1..=i64::from(u32::MAX),
        );
        self.number(
            "limits.requests_per_connection_max",
            from.requests_per_connection_max,
            &mut to.requests_per_connection_max,
            1..=i64::from(u32::MAX),
        );
        self.number(
            "limits.pat_cache_entries",
            from.pat_cache_entries,
            &mut to.pat_cache_entries,
            1..=100_000_000,
        );
        self.number("limits.handshakes_max", from.handshakes_max, &mut to.handshakes_max, 1..=1_000_000);
        to.connections_max = self.count("limits.connections_max", from.connections_max, 100_000_000);
        for (key, part) in [
            ("limits.request_line_bytes_max", to.head.first_line_bytes_max),
            ("limits.field_bytes_max", to.head.field_bytes_max),
        ] {
            if part > to.head.head_bytes_max {
                let head = to.head.head_bytes_max;
                self.wrong(key, format_args!("{part} is more than limits.head_bytes_max ({head}) allows"));
            }
        }
        if to.hold_bytes_max > to.held_bytes_max {
            let (hold, held) = (to.hold_bytes_max, to.held_bytes_max);
            self.wrong(
                "limits.hold_bytes_max",
                format_args!("{hold} is more than limits.held_bytes_max ({held}) allows"),
            );
        }
    }

    fn timeouts(&mut self, file: &File, settings: &mut Settings) {
        let (from, to) = (&file.timeouts, &mut settings.timeouts);
        self.timeout("timeouts.head_s", from.head_s, &mut to.head);
        self.timeout("timeouts.handshake_s", from.handshake_s, &mut to.handshake);
        self.timeout("timeouts.keep_alive_s", from.keep_alive_s, &mut to.keep_alive);
        self.timeout("timeouts.body_idle_s", from.body_idle_s, &mut to.body_idle);
        self.number(
            "timeouts.body_bytes_per_s_min",
            from.body_bytes_per_s_min,
            &mut to.body_rate_min,
            1..=GIB,
        );
        self.timeout("timeouts.upload_total_s", from.upload_total_s, &mut to.upload_total);
        self.timeout("timeouts.write_stall_s", from.write_stall_s, &mut to.write_stall);
        self.seconds(
            "timeouts.stream_keep_alive_s",
            from.stream_keep_alive_s,
            &mut to.stream_keep_alive,
            0.0,
        );
        self.seconds("drain.min_s", file.drain.min_s, &mut settings.drain.min, 0.0);
        self.seconds("drain.deadline_s", file.drain.deadline_s, &mut settings.drain.deadline, 0.0);
        if settings.drain.min > settings.drain.deadline {
            self.wrong("drain.min_s", "more than drain.deadline_s");
        }
    }

    fn access_log(&mut self, file: &File, settings: &mut Settings) {
        let (from, to) = (&file.access_log, &mut settings.access_log);
        to.sink = self.path("access_log.path", from.path.as_ref()).map(|path| {
            if path.as_os_str() == "stdout" { AccessLogSink::Stdout } else { AccessLogSink::File(path) }
        });
        self.share("access_log.sample", from.sample, &mut to.sample);
        self.share("access_log.sample_failures", from.sample_failures, &mut to.sample_failures);
    }

    fn upstream(&mut self, file: &File, settings: &mut Settings) {
        let (from, to) = (&file.upstream, &mut settings.upstream);
        self.number(
            "upstream.idle_per_endpoint",
            from.idle_per_endpoint,
            &mut to.idle_per_endpoint,
            0..=1_000_000,
        );
        self.timeout("upstream.idle_timeout_s", from.idle_timeout_s, &mut to.idle_timeout);
        self.number("upstream.attempts_max", from.attempts_max, &mut to.attempts_max, 1..=10);
    }

    pub(super) fn address(&mut self, key: &str, value: Option<&String>, target: &mut SocketAddr) {
        let Some(value) = value else { return };
        match value.parse() {
            Ok(address) => *target = address,
            Err(_) => {
                self.wrong(key, format_args!("{value:?} is not an IP address with a port, as 127.0.0.1:8080"))
            }
        }
    }

    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        value: Option<i64>,
        target: &mut T,
        allowed: RangeInclusive<i64>,
    ) {
        let Some(value) = value else { return };
        match T::try_from(value) {
            Ok(number) if allowed.contains(&value) => *target = number,
            Ok(_) | Err(_) => {
                let (least, most) = allowed.into_inner();
                self.wrong(key, format_args!("{value} is not between {least} and {most}"));
            }
        }
    }

    fn count(&mut self, key: &str, value: Option<i64>, most: i64) -> Option<NonZeroUsize> {
        let mut count = 0;
        self.number(key, value, &mut count, 1..=most);
        NonZeroUsize::new(count)
    }

    /// A time-out: never zero, because "at once" and "never" would both be guesses.
    pub(super) fn timeout(&mut self, key: &str, value: Option<f64>, target: &mut Duration) {
        self.seconds(key, value, target, SECONDS_MIN);
    }

    pub(super) fn seconds(&mut self, key: &str, value: Option<f64>, target: &mut Duration, least: f64) {
        let Some(value) = value else { return };
        if (least..=SECONDS_MAX).contains(&value) {
            *target = Duration::from_secs_f64(value);
        } else if value == 0.0 {
            let default = target.as_secs_f64();
            self.wrong(key, format_args!("0 is not a time-out; leave the key out for {default} s"));
        } else {
            self.wrong(key, format_args!("{value} is not between {least} and {SECONDS_MAX} seconds"));
        }
    }

    fn share(&mut self, key: &str, value: Option<f64>, target: &mut f64) {
        let Some(value) = value else { return };
        if (0.0..=1.0).contains(&value) {
            *target = value;
        } else {
            self.wrong(key, format_args!("{value} is not between 0.0 and 1.0"));
        }
    }

    pub(super) fn path(&mut self, key: &str, value: Option<&String>) -> Option<PathBuf> {
        let value = value?;
        if value.is_empty() {
            self.wrong(key, "an empty name; leave the key out instead");
            return None;
        }
        Some(PathBuf::from(value))
    }
}

/// As `cube_wire::feed::NodeReport` wants it.
fn is_node_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
