//! What a caller hears inside a stream that has begun: why it breaks off, and that it still lives.

use serde_json::Value;

use crate::support::requests::{chat_body, chat_path, chat_stream};
use crate::support::{
    Connection, DELTA, DONE, Launch, Message, Proxy, STREAM_HEAD, Tenant, Upstream, World, chat, chunk, post,
    start,
};

const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const LINES_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
const LINE: &str = "{\"message\":{\"content\":\"a\"},\"done\":false}\n";

/// Writes a tenant's request.
type Ask = fn(&Tenant) -> String;

/// A stream whose usage event the caller asked for itself, so that nothing has to be left out.
fn chat_stream_as_it_comes(tenant: &Tenant) -> String {
    let asked = chat_body("true").replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    post(&chat_path(), &tenant.pat.line(), &asked)
}

fn ollama_stream(tenant: &Tenant) -> String {
    post("/proxy/acme/api/chat", &tenant.pat.line(), &chat_body("true"))
}

/// Plays `sent` to `request` and then leaves; what the caller got until it was cut.
fn cut_after(request: impl Fn(&Tenant) -> String, sent: impl AsRef<[u8]>, reset: bool) -> Message {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    caller.send(request(&tenant));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(sent);
    connection.wait_until_taken();
    if reset {
        connection.reset();
    } else {
        drop(connection);
    }
    let cut = caller.cut_response();
    assert_eq!(proxy.record()["ending"], "upstream_cut");
    cut
}

/// The error object of an event at the end of `stream`, and what stands before it.
fn error_event(stream: &str) -> (&str, Value) {
    let (before, event) = stream.split_once("event: error\ndata: ").expect("an error event");
    let data = event.strip_suffix("\n\n").expect("a whole event");
    (before, serde_json::from_str(data).expect("one line of JSON"))
}

#[test]
fn a_stream_that_breaks_between_events_says_so_in_its_callers_dialect() {
    let streamed = [STREAM_HEAD, &chunk(DELTA), &chunk(DELTA)].concat();
    let http10 = |tenant: &Tenant| chat_stream(&tenant.pat).replacen("HTTP/1.1", "HTTP/1.0", 1);
    let stripped = |tenant: &Tenant| chat_stream(&tenant.pat);
    let crlf = DELTA.replace('\n', "\r\n");
    for cut in [
        cut_after(chat_stream_as_it_comes, &streamed, false),
        cut_after(chat_stream_as_it_comes, &streamed, true),
        cut_after(stripped, &streamed, false),
        cut_after(stripped, [UNTIL_CLOSE, DELTA, DELTA].concat(), true),
        cut_after(chat_stream_as_it_comes, [UNTIL_CLOSE, DELTA, DELTA].concat(), true),
        cut_after(http10, &streamed, false),
        // What is held back has not reached the caller: it stands between two events.
        cut_after(stripped, [&streamed, &chunk(&DELTA[..20])[..]].concat(), false),
        cut_after(chat_stream_as_it_comes, [STREAM_HEAD, &chunk(&crlf), &chunk(&crlf)].concat(), false),
    ] {
        let text = cut.text().replace("\r\n", "\n");
        let (before, error) = error_event(&text);
        assert_eq!(before, DELTA.repeat(2));
        assert_eq!(error["type"], "error");
        assert_eq!(error["error"]["type"], "server_error");
        assert_eq!(error["error"]["code"], "upstream_cut");
        assert!(error["error"]["message"].is_string() && error["message"].is_string(), "{error}");
        assert!(!text.contains("[DONE]"));
    }
    // The head alone: nothing has been said yet.
    let cut = cut_after(chat_stream_as_it_comes, STREAM_HEAD, false);
    assert_eq!(error_event(&cut.text()).0, "");
}

#[test]
fn a_stream_of_lines_that_breaks_ends_with_a_line() {
    let cut = cut_after(ollama_stream, [LINES_HEAD.as_bytes(), &chunk(LINE)].concat(), false);
    let text = cut.text();
    let error = text.strip_prefix(LINE).and_then(|rest| rest.strip_suffix('\n')).expect("one more line");
    let error: Value = serde_json::from_str(error).unwrap();
    assert!(error["error"].is_string(), "Ollama's clients raise what stands in `error`: {error}");
    assert_eq!(error["code"], "upstream_cut");
}

