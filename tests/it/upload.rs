//! Bodies on their way up: held only as far as a decision needs it, and never in the way of an answer.

use std::thread;

use crate::support::requests::{chat_body, chat_path};
use crate::support::{
    Connection, Pat, Proxy, Upstream, World, chunk, chunked, get, json_answer, post, start,
};

const TRANSCRIPTIONS: &str = "/proxy/acme/v1/audio/transcriptions";

fn split_head(request: &str) -> (&str, &str) {
    request.split_at(request.find("\r\n\r\n").unwrap() + 4)
}

#[test]
fn a_caller_that_expects_100_continue_gets_it_before_its_body_is_read() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let mut caller = proxy.connect();
    let request =
        post(&chat_path(), &format!("{}expect: 100-continue\r\n", tenant.pat.line()), &chat_body("false"));
    let (head, body) = split_head(&request);
    for _ in 0..2 {
        caller.send(head);
        assert_eq!(caller.response().status(), 100);
        caller.send(body);
        assert_eq!(caller.response().status(), 200);
        let upstream_saw = requests.recv().unwrap();
        assert_eq!(upstream_saw.text(), body);
        assert_eq!(upstream_saw.field("expect"), None, "the body is already there");
    }
}

#[test]
fn a_refused_caller_that_expects_100_continue_gets_the_refusal_instead() {
    let (_upstream, tenant, proxy) = start();
    let bad = Pat::mint(tenant.user);
    let request = post(&chat_path(), &format!("{}expect: 100-continue\r\n", bad.line()), &chat_body("false"));
    let mut caller = proxy.connect();
    caller.send(split_head(&request).0);
    assert_eq!(caller.response().status(), 401);
}

#[test]
fn an_unknown_expectation_is_417_or_ignored() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let request =
        post(&chat_path(), &format!("{}expect: miracles\r\n", tenant.pat.line()), &chat_body("false"));
    let status = proxy.ask(request).status();
    assert!([200, 417].contains(&status), "{status}");
}

#[test]
fn a_chunked_prompt_reaches_the_upstream_whole() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{}"));
    let proxy = Proxy::of(&world);
    let auth = tenant.pat.line();
    let mut caller = proxy.connect();
    let body = chat_body("false").replace("hi", &"prompt ".repeat(50_000));
    for size in [1000, 16_384, 400_000] {
        let chunks: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
        caller.send(format!(
            "POST {} HTTP/1.1\r\nhost: a\r\n{auth}content-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n",
            chat_path()
        ));
        caller.send(chunked(&chunks));
        assert_eq!(caller.response().status(), 200);
        assert_eq!(requests.recv().unwrap().text(), body);
    }
}

/// The front of an upload that never ends by itself: a form whose model comes first, then a file.
fn start_upload(caller: &mut Connection, pat: &Pat) {
    let auth = pat.line();
    caller.send(format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nhost: a\r\n{auth}content-type: multipart/form-data; boundary=b\r\n\
         transfer-encoding: chunked\r\n\r\n"
    ));
    caller.send(chunk(
        "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ntiny\r\n\
         --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n",
    ));
}

