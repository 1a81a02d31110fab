use proptest::prelude::*;

use super::generate::{pieces, without_files};
use crate::peek::{MultipartPeek, NAME_BYTES_MAX, PeekError, splice_form};

const TYPE: &[u8] = b"multipart/form-data; boundary=--X";

type Said = (Result<(), PeekError>, Option<Vec<u8>>, Option<std::ops::Range<u64>>);

fn said(segments: &[&[u8]]) -> Said {
    let mut peek = MultipartPeek::new(TYPE).unwrap();
    for segment in segments {
        let _ = peek.feed(segment);
    }
    match peek.finish() {
        Ok(()) => (Ok(()), peek.model().map(<[u8]>::to_vec), peek.model_span()),
        fault => (fault, None, None),
    }
}

/// What the whole form says, after making sure that cutting it changes nothing.
fn read(form: &[u8]) -> Said {
    let whole = said(&[form]);
    for cut in 0..=form.len() {
        assert_eq!(said(&[&form[..cut], b"", &form[cut..]]), whole, "{} cut at {cut}", form.escape_ascii());
    }
    for size in [1, 2, 5] {
        let pieces: Vec<&[u8]> = form.chunks(size).collect();
        assert_eq!(said(&pieces), whole, "{} in pieces of {size}", form.escape_ascii());
    }
    whole
}

/// A form of parts, each its head lines and its value.
fn form(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut form = String::new();
    for (head, value) in parts {
        form += &format!("----X\r\n{head}\r\n\r\n{value}\r\n");
    }
    (form + "----X--\r\n").into_bytes()
}

const MODEL: (&str, &str) = ("Content-Disposition: form-data; name=\"model\"", "whisper-1");
/// A file with bytes that look almost like the delimiter.
const FILE: (&str, &str) = (
    "content-disposition: form-data; name=\"file\"; filename=\"a; b.wav\"\r\nContent-Type: audio/wav",
    "\r\n---\r\n---X\r\n-- ----\r\n----Y \r\n\"model\"",
);

#[test]
fn the_model_is_found_before_and_behind_the_file() {
    for parts in [[MODEL, FILE], [FILE, MODEL]] {
        let form = form(&parts);
        let (verdict, model, span) = read(&form);
        assert_eq!((verdict, model.as_deref()), (Ok(()), Some(&b"whisper-1"[..])));
        let span = span.unwrap();
        assert_eq!(&form[span.start as usize..span.end as usize], b"whisper-1");
    }
    assert_eq!(read(&form(&[FILE])).1, None);
    assert_eq!(read(b"----X--"), (Ok(()), None, None), "an empty form");
}

#[test]
fn a_form_may_begin_and_end_with_line_ends() {
    let mut form = form(&[MODEL]);
    form.splice(0..0, *b"\r\n");
    form.extend_from_slice(b"\r\n");
    assert_eq!(read(&form).1.as_deref(), Some(&b"whisper-1"[..]));
}

#[test]
fn the_field_name_may_be_written_without_quotes() {
    let head = "Content-Disposition:form-data;name=model;";
    assert_eq!(read(&form(&[(head, "m")])).1.as_deref(), Some(&b"m"[..]));
}

#[test]
fn a_second_model_is_refused() {
    assert_eq!(read(&form(&[MODEL, FILE, MODEL])).0, Err(PeekError::DuplicateKey));
}

