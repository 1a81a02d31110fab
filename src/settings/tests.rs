//! Settings from text: defaults, problems, the shipped example.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AccessLogSink, DriverChoice, KeyPair, Settings, SettingsError, Trust};

const EXAMPLE: &str = include_str!("../../config/proxy.toml");

/// The keys of the problems in `text`, which has some.
fn wrong_keys(text: &str) -> Vec<String> {
    let problems = Settings::parse(text).expect_err("a text with problems");
    problems.into_iter().map(|problem| problem.key).collect()
}

fn message_for(text: &str) -> String {
    let problems = Settings::parse(text).expect_err("a text with a problem");
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].to_string()
}

/// The example with its commented keys set: `#key = value`, no blank behind the `#`.
fn example_without_comments() -> String {
    EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|first: char| first.is_ascii_lowercase()) => key,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_example_as_shipped_and_with_all_its_keys_set_equals_the_defaults() {
    assert_eq!(Settings::parse(EXAMPLE), Ok(Settings::default()));
    assert_eq!(Settings::parse(&example_without_comments()), Ok(Settings::default()));
    assert_eq!(Settings::parse(""), Ok(Settings::default()));
}

#[test]
fn the_example_names_every_key_in_its_section() {
    let shown: toml::Table = example_without_comments().parse().expect("TOML");
    let known: toml::Table = super::file::every_key().parse().expect("TOML");
    for (section, keys) in &known {
        let start = EXAMPLE.find(&format!("[{section}]")).expect("a section of the example");
        let text = &EXAMPLE[start..];
        let text = &text[..text.find("\n\n").unwrap_or(text.len())];
        for key in keys.as_table().expect("a section").keys() {
            let set = shown[section].get(key).is_some();
            let in_words = text.contains(&format!("# `{key}`: "));
            assert!(set != in_words, "{section}.{key} is shown once, as a default or in words");
        }
    }
}

#[test]
fn a_misspelt_key_or_section_fails() {
    assert_eq!(wrong_keys("[listener]\nadress = '127.0.0.1:1'"), ["listener.adress"]);
    assert_eq!(wrong_keys("[limts]\nfields_max = 9"), ["limts"]);
    assert_eq!(wrong_keys("address = '127.0.0.1:1'"), ["address"]);
    assert!(message_for("[drain]\ndedline_s = 1").contains("known are deadline_s, min_s"));
}

#[test]
fn all_problems_are_reported_at_once_each_with_its_key() {
    let text = "
        colour = 'red'
        [listener]
        address = 'localhost'
        [ops]
        series_max = '12'
        [cores]
        count = 0
        driver = 'kqueue'
        [limits]
        fields_max = 91
        head_bytes_max = -1
        body_bytes_max = 1.5
        hold_bytes_max = 600000000
        [timeouts]
        head_s = 0
        upload_total_s = -1
        write_stall_s = nan
        [access_log]
        path = ''
        sample = 1.01
        [trusted_proxies]
        cidrs = ['10.0.0.0/8', '10.0.0.1/8', 'me']
        [drain]
        min_s = 40
        [upstream]
        idle_timeout_s = 1e300
        speed = 3
    ";
    assert_eq!(
        wrong_keys(text),
        [
            "access_log.path",
            "access_log.sample",
            "colour",
            "cores.count",
            "cores.driver",
            "drain.min_s",
            "limits.body_bytes_max",
            "limits.fields_max",
            "limits.head_bytes_max",
            "limits.hold_bytes_max",
            "listener.address",
            "ops.series_max",
            "timeouts.head_s",
            "timeouts.upload_total_s",
            "timeouts.write_stall_s",
            "trusted_proxies.cidrs[1]",
            "trusted_proxies.cidrs[2]",
            "upstream.idle_timeout_s",
            "upstream.speed",
        ]
    );
}

