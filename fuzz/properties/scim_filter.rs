//! Any text is a filter, a path of a PATCH, both or neither; what is one stays within its limits and means the same when it is written
//! out and read again.

use cube_admin::scim::filter::{
    DEPTH_MAX, FILTER_LEN_MAX, Filter, TERMS_MAX, parse, parse_attribute, parse_path,
};

/// Conditions and what joins them, and how deep that goes.
fn size(filter: &Filter) -> (usize, usize) {
    let (parts, depth) = match filter {
        Filter::And(all) | Filter::Or(all) => {
            let sizes = all.iter().map(size);
            sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1.max(one.1)))
        }
        Filter::Not(inner) | Filter::Some(_, inner) => size(inner),
        Filter::Present(_) | Filter::Compare(..) => (0, 0),
    };
    (parts + 1, depth + 1)
}

/// Fails if a filter is beyond the limits, or is another one when it is read again.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(filter) = parse(text) {
        let (parts, depth) = size(&filter);
        // Each condition may be alone in an `and` in an `or` in a `not`; between two brackets there are at most these three.
        assert!(
            text.len() <= FILTER_LEN_MAX && parts <= 4 * TERMS_MAX && depth <= 3 * (DEPTH_MAX + 1) + 1,
            "{text}"
        );
        let written = filter.to_string();
        match parse(&written) {
            Ok(again) => assert_eq!(again, filter, "{written}"),
            // Brackets around what binds closer, which the input need not have, take it beyond the limits.
            Err(_) => assert!(
                written.len() > FILTER_LEN_MAX || 2 * parts > TERMS_MAX || depth > DEPTH_MAX,
                "{written}"
            ),
        }
    }
    let trimmed = text.trim_matches(' ');
    if let Ok(path) = parse_path(text) {
        assert!(trimmed.starts_with(&path.attribute.to_string()), "{text}");
        assert_eq!(path.selection.is_some(), text.contains('['), "{text}");
    }
    if let Ok(attribute) = parse_attribute(text) {
        assert_eq!(attribute.to_string(), trimmed);
        assert_eq!(parse_path(text).map(|path| path.attribute), Ok(attribute));
    }
}
