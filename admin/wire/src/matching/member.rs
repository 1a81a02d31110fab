//! One member of a JSON object by its dotted path, as text, without reading anything else into memory.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A value, as text: strings without their quotes, numbers as Go prints them (`%v`), `<nil>` for null, arrays and objects as
    /// they are written.
    Value(Cow<'a, str>),
    /// An object that has no such member.
    Absent,
    /// The text is no JSON object at all.
    NoObject,
}

/// Looks up `path` (`a.b.c`, through objects only). Of a member that is there twice the last one counts.
///
/// # Cost
/// One pass over the text; no allocation unless the value has escapes or is a fraction.
pub(super) fn member<'a>(body: &'a [u8], path: &str) -> Found<'a> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Found::NoObject;
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let found = At(Some(path)).deserialize(&mut reader);
    match found.and_then(|found| reader.end().map(|()| found)) {
        Ok(Some(value)) => Found::Value(text(value.get())),
        Ok(None) => Found::Absent,
        Err(_) => Found::NoObject,
    }
}

/// Text of a JSON value.
fn text(raw: &str) -> Cow<'_, str> {
    match raw.as_bytes() {
        [b'"', inside @ .., b'"'] if memchr::memchr(b'\\', inside).is_none() => {
            (&raw[1..raw.len() - 1]).into()
        }
        [b'"', ..] => serde_json::from_str::<String>(raw).unwrap_or_default().into(),
        b"null" => "<nil>".into(),
        [b'-' | b'0'..=b'9', ..] => number(raw),
        _ => raw.into(),
    }
}

/// A number as Go prints a float64: shortest digits, with an exponent below 1e-4 and from 1e21.
fn number(raw: &str) -> Cow<'_, str> {
    const EXACT_DIGITS: usize = 15;
    if raw.len() <= EXACT_DIGITS && raw.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
        return raw.into();
    }
    let Ok(value) = raw.parse::<f64>() else { return raw.into() };
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific.into() };
    match exponent.parse::<i32>() {
        Ok(exponent @ (..-4 | 21..)) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs()).into()
        }
        _ => format!("{value}").into(),
    }
}

/// The value at what is left of the path; `None`: this value itself.
struct At<'p>(Option<&'p str>);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            None => serde::Deserialize::deserialize(reader).map(Some),
            Some(path) => {
                let (name, rest) =
                    path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
                reader.deserialize_any(Member { name, rest })
            }
        }
    }
}

/// A member of whatever value comes; only objects have any.
struct Member<'p> {
    name: &'p str,
    rest: Option<&'p str>,
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(here) = members.next_key_seed(Named(self.name))? {
            if here {
                found = members.next_value_seed(At(self.rest))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a key is this one.
struct Named<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(body: &str, path: &str) -> Option<String> {
        match member(body.as_bytes(), path) {
            Found::Value(value) => Some(value.into_owned()),
            Found::Absent => None,
            Found::NoObject => panic!("{body} is an object"),
        }
    }

    #[test]
    fn a_member_is_found_by_its_path_through_objects() {
        let body = r#" {"a":{"b":{"c":"deep"}},"d":[{"e":1}],"x.y":1,"a\"":2,"s":"A\n\"","t":"plain"}"#;
        for (path, expected) in [
            ("a.b.c", Some("deep")),
            ("a.b", Some(r#"{"c":"deep"}"#)),
            ("d", Some(r#"[{"e":1}]"#)),
            ("s", Some("A\n\"")),
            ("t", Some("plain")),
            ("d.e", None),
            ("d.0", None),
            ("t.x", None),
            ("x.y", None),
            ("missing", None),
            ("", None),
        ] {
            assert_eq!(value(body, path).as_deref(), expected, "{path}");
        }
        assert_eq!(value(r#"{"a":1,"a":2}"#, "a").as_deref(), Some("2"));
    }

    #[test]
    fn values_are_written_as_go_writes_them() {
        for (raw, text) in [
            ("true", "true"),
            ("null", "<nil>"),
            ("0", "0"),
            ("-7", "-7"),
            ("1.0", "1"),
            ("0.70", "0.7"),
            ("1e3", "1000"),
            ("1e21", "1e+21"),
            ("1.5e-7", "1.5e-07"),
            ("0.0001", "0.0001"),
            ("123456789012345678", "123456789012345680"),
        ] {
            assert_eq!(value(&format!(r#"{{"n":{raw}}}"#), "n").as_deref(), Some(text), "{raw}");
        }
    }

    #[test]
    fn what_is_no_object_is_told_so() {
        for body in ["", "[]", "\"a\"", "{", "{\"a\":1}x", "{\"a\":}", "not json", "1", "{\"a\":\"\u{1}\"}"] {
            assert_eq!(member(body.as_bytes(), "a"), Found::NoObject, "{body:?}");
        }
        assert_eq!(member(b"{\"a\":\"\xff\"}", "a"), Found::NoObject);
    }
}