#[test]
fn a_model_that_two_parsers_could_read_differently_is_refused() {
    let cases = [
        ("Content-Disposition: form-data; name=\"Model\"", PeekError::AmbiguousKey),
        ("Content-Disposition: form-data; name=\"model\"; filename=\"m\"", PeekError::ModelNotText),
        ("Content-Disposition: form-data; name=\"model\"; filename*=utf-8''m", PeekError::ModelNotText),
        ("Content-Disposition: form-data; name=\"a\"; name=\"model\"", PeekError::Malformed),
        ("Content-Disposition: form-data; name=\"a\"; name*=utf-8''model", PeekError::Malformed),
        ("Content-Disposition: form-data; name=\"mod\\el\"", PeekError::Malformed),
        ("Content-Disposition: form-data; name=\"a\\\"; name=\"model\"", PeekError::Malformed),
        ("Content-Disposition: form-data; filename=\"a; name=model\"; name=\"b\"", PeekError::Malformed),
        ("Content-Disposition: form-data; name=\"_charset_\"", PeekError::Malformed),
        ("Content-Disposition: form-data", PeekError::Malformed),
        ("Content-Disposition: attachment; name=\"model\"", PeekError::Malformed),
        ("Content-Disposition: form-data; name=\"model", PeekError::Malformed),
        ("Content-Disposition: form-data; name=\"model\" x", PeekError::Malformed),
        ("Content-Disposition: form-data; =\"model\"", PeekError::Malformed),
        ("Content-Disposition : form-data; name=\"model\"", PeekError::Malformed),
        ("Content-Disposition: form-data;\r\n name=\"model\"", PeekError::Malformed),
        ("Content-Disposition: form-data; name=\"model\"\nX: y", PeekError::Malformed),
        ("Content-Disposition: form-data; name=\"model\"\r\nX", PeekError::Malformed),
        (
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"model\"",
            PeekError::Malformed,
        ),
        (
            "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: quoted-printable",
            PeekError::Malformed,
        ),
        (
            "Content-Transfer-Encoding: BASE64\r\nContent-Disposition: form-data; name=\"model\"",
            PeekError::Malformed,
        ),
        (
            "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=utf-7",
            PeekError::Malformed,
        ),
        ("Content-Type: text/plain", PeekError::Malformed),
    ];
    for (head, fault) in cases {
        assert_eq!(read(&form(&[(head, "m")])).0, Err(fault), "{head}");
    }
    let plain = "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\
                 Content-Transfer-Encoding: 8bit";
    assert_eq!(read(&form(&[(plain, "m")])).0, Ok(()));
}

#[test]
fn delimiters_that_some_parsers_would_miss_are_refused() {
    let model = "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n";
    let file = "----X\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n";
    for form in [
        format!("preamble\r\n----X{model}----X--"),
        format!("\n----X{model}----X--"),
        format!("----X {model}----X--"),
        format!("----X{model}----X--epilogue"),
        format!("----X{model}----X- -"),
        format!("{file}----X{model}----X--"),
        format!("{file}a\n----X{model}----X--"),
        format!("{file}a\r----X{model}----X--"),
        format!("{file}a----X{model}----X--"),
        format!("{file}a\r\n----XY{model}----X--"),
        "----X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n----X--".to_owned(),
    ] {
        assert_eq!(read(form.as_bytes()).0, Err(PeekError::Malformed), "{form:?}");
    }
}

#[test]
fn a_form_that_ends_early_is_refused_at_every_byte() {
    let form = form(&[FILE, MODEL]);
    for cut in 0..form.len() - 2 {
        assert_eq!(said(&[&form[..cut]]).0, Err(PeekError::Truncated), "cut at {cut}");
    }
}

#[test]
fn a_name_may_have_256_bytes_and_no_more() {
    let longest = "n".repeat(NAME_BYTES_MAX);
    assert_eq!(read(&form(&[(MODEL.0, &longest)])).1.as_deref(), Some(longest.as_bytes()));
    assert_eq!(read(&form(&[(MODEL.0, &format!("{longest}n"))])).0, Err(PeekError::ModelTooLong));
    assert_eq!(read(&form(&[(MODEL.0, "")])).1.as_deref(), Some(&b""[..]));
}

#[test]
fn heads_of_parts_are_bounded() {
    let long = format!("X: {}\r\n{}", "y".repeat(2000), MODEL.0);
    assert_eq!(said(&[&form(&[(&long, "m")])]).0, Err(PeekError::Malformed));
    let many = format!("{}{}", "X: y\r\n".repeat(16), MODEL.0);
    assert_eq!(said(&[&form(&[(&many, "m")])]).0, Err(PeekError::Malformed));
}