/// Goal: words of ours never end up inside something. Method: streams that break where there is no place for them.
#[test]
fn nothing_is_said_where_it_would_be_read_as_something_else() {
    let framed = chunk(DELTA);
    let head = String::from_utf8_lossy(STREAM_HEAD).into_owned();
    let gzip = head.replacen("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n", 1);
    let length = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000\r\n\r\n";
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let rows: [(&str, Vec<u8>, &str); 9] = [
        ("in a chunk", [STREAM_HEAD, &framed[..framed.len() - 10]].concat(), &DELTA[..DELTA.len() - 8]),
        ("before a chunk's CRLF", [STREAM_HEAD, &framed[..framed.len() - 2]].concat(), DELTA),
        ("in a size", [STREAM_HEAD, &framed, b"1"].concat(), DELTA),
        ("in the last chunk", [STREAM_HEAD, &framed, b"0\r\n"].concat(), DELTA),
        ("in an event", [STREAM_HEAD, &chunk("data: {\"a\"")].concat(), "data: {\"a\""),
        ("before the blank line", [STREAM_HEAD, &chunk("data: {}\n")].concat(), "data: {}\n"),
        ("in a body of known length", [length, DELTA].concat().into_bytes(), DELTA),
        ("in a compressed stream", [gzip.as_bytes(), &framed].concat(), DELTA),
        ("in a document", [json.as_bytes(), &chunk("{}\n\n")].concat(), "{}\n\n"),
    ];
    for (name, sent, payload) in rows {
        assert_eq!(cut_after(chat_stream_as_it_comes, sent, false).text(), payload, "{name}");
    }
    let whole = [STREAM_HEAD, &framed, &chunk(DONE)].concat();
    let cut = cut_after(chat_stream_as_it_comes, whole, false);
    assert_eq!(cut.text(), [DELTA, DONE].concat(), "after the last word");
    let half = [LINES_HEAD.as_bytes(), &chunk("{\"message\"")].concat();
    assert_eq!(cut_after(ollama_stream, half, false).text(), "{\"message\"", "in a line");
}

/// Bytes that break the framing are not passed on; what is said next stands behind the last good ones.
#[test]
fn broken_framing_is_told_like_a_cut_even_when_it_comes_with_the_head() {
    let good = chunk(DELTA);
    for (sent, before) in [(vec![STREAM_HEAD, b"zz\r\n"], ""), (vec![STREAM_HEAD, &good, b"2\r\nabcd"], "")]
        .map(|(parts, text)| {
            // In one piece: one read, which is judged as a whole.
            (parts.concat(), text)
        })
    {
        for request in [chat_stream_as_it_comes, |tenant: &Tenant| chat_stream(&tenant.pat)] {
            let (upstream, tenant, proxy) = start();
            let mut caller = proxy.connect();
            caller.send(request(&tenant));
            let mut connection = upstream.accept();
            connection.request();
            connection.send(&sent);
            let cut = caller.cut_response();
            assert_eq!(error_event(&cut.text()).0, before);
            assert_eq!((cut.status(), &proxy.record()["ending"]), (200, &"upstream_cut".into()));
        }
    }
}

#[test]
fn a_stream_that_stalls_ends_with_a_timeout_error() {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.record("cluster", "main")["idle_timeout_ms"] = 300.into();
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send([STREAM_HEAD, &chunk(DELTA)].concat());
    let cut = caller.cut_response();
    let text = cut.text();
    let (before, error) = error_event(&text);
    assert_eq!((before, &error["error"]["code"]), (DELTA, &"upstream_timeout".into()));
    assert_eq!(proxy.record()["ending"], "upstream_timeout");
}

#[test]
fn a_stream_that_outlives_its_proxy_is_told() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let mut launch = Launch::of(&world);
    launch.settings.set("drain.min_s", 0.1).set("drain.deadline_s", 0.3);
    let mut proxy = launch.start();
    let mut caller = proxy.connect();
    caller.send(chat_stream(&tenant.pat));
    let mut connection = upstream.accept();
    connection.request();
    connection.send([STREAM_HEAD, &chunk(DELTA)].concat());
    caller.take_through(DELTA.as_bytes());
    proxy.signal(rustix::process::Signal::TERM);
    let (rest, _) = caller.rest();
    let text = String::from_utf8_lossy(&rest).into_owned();
    assert!(text.contains("\"code\":\"draining\""), "{text}");
    assert!(!text.ends_with("0\r\n\r\n"), "a clean end");
    proxy.wait_for_exit();
}