#[test]
fn messages_say_what_would_be_right() {
    for (text, message) in [
        (
            "[upstream]\nidle_timeout_s = 0",
            "upstream.idle_timeout_s: 0 is not a time-out; leave the key out for 30 s",
        ),
        ("[limits]\nfields_max = 100", "limits.fields_max: 100 is not between 4 and 90"),
        ("[cores]\npin = 'yes'", "cores.pin: expected true or false, found a string"),
        (
            "[trusted_proxies]\ncidrs = [1]",
            "trusted_proxies.cidrs: expected an array of strings, found an array of something else",
        ),
        ("listener = 1", "listener: expected a section, found a whole number"),
        (
            "[ops]\naddress = '127.0.0.1:8080'",
            "ops.address: the same as listener.address; operators and callers need two",
        ),
    ] {
        assert_eq!(message_for(text), message);
    }
    let message = message_for("[listener\n");
    assert!(message.contains("line 1"), "{message}");
}

#[test]
fn tables_come_from_a_file_or_from_the_feed_and_the_feed_needs_its_key_and_its_place() {
    let feed = "[admin]\nfeed = 'http://admin:8082'\nfleet_key_file = 'k'\nstate_dir = 's'\n";
    let settings = Settings::parse(feed).expect("whole");
    let of_feed = settings.admin.feed.clone().expect("a feed");
    assert_eq!((of_feed.origin.host.as_str(), of_feed.origin.port), ("admin", 8082));
    assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
    for (text, keys) in [
        (format!("{feed}[tables]\nfile = 't'"), &["admin.feed"][..]),
        ("[admin]\nfeed = 'http://a:1'".to_owned(), &["admin.fleet_key_file", "admin.state_dir"]),
        ("[admin]\nstate_dir = 's'".to_owned(), &["admin.state_dir"]),
        (feed.replace("http://admin", "ftp://admin"), &["admin.feed"]),
        (format!("{feed}ca_file = 'x'"), &["admin.feed"]),
        (format!("{feed}client_key = 'x'").replace("http:", "https:"), &["admin.client_chain"]),
        (feed.replace("8082", "8082/x"), &["admin.feed"]),
        (format!("{feed}node = 'a b'\nreconnect_min_s = 9"), &["admin.node", "admin.reconnect_min_s"]),
    ] {
        assert_eq!(wrong_keys(&text), keys, "{text}");
    }
}

#[test]
fn every_key_that_is_set_arrives() {
    let text = "
        [listener]
        address = '[::1]:9000'
        [ops]
        address = '0.0.0.0:0'
        series_max = 7
        [cores]
        count = 3
        driver = 'uring_coop'
        pin = false
        [tables]
        file = 'tables.ndjson'
        [admin]
        node = 'edge-1.a_b'
        reconnect_min_s = 0.5
        reconnect_max_s = 60
        staleness_max_s = 3600
        [limits]
        connections_max = 50
        pat_cache_entries = 9
        [timeouts]
        head_s = 0.25
        body_bytes_per_s_min = 10
        [drain]
        min_s = 0
        deadline_s = 2
        [metering]
        include_usage = false
        [access_log]
        path = 'stdout'
        sample = 0
        sample_failures = 0.5
        [upstream]
        idle_per_endpoint = 0
        [process]
        lock_file = '/run/lock/x'
        allow_second_instance = true
        huge_pages = true
        [trusted_proxies]
        cidrs = ['10.0.0.0/8']
    ";
    let settings = Settings::parse(text).expect("valid settings");
    let mut expected = Settings::default();
    expected.listener.address = "[::1]:9000".parse::<SocketAddr>().expect("an address");
    expected.ops.address = "0.0.0.0:0".parse::<SocketAddr>().expect("an address");
    expected.ops.series_max = 7;
    expected.cores.count = NonZeroUsize::new(3);
    expected.cores.driver = DriverChoice::UringCoop;
    expected.cores.pin = false;
    expected.tables.file = Some(PathBuf::from("tables.ndjson"));
    expected.admin.node = Some("edge-1.a_b".to_owned());
    expected.admin.reconnect_min = Duration::from_millis(500);
    expected.admin.reconnect_max = Duration::from_secs(60);
    expected.admin.staleness_max = Some(Duration::from_secs(3600));
    expected.limits.connections_max = NonZeroUsize::new(50);
    expected.limits.pat_cache_entries = 9;
    expected.timeouts.head = Duration::from_millis(250);
    expected.timeouts.body_rate_min = 10;
    expected.drain.min = Duration::ZERO;
    expected.drain.deadline = Duration::from_secs(2);
    expected.metering.include_usage = false;
    expected.access_log.sink = Some(AccessLogSink::Stdout);
    expected.access_log.sample = 0.0;
    expected.access_log.sample_failures = 0.5;
    expected.upstream.idle_per_endpoint = 0;
    expected.process.lock_file = Some(PathBuf::from("/run/lock/x"));
    expected.process.allow_second_instance = true;
    expected.process.huge_pages = true;
    expected.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a range")];
    assert_eq!(settings, expected);

    // What `--check` prints is a file with the same meaning.
    assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
}

