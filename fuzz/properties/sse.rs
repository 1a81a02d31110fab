//! Any bytes are read the same however they are cut, and only whole events are left out.

use cube_proxy::sse::{Usage, UsageDialect, UsageReader, last_event_end, usage_only_event};

const DIALECTS: [UsageDialect; 5] = [
    UsageDialect::OpenAiJson,
    UsageDialect::OpenAiSse,
    UsageDialect::OllamaJson,
    UsageDialect::OllamaNdjson,
    UsageDialect::None,
];

/// Fails if what is read of a response depends on where it was cut.
pub(crate) fn check(input: &[u8]) {
    for dialect in DIALECTS {
        let whole = read(dialect, std::iter::once(input));
        assert_eq!(read(dialect, input.chunks(1)), whole, "byte by byte");
        assert_eq!(read(dialect, input.chunks(7)), whole, "in pieces of seven");
        // Cut once, where the input itself says.
        let cut = input.iter().map(|&byte| usize::from(byte)).sum::<usize>() % (input.len() + 1);
        let (front, back) = input.split_at(cut);
        assert_eq!(read(dialect, [front, back].into_iter()), whole, "cut at {cut}");
    }
    let end = last_event_end(input).unwrap_or(0);
    assert_eq!(last_event_end(&input[..end]).unwrap_or(0), end);
    if let Some(event) = usage_only_event(input) {
        assert!(event.start < event.end && event.end <= end);
        assert_eq!(last_event_end(&input[..event.end]), Some(event.end), "a whole event");
        assert!(event.start == 0 || last_event_end(&input[..event.start]) == Some(event.start));
    }
}

fn read<'a>(dialect: UsageDialect, pieces: impl Iterator<Item = &'a [u8]>) -> (Usage, u64, bool) {
    let mut reader = UsageReader::new(dialect);
    for piece in pieces {
        let may_hold_usage = reader.feed(piece);
        assert!(may_hold_usage || usage_only_event(piece).is_none(), "an event that would not be left out");
    }
    (reader.usage(), reader.events(), reader.done())
}
