//! What parsing allocates, counted: nothing. Beside `allocations.rs`, which counts a whole core in a process of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cube_proxy::http1::{
    ChunkLimits, ChunkScanner, Framing, HeadLimits, HeadWriter, Parsed, RequestHead, ResponseHead,
    split_proxy_path,
};
use cube_proxy::operations::{Lookup, NAMES_BELOW, lookup};

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