#[test]
fn certificates_and_authorities_are_files_and_what_belongs_together_is_asked_for_together() {
    let text = "
        [tls]
        address = '0.0.0.0:443'
        certificates = [{ chain = 'a.pem', key = 'a.key' }, { chain = 'b.pem', key = 'b.key' }]
        client_ca = 'callers.pem'
        [upstream]
        system_roots = false
        ca_files = ['own.pem']
        client_chain = 'we.pem'
        client_key = 'we.key'
        [timeouts]
        handshake_s = 5
        [limits]
        handshakes_max = 9
    ";
    let settings = Settings::parse(text).expect("valid settings");
    let pair =
        |name: &str| KeyPair { chain: format!("{name}.pem").into(), key: format!("{name}.key").into() };
    assert_eq!(settings.tls.certificates, [pair("a"), pair("b")]);
    assert_eq!(settings.tls.client_ca, Some(PathBuf::from("callers.pem")));
    let trust =
        Trust { system_roots: false, ca_files: vec![PathBuf::from("own.pem")], client: Some(pair("we")) };
    assert_eq!(settings.upstream.trust, trust);
    assert_eq!((settings.timeouts.handshake, settings.limits.handshakes_max), (Duration::from_secs(5), 9));
    assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
    for (text, key) in [
        ("[tls]\nclient_ca = 'x'", "tls.client_ca"),
        ("[tls]\ncertificates = [{ chain = '', key = 'x' }]", "tls.certificates[0].chain"),
        ("[tls]\ncertificates = ['x']", "tls.certificates"),
        ("[tls]\naddress = '127.0.0.1:8080'\ncertificates = [{ chain = 'x', key = 'x' }]", "tls.address"),
        ("[upstream]\nclient_key = 'x'", "upstream.client_chain"),
        ("[listener]\naddress = '0.0.0.0:8080'", "listener.address"),
        ("[listener]\naddress = '[::ffff:192.0.2.1]:1'", "listener.address"),
    ] {
        assert_eq!(wrong_keys(text), [key], "{text}");
    }
    let certificate = "[tls]\ncertificates = [{ chain = 'x', key = 'y', colour = 'red' }]";
    assert!(Settings::parse(certificate).is_err(), "a misspelt key is not passed over");
    assert!(Settings::parse("[listener]\naddress = '0.0.0.0:1'\nplain_beyond_loopback = true").is_ok());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Settings::load(Path::new("/does/not/exist.toml")).expect_err("no such file");
    assert!(matches!(error, SettingsError::Unreadable { .. }));
    assert!(error.to_string().starts_with("/does/not/exist.toml: "), "{error}");
}

/// Goal: no text makes the parser panic. Method: the example, cut anywhere and with any one byte replaced.
#[test]
fn damaged_text_never_panics() {
    let text = example_without_comments();
    for cut in (0..text.len())
        .step_by(17)
        .filter(|cut| text.is_char_boundary(*cut) && text.is_char_boundary(cut + 1))
    {
        let _ = Settings::parse(&text[..cut]);
        for byte in ["\0", "=", "[", "'", "9"] {
            let mut damaged = text.clone();
            damaged.replace_range(cut..cut + 1, byte);
            let _ = Settings::parse(&damaged);
        }
    }
}