#[test]
fn the_boundary_comes_from_the_content_type() {
    let longest = format!("multipart/form-data; boundary={}", "b".repeat(70));
    for good in [
        "multipart/form-data; boundary=x",
        "Multipart/Form-Data;BOUNDARY=\"x y\"; charset=utf-8",
        "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW;",
        &longest,
    ] {
        assert!(MultipartPeek::new(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in [
        "",
        "application/json",
        "multipart/mixed; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"x \"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a; boundary*=b",
        "multipart/form-data; boundary*0=a",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=\"a",
        "multipart/form-data; boundary=a\u{e9}",
        "multipart/form-data; boundary=a; charset=utf-7",
        "multipart/form-data, multipart/form-data; boundary=a",
        &format!("{longest}b"),
    ] {
        assert_eq!(MultipartPeek::new(bad.as_bytes()).err(), Some(PeekError::BadContentType), "{bad}");
    }
}

#[test]
fn the_model_of_a_form_is_renamed_and_nothing_else_moves() {
    let body = form(&[FILE, MODEL]);
    let mut peek = MultipartPeek::new(TYPE).unwrap();
    peek.feed(&body).unwrap();
    let mut out = Vec::new();
    splice_form(&body, &peek, Some("large-v3"), &mut out);
    assert_eq!(out, form(&[FILE, (MODEL.0, "large-v3")]));
    for untouched in [None, Some("a\r\nb"), Some("a----X--")] {
        let mut out = Vec::new();
        splice_form(&body, &peek, untouched, &mut out);
        assert_eq!(out, body);
    }
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn a_random_form_gives_up_its_model(
        values in prop::collection::vec(almost_delimiters(), 0..4),
        model in prop::option::of("[a-z0-9/:. -]{0,20}"),
        at: prop::sample::Index,
        cuts: u64,
    ) {
        let heads = [FILE.0, "X-Y: z\r\nContent-Disposition: form-data; name=\"prompt\""];
        let mut parts: Vec<(&str, &str)> = values.iter().zip(heads.iter().cycle())
            .map(|(value, head)| (*head, value.as_str()))
            .collect();
        if let Some(model) = &model {
            parts.insert(at.index(parts.len() + 1), (MODEL.0, model));
        }
        let form = form(&parts);
        let (verdict, said, span) = said(&pieces(&form, cuts));
        prop_assert_eq!((verdict, said.as_deref()), (Ok(()), model.as_deref().map(str::as_bytes)));
        let there = span.map(|span| &form[span.start as usize..span.end as usize]);
        prop_assert_eq!(there, said.as_deref());
    }

    #[test]
    fn random_bytes_are_judged_the_same_however_they_are_cut(
        words in prop::collection::vec(prop::sample::select(&[
            "--", "-", "--X", "----X", "\r\n", "\r", "\n", "\r\n\r\n", "\r\n----X", "a", ":", ";", "\"", "model",
            "Content-Disposition: form-data; name=model\r\n\r\n", "name=\"model\"", "filename=x", "\u{e9}",
            "----X\r\nContent-Disposition: form-data; name=f\r\n\r\n", "----X--",
        ][..]), 0..16),
        cuts: u64,
    ) {
        let form = words.concat();
        prop_assert_eq!(said(&pieces(form.as_bytes(), cuts)), said(&[form.as_bytes()]), "{:?}", form);
    }
}

/// Values of parts with nearly the delimiter in them.
fn almost_delimiters() -> impl Strategy<Value = String> {
    let words = ["\r\n", "\r", "\n", "-", "--", "---", "X", "\r\n---", "a", "\"model\"", "\r\n\r\n"];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..12)
        .prop_map(|words| words.concat())
        .prop_filter("the delimiter itself", |value| !value.contains("----X"))
}
