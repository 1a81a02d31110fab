//! What waits already when a slow reader goes on: bytes that came for the proxy while it had nowhere to put them, and after which its
//! peer is silent. Nothing new tells it of them.

use crate::support::requests::{chat_path, chat_stream};
use crate::support::tls::{BOTH, serving_tls_with};
use crate::support::{Connection, MODEL, Proxy, Tenant, Upstream, World, chat, chunk, json_answer};

/// Small beside what any buffer on the way holds, so that all that waits fits into the proxy's receive buffer.
const STEP: usize = 8 << 10;

/// A proxy with this driver, inside TLS and without: a poll is armed in other ways by epoll and by io_uring.
fn serving(upstream: &Upstream, driver: &str) -> (Proxy, Tenant, impl Fn(bool) -> Connection + use<>) {
    let (world, tenant) = World::serving(&upstream.url());
    let (authority, proxy) = serving_tls_with(&world, |launch, _| {
        launch.settings.set("cores.driver", driver);
    });
    let (config, plain, https) = (authority.client(BOTH), proxy.data, proxy.https.expect("it has one"));
    let connect = move |tls: bool| {
        if tls { Connection::to_tls(https, &config) } else { Connection::to(plain) }
    };
    (proxy, tenant, connect)
}

/// Sends pieces until the proxy reads no more, then `last`, and leaves nothing on its way: whatever was sent has come, and some of it
/// waits. What was sent before `last`.
fn send_until_it_waits(sender: &mut Connection, last: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    // On a busy machine a piece may wait for a while without the proxy being stuck: not three times, with one more on top each time.
    let mut waited = 0;
    while waited < 3 {
        assert!(sent.len() < 64 << 20, "it never stops reading");
        let letter = b'a' + u8::try_from(sent.len() / STEP % 26).expect("small");
        sender.send(chunk(vec![letter; STEP]));
        sent.resize(sent.len() + STEP, letter);
        sender.wait_until_taken();
        waited = if sender.unread() > 0 { waited + 1 } else { 0 };
    }
    sender.send(last);
    sender.wait_until_come();
    sent
}

/// Goal: an answer goes on without news from its upstream. Method: a caller that reads nothing, until the end of its answer waits before
/// the proxy; then it reads, and the upstream says nothing more, or has left.
#[test]
fn the_rest_of_an_answer_that_waits_already_reaches_a_caller_that_reads_again() {
    for driver in ["auto", "epoll"] {
        let upstream = Upstream::bind();
        let (_proxy, tenant, connect) = serving(&upstream, driver);
        for (tls, leaves) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut caller = connect(tls);
            caller.send(chat_stream(&tenant.pat));
            let mut connection = upstream.accept();
            connection.request();
            let close = if leaves { "connection: close\r\n" } else { "" };
            connection.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{close}transfer-encoding: chunked\r\n\r\n"
            ));
            let sent = send_until_it_waits(&mut connection, b"0\r\n\r\n");
            let kept = if leaves {
                connection.part(drop);
                None
            } else {
                Some(connection)
            };
            let answer = caller.response();
            let (got, wanted) = (answer.body.len(), sent.len());
            assert!(answer.body == sent, "{driver}, TLS {tls}: {got} of {wanted} bytes, or other ones");
            // Said to be over: the caller may go on.
            caller.send(chat(&tenant.pat));
            let mut next = kept.unwrap_or_else(|| upstream.accept());
            next.request();
            next.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
            assert_eq!(caller.response().text(), "{}");
        }
    }
}

/// The same the other way: the end of an upload waits, inside TLS partly in records that the proxy has already taken from the kernel.
#[test]
fn the_rest_of_an_upload_that_waits_already_reaches_an_upstream_that_reads_again() {
    for driver in ["auto", "epoll"] {
        let upstream = Upstream::bind();
        let (_proxy, tenant, connect) = serving(&upstream, driver);
        for tls in [false, true] {
            let mut caller = connect(tls);
            let auth = tenant.pat.line();
            caller.send(format!(
                "POST {} HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding: chunked\r\n\r\n",
                chat_path()
            ));
            let (front, back) = (format!(r#"{{"model":"{MODEL}","messages":[{{"content":""#), r#""}]}"#);
            caller.send(chunk(&front));
            let end = [&chunk(back)[..], b"0\r\n\r\n"].concat();
            let sent = send_until_it_waits(&mut caller, &end);
            let mut connection = upstream.accept();
            let request = connection.request();
            let wanted = [front.as_bytes(), &sent, back.as_bytes()].concat();
            let (got, len) = (request.body.len(), wanted.len());
            assert!(request.body == wanted, "{driver}, TLS {tls}: {got} of {len} bytes, or other ones");
            connection.send(json_answer("{}"));
            assert_eq!(caller.response().text(), "{}");
        }
    }
}
