//! What parsing and deciding allocate, counted: nothing. Beside `allocations.rs`, which counts a whole core in a process of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cube_proxy::http1::{
    ChunkLimits, ChunkScanner, Framing, HeadLimits, HeadWriter, Parsed, RequestHead, ResponseHead,
    split_proxy_path,
};
use cube_proxy::operations::{Lookup, NAMES_BELOW, lookup};
use cube_proxy::tables::{Choice, NoResolver, Rules, Seen, Tables, Verifier, digest_of};
use cube_wire::pat::mint;
use cube_wire::{PatId, PatIds, UserId, read_records};

struct Counting;

thread_local! {
    /// Allocations of this thread: other tests and the harness do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "a global allocator is an unsafe trait; it only counts and passes on")]
// SAFETY: every call is passed on to the system's allocator unchanged. Growing in place goes through `alloc` here, and
// is counted so.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no cell any more, and no test.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations_in(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn parsing_and_writing_heads_and_scanning_chunks_allocate_nothing() {
    let request =
        b"POST /proxy/demo/v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: x-a\r\nx-a: b\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nserver: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = b"5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n";
    let limits = HeadLimits::default();
    let (mut head, mut answer) = (RequestHead::new(), ResponseHead::new());
    let mut scanner = ChunkScanner::new(ChunkLimits::default());
    let mut out = Vec::with_capacity(1024);
    let counted = allocations_in(|| {
        assert_eq!(head.parse(request, &limits), Ok(Parsed::Complete { len: request.len() }));
        let path = split_proxy_path(head.path.of(request), NAMES_BELOW).expect("a proxy path");
        assert!(matches!(lookup(&head.method, path.rest), Lookup::Found(_)));
        HeadWriter::request(&mut out, &head.method, &[path.rest], b"b")
            .copy(request, head.fields(), |_| true)
            .end(Framing::Length(7));
        assert_eq!(answer.parse(response, &limits, false), Ok(Parsed::Complete { len: response.len() }));
        let mut payload = 0;
        let scanned = scanner.scan(body, |bytes| payload += bytes.len());
        assert!(scanned.is_ok_and(|scanned| scanned.done) && payload == 5);
    });
    assert_eq!(counted, 0);
    assert!(allocations_in(|| drop(std::hint::black_box(vec![0_u8; 1]))) > 0, "the counter counts");
}

/// A request that no rule of the test below takes.
struct Request;

impl Seen for Request {
    fn path(&self) -> &[u8] {
        b"/v1/chat/completions"
    }
    fn method(&self) -> &[u8] {
        b"POST"
    }
    fn header(&self, _: &str) -> &[u8] {
        b""
    }
    fn query(&self) -> &[u8] {
        b"a=b"
    }
}

/// A PAT that is bound to addresses and has a former secret, remembered; and rules of every kind, none of which holds.
#[test]
fn checking_a_remembered_pat_and_asking_rules_in_vain_allocate_nothing() {
    const DOMAIN: &str = "00000000-0000-4000-8000-00000000000d";
    let (user, pat) = (UserId::from_bytes([1; 16]), PatId::from_bytes([2; 16]));
    let secret = mint(PatIds { user, pat }, &[7; 32]).expose().to_owned();
    let digest = digest_of(secret.as_bytes());
    let route = |name: &str, matcher: &str| {
        format!(r#"{{"kind":"route","name":"{name}","cluster":"c","matchers":[{{{matcher}}}]}}"#)
    };
    let lines = [
        r#"{"kind":"cluster","id":"c","dialect":"openai","endpoints":[{"url":"http://127.0.0.1:1"}]}"#.to_owned(),
        format!(r#"{{"kind":"domain","id":"{DOMAIN}","status":"enabled"}}"#),
        format!(r#"{{"kind":"user","id":"{user}","status":"enabled"}}"#),
        format!(
            r#"{{"kind":"pat","id":"{pat}","user":"{user}","digest":"{digest}","cidrs":["fd00::/8","127.0.0.0/8"],"previous":{{"digest":"{digest}","until":9}}}}"#
        ),
        route("a", r#""condition":"path","pattern":"/x$","is_regex":true"#),
        route("b", r#""condition":"header","field":"x","pattern":"y""#),
        route("c", r#""condition":"query_param","field":"a","pattern":"^c","is_regex":true"#),
        route("d", r#""condition":"body_field","field":"model.name","pattern":"z""#),
        route("e", r#""condition":"body_regex","pattern":"nowhere""#),
    ]
    .join("\n");
    let records = read_records(lines.as_bytes()).map(|(line, record)| (line, record.expect("a record")));
    let tables = Tables::compile(records, 1, &mut NoResolver).expect("sound lines");
    let rules = Rules::clone(tables.rules());
    let domain = tables.domain(DOMAIN.as_bytes()).expect("the domain");
    let mut verifier = Verifier::new(8);
    let mut decide = || {
        let who = verifier.verify(&tables, secret.as_bytes(), 8, [127, 0, 0, 1].into());
        assert!(who.is_ok());
        let body = br#"{"model":{"name":"tiny"},"messages":["b"]}"#;
        assert_eq!(rules.choose(domain, &Request, Some(body)), Choice::Straight);
    };
    // The first time fills the cache, and what the expressions work with.
    decide();
    assert_eq!(allocations_in(decide), 0);
}
