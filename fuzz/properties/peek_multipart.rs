//! Any form is judged the same however it is cut, and its model stands where the peek says.

use cube_proxy::peek::{MultipartPeek, PeekError, splice_form};

/// Fails if a form could crash the peek, or mean something else when it is cut or spliced.
///
/// * `input`: the `Content-Type` up to the first line end, then the body.
pub(crate) fn check(input: &[u8]) {
    let line = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (content_type, body) = (&input[..line], input.get(line + 1..).unwrap_or_default());
    let Ok((verdict, peek)) = read(content_type, std::iter::once(body)) else { return };
    for size in [1, 7] {
        let (cut_verdict, cut) = read(content_type, body.chunks(size)).expect("the same type");
        assert_eq!(cut_verdict, verdict, "in pieces of {size}");
        if verdict.is_ok() {
            assert_eq!(
                (cut.model(), cut.model_span()),
                (peek.model(), peek.model_span()),
                "in pieces of {size}"
            );
        }
    }
    let (Ok(()), Some(span)) = (verdict, peek.model_span()) else { return };
    assert_eq!(Some(&body[span.start as usize..span.end as usize]), peek.model());
    let mut out = Vec::new();
    splice_form(body, &peek, Some("other"), &mut out);
    let (again, spliced) = read(content_type, std::iter::once(&out[..])).expect("the same type");
    assert_eq!((again, spliced.model()), (Ok(()), Some(&b"other"[..])));
}

fn read<'a>(
    content_type: &[u8],
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(Result<(), PeekError>, MultipartPeek), PeekError> {
    let mut peek = MultipartPeek::new(content_type)?;
    for piece in pieces {
        let _ = peek.feed(piece);
    }
    Ok((peek.finish(), peek))
}