/// A proxy that comments after `keep_alive_s`, and a stream through it that has begun and may be quiet for `idle_timeout_ms`.
fn quiet_stream(
    request: impl Fn(&Tenant) -> String,
    began: impl AsRef<[u8]>,
    keep_alive_s: f64,
    idle_timeout_ms: u64,
) -> (Connection, Connection, Proxy) {
    let upstream = Upstream::bind();
    let (mut world, tenant) = World::serving(&upstream.url());
    world.record("cluster", "main")["idle_timeout_ms"] = idle_timeout_ms.into();
    let proxy = Proxy::with(&world, |settings| {
        settings.set("timeouts.stream_keep_alive_s", keep_alive_s);
    });
    let mut caller = proxy.connect();
    caller.send(request(&tenant));
    let mut connection = upstream.accept();
    connection.request();
    connection.send(began);
    (caller, connection, proxy)
}

const COMMENT: &str = ": keep-alive\n\n";

#[test]
fn a_quiet_stream_is_kept_alive_by_comments_between_its_events() {
    let stripped = |tenant: &Tenant| chat_stream(&tenant.pat);
    let until_close = [UNTIL_CLOSE, DELTA].concat().into_bytes();
    let chunks = [STREAM_HEAD, &chunk(DELTA)].concat();
    let rows: [(Ask, _, &[u8]); 4] = [
        (chat_stream_as_it_comes, chunks.clone(), b"0\r\n\r\n"),
        (stripped, chunks, b"0\r\n\r\n"),
        (chat_stream_as_it_comes, until_close, b""),
        // While the model still reads the prompt: a head, and no event yet.
        (chat_stream_as_it_comes, STREAM_HEAD.to_vec(), b"0\r\n\r\n"),
    ];
    for (request, began, end) in rows {
        let first = if began.ends_with(b"\r\n\r\n") { "" } else { DELTA };
        let (mut caller, mut connection, proxy) = quiet_stream(request, &began, 0.2, 60_000);
        let head = caller.head();
        assert_eq!(head.status(), 200);
        caller.take_through(&chunk(COMMENT));
        caller.take_through(&chunk(COMMENT));
        let framed = !end.is_empty();
        connection.send(if framed { chunk(DONE) } else { DONE.as_bytes().to_vec() });
        connection.send(end);
        if !framed {
            drop(connection);
        }
        caller.take_through(&chunk(DONE));
        assert_eq!(caller.take_through(b"0\r\n\r\n"), b"0\r\n\r\n", "{first:?}: a clean end");
        assert_eq!(proxy.record()["ending"], "complete");
    }
}

/// Comments are our own: they do not make a dead upstream look alive.
#[test]
fn comments_do_not_put_off_the_idle_timeout() {
    let (mut caller, _connection, proxy) =
        quiet_stream(chat_stream_as_it_comes, [STREAM_HEAD, &chunk(DELTA)].concat(), 0.2, 1500);
    let cut = caller.cut_response();
    let text = cut.text();
    let (before, error) = error_event(&text);
    assert!(before.starts_with(DELTA) && before.ends_with(COMMENT), "{text}");
    assert_eq!(error["error"]["code"], "upstream_timeout");
    assert_eq!(proxy.record()["ending"], "upstream_timeout");
}

#[test]
fn no_comment_comes_where_it_has_no_place_or_is_not_wanted() {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let rows: [(Ask, Vec<u8>, f64); 5] = [
        (chat_stream_as_it_comes, [STREAM_HEAD, &chunk("data: {\"a\"")].concat(), 0.2),
        (chat_stream_as_it_comes, [STREAM_HEAD, &chunk(DELTA)[..20]].concat(), 0.2),
        (chat_stream_as_it_comes, [STREAM_HEAD, &chunk(DELTA)].concat(), 0.0),
        (ollama_stream, [LINES_HEAD.as_bytes(), &chunk(LINE)].concat(), 0.2),
        (|tenant| chat(&tenant.pat), [json.as_bytes(), &chunk("[\n\n")].concat(), 0.2),
    ];
    for (request, began, keep_alive_s) in rows {
        let (mut caller, _connection, _proxy) = quiet_stream(request, &began, keep_alive_s, 1500);
        let cut = caller.cut_response();
        assert!(!cut.mentions("keep-alive"), "{}", cut.text());
    }
}