#[test]
fn the_origin_of_admin_is_a_plain_url_of_another_address() {
    let settings =
        Settings::parse("[listener]\nadmin_origin = \"http://127.0.0.1:8081\"").expect("a right text");
    let admin = settings.listener.admin_origin.as_deref().expect("it is set");
    assert_eq!(&*admin.endpoints[0].addrs, [SocketAddr::from(([127, 0, 0, 1], 8081))]);
    assert!(settings.to_toml().contains("admin_origin = \"http://127.0.0.1:8081\""));
    for wrong in ["", "127.0.0.1:8081", "ftp://127.0.0.1:8081", "http://127.0.0.1:8080", "http://a b"] {
        assert_eq!(
            wrong_keys(&format!("[listener]\nadmin_origin = \"{wrong}\"")),
            ["listener.admin_origin"],
            "{wrong}"
        );
    }
}

#[test]
fn a_passthrough_listener_has_an_address_a_cluster_and_somebody_who_decides() {
    let whole = "[passthrough]\nplain_beyond_loopback = true\naddress = '0.0.0.0:3000'\norigins = ['http://127.0.0.1:1', 'http://127.0.0.1:2/base']\n\
                 auth_callback_url = 'http://127.0.0.1:3/verify?a'\nauth_callback_timeout_s = 0.5\nhead_timeout_s = 7\n\
                 forward_credential = true\ncache_ttl_s = 1\nrefusal_cache_ttl_s = 0.25\ncache_entries_max = 9\n\
                 single_flight = true\nrate_limit_per_s = 0\n";
    let settings = Settings::parse(whole).expect("whole");
    let passthrough = settings.passthrough.clone().expect("a listener");
    let callback = passthrough.callback.as_ref().expect("a callback");
    assert_eq!((&*callback.target, callback.timeout), ("/verify?a", Duration::from_millis(500)));
    assert_eq!(
        (callback.cache_ttl, callback.refusal_cache_ttl),
        (Duration::from_secs(1), Duration::from_millis(250))
    );
    assert_eq!((callback.cache_entries_max, callback.single_flight, callback.rate_per_s), (9, true, 0));
    assert_eq!(passthrough.cluster.endpoints.len(), 2);
    assert_eq!(passthrough.cluster.head_timeout, Duration::from_secs(7));
    assert!(passthrough.forward_credential);
    assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));

    let tls = whole.replace("plain_beyond_loopback", "tls")
        + "[tls]\ncertificates = [{ chain = 'c.pem', key = 'k.pem' }]\n";
    assert!(Settings::parse(&tls).expect("over TLS").passthrough.expect("a listener").tls);

    let open = "[passthrough]\naddress = '127.0.0.1:3000'\norigins = ['http://127.0.0.1:1']\n";
    assert!(
        Settings::parse(open).expect("open on loopback").passthrough.expect("a listener").callback.is_none()
    );
    for (text, keys) in [
        (open.replace("127.0.0.1:3000", "0.0.0.0:3000"), &["passthrough.address"; 2][..]),
        (open.replace("127.0.0.1:3000", "[::ffff:10.0.0.1]:3000"), &["passthrough.address"; 2]),
        (open.replace("127.0.0.1:3000", "127.0.0.1:8080"), &["passthrough.address"]),
        (open.replace("127.0.0.1:1", "127.0.0.1:3000"), &["passthrough.origins"]),
        (open.replace("['http://127.0.0.1:1']", "[]"), &["passthrough.origins"]),
        (open.replace("['http://127.0.0.1:1']", "['http://a:1', 'x']"), &["passthrough.origins[1]"]),
        (format!("{open}auth_callback_url = 'http://127.0.0.1:3000/'"), &["passthrough.auth_callback_url"]),
        (format!("{open}auth_callback_url = 'ftp://a:1/'"), &["passthrough.auth_callback_url"]),
        (format!("{open}auth_callback_timeout_s = 0"), &["passthrough.auth_callback_timeout_s"]),
        ("[passthrough]\norigins = ['http://a:1']".to_owned(), &["passthrough.origins"]),
        (format!("{open}tls = true"), &["passthrough.tls"]),
        (
            format!("{open}auth_callback_url = 'http://a:1/'").replace("127.0.0.1:3000", "0.0.0.0:3000"),
            &["passthrough.address"],
        ),
    ] {
        assert_eq!(wrong_keys(&text), keys, "{text}");
    }
}