/// Goal: neither direction waits for the other. Method: the upstream answers 413 while the caller is in the middle
/// of its upload and goes on pushing; the caller must read the 413 although it never finished.
#[test]
fn an_early_413_reaches_the_caller_while_the_prompt_is_still_uploading() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    start_upload(&mut caller, &tenant.pat);
    let writer = caller.stream().try_clone().unwrap();
    let pushing = thread::spawn(move || {
        let mut writer = Connection::from(writer);
        let piece = chunk(vec![b'x'; 64 * 1024]);
        let mut sent = 0_u64;
        while sent < 200 << 20 && writer.offer(&piece) {
            sent += 64 * 1024;
        }
    });
    let mut connection = upstream.accept();
    connection.head();
    connection.take(100_000);
    let body = r#"{"error":{"message":"too long"}}"#;
    let length = body.len();
    connection.send(format!(
        "HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    let answer = caller.response();
    assert_eq!((answer.status(), answer.text().as_str()), (413, body));
    drop(caller);
    drop(connection);
    pushing.join().unwrap();
}

/// The same for a JSON prompt with a stated length, far larger than any buffer.
#[test]
fn an_early_answer_reaches_the_caller_of_a_long_json_prompt() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let auth = tenant.pat.line();
    let length = 48 << 20;
    caller
        .send(format!("POST {} HTTP/1.1\r\nhost: a\r\n{auth}content-length: {length}\r\n\r\n", chat_path()));
    caller.send(r#"{"model":"tiny","messages":[{"role":"user","content":""#);
    caller.send("x".repeat(1 << 20));
    // The rest does not come until the answer is here.
    let mut connection = upstream.accept();
    connection.head();
    connection.send("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    let answer = caller.response();
    assert_eq!(answer.status(), 413);
}

/// Goal: an upload is not held in memory. Method: 128 MiB of audio through a proxy that may not grow by 24.
#[test]
fn a_long_upload_passes_in_bounded_memory() {
    let (upstream, tenant, proxy) = start();
    let mut caller = proxy.connect();
    let before = proxy.resident_kib();
    start_upload(&mut caller, &tenant.pat);
    let pieces = (128 << 20) / (64 * 1024);
    let drained = thread::scope(|scope| {
        let upload = scope.spawn(|| {
            let piece = chunk(vec![b'x'; 64 * 1024]);
            (0..pieces).for_each(|_| caller.send(&piece));
            caller.send(chunk("\r\n--b--\r\n"));
            caller.send("0\r\n\r\n");
            caller.response()
        });
        let mut connection = upstream.accept();
        connection.head();
        let mut drained = 0;
        while !connection.pending_ends_with(b"\r\n--b--\r\n\r\n0\r\n\r\n") {
            drained += connection.discard_all_but(64);
            assert!(connection.read_some());
            let grown = proxy.resident_kib().saturating_sub(before);
            assert!(grown < 24 << 10, "{grown} KiB for one upload");
        }
        connection.send(json_answer("{\"text\":\"x\"}"));
        assert_eq!(upload.join().unwrap().status(), 200);
        drained
    });
    assert!(drained > 128 << 20);
}

/// A refused upload is drained a little and then cut; either way no byte of it is ever taken for a request.
#[test]
fn the_body_of_a_refused_upload_is_never_parsed() {
    let (_upstream, tenant, proxy) = start();
    let smuggled = get("/proxy/acme/v1/models", &tenant.pat.line());
    for padding in [0, 1000, 60_000, 100_000, 4 << 20] {
        let body = format!("{}{smuggled}", " ".repeat(padding));
        let length = body.len();
        let mut caller = proxy.connect();
        caller.offer(format!(
            "POST {} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}",
            chat_path()
        ));
        caller.finish_sending();
        let (bytes, _) = caller.rest();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("HTTP/1.1 401 "), "{padding}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{padding}: {text}");
    }
}

/// D5: the form reaches the upstream with its boundary and every byte intact.
#[test]
fn a_form_reaches_the_upstream_byte_for_byte() {
    let upstream = Upstream::bind();
    let (world, tenant) = World::serving(&upstream.url());
    let requests = upstream.answer(|_| json_answer("{\"text\":\"x\"}"));
    let proxy = Proxy::of(&world);
    let mut form = Vec::new();
    form.extend_from_slice(b"--x y'z\r\nContent-Disposition: form-data; name=\"file\"; ");
    form.extend_from_slice(b"filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n");
    form.extend((0..100_000_u32).map(|n| (n * 7 % 256) as u8));
    form.extend_from_slice(b"\r\n--x y'z\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ntiny\r\n");
    form.extend_from_slice(b"--x y'z--\r\n");
    let content_type = "multipart/form-data; boundary=\"x y'z\"";
    let mut request = format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nhost: a\r\n{}content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        tenant.pat.line(),
        form.len()
    )
    .into_bytes();
    request.extend_from_slice(&form);
    let answer = proxy.ask(request);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let saw = requests.recv().unwrap();
    assert_eq!(saw.field("content-type"), Some(content_type));
    assert!(saw.body == form, "bytes changed on the way");
}
