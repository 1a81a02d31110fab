//! Parameters of a query: found by name and left out by name.
//!
//! Names are compared as servers read them: percent sequences decoded, `+` as a blank. A server that splits at `;` too is not
//! thought of: what it would find there was never looked at as anything.

/// What one stretch between two `&` is: a name and a value, both as sent.
fn halves(part: &[u8]) -> (&[u8], &[u8]) {
    memchr::memchr(b'=', part).map_or((part, &[]), |at| (&part[..at], &part[at + 1..]))
}

/// Value of the first parameter of that name, as sent.
///
/// * `query`: what follows the `?` of a target.
/// * `name`: as it reads decoded.
#[must_use]
pub fn parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    query.split(|&byte| byte == b'&').map(halves).find(|(have, _)| is(have, name)).map(|(_, value)| value)
}

/// Appends `query` to `out` without the parameters of these names; all others stay byte for byte, and in order.
pub fn without_parameters(query: &[u8], names: &[&[u8]], out: &mut Vec<u8>) {
    let stays = |part: &&[u8]| !names.iter().any(|name| is(halves(part).0, name));
    for (index, part) in query.split(|&byte| byte == b'&').filter(stays).enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(part);
    }
}

/// Decodes a value, once; `None` if an escape is none.
#[must_use]
pub fn decode_value(raw: &[u8]) -> Option<Vec<u8>> {
    decoded(raw).collect()
}

fn is(raw: &[u8], name: &[u8]) -> bool {
    decoded(raw).eq(name.iter().map(|&byte| Some(byte)))
}

/// Each byte as it reads decoded once; `None` for an escape that is none.
fn decoded(raw: &[u8]) -> impl Iterator<Item = Option<u8>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &byte = raw.get(at)?;
        at += 1;
        match byte {
            b'+' => Some(Some(b' ')),
            b'%' => {
                let nibble = |at: usize| {
                    char::from(*raw.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
                };
                let pair = nibble(at).zip(nibble(at + 1));
                at += 2;
                Some(pair.map(|(high, low)| high << 4 | low))
            }
            _ => Some(Some(byte)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(query: &str) -> String {
        let mut out = Vec::new();
        without_parameters(query.as_bytes(), &[b"api_key", b"access_token"], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_parameter_is_found_in_any_spelling_and_only_as_a_whole() {
        for (query, value) in [
            ("api_key=k", Some("k")),
            ("a=b&api_key=k%20&api_key=other", Some("k%20")),
            ("api%5Fkey=k", Some("k")),
            ("%61pi_key=", Some("")),
            ("api_key", Some("")),
            ("xapi_key=k", None),
            ("api_keys=k", None),
            ("a=api_key=k", None),
            ("", None),
            ("api_key%=k", None),
            ("API_KEY=k", None),
        ] {
            assert_eq!(parameter(query.as_bytes(), b"api_key"), value.map(str::as_bytes), "{query}");
        }
    }

    #[test]
    fn what_is_left_out_leaves_the_others_as_they_were() {
        for (query, left) in [
            ("", ""),
            ("a=b", "a=b"),
            ("api_key=k", ""),
            ("api_key=k&a=b", "a=b"),
            ("a=b&api_key=k", "a=b"),
            ("a=%20&api%5fkey=k&b&access_token=t&c=d=e", "a=%20&b&c=d=e"),
            ("a&&b", "a&&b"),
            ("a=b&", "a=b&"),
            ("x=api_key=1", "x=api_key=1"),
        ] {
            assert_eq!(without(query), left, "{query}");
        }
    }

    #[test]
    fn values_are_decoded_once() {
        assert_eq!(decode_value(b"a%2541+b"), Some(b"a%41 b".to_vec()));
        assert_eq!(decode_value(b"%zz"), None);
        assert_eq!(decode_value(b"%2"), None);
    }
}
