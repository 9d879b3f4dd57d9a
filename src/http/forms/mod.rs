//! From a query string or a JSON body to a raw form, before any value is judged.
//!
//! Owns: that both ways of sending the same thing give the same raw form. Every field of a raw
//! form is a loose JSON value, so a wrong type is reported by the field's own check, together with
//! all other mistakes. Refuses: a body that is no JSON object, names that the form does not have, and a
//! name of a body that comes twice. In a query string a list is written as a name that comes several
//! times; of a field that is no list, that is a mistake as well.

mod check;
mod names;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

#[cfg(test)]
pub use check::sentence;
pub use check::{Check, ID_ALLOWED, InvalidField, decimal, digits_of, fold_white_space, shown};
pub use names::{LISTED, nearest};

pub const BODY_LIMIT: usize = 64 * 1024;

/// A form whose fields are all optional loose values. Its names are those it serialises with.
pub trait RawForm: Serialize + DeserializeOwned + Default {}

impl<T: Serialize + DeserializeOwned + Default> RawForm for T {}

/// Reads a form from the part of an address after the `?`. A name that is given several times
/// becomes a list.
///
/// # Errors
/// A value is not UTF-8, or the form has no such field; all mistakes are named.
pub fn from_query<T: RawForm>(query: &str) -> Result<T, Vec<InvalidField>> {
    let mut fields = Map::new();
    let known = names_of::<T>();
    let (mut garbled, mut unknown) = (Vec::new(), Vec::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if !known.iter().any(|known| *known == name) {
            unknown.push(name);
            continue;
        }
        // Decoding puts this in the place of bytes that are no text; nobody means it.
        if value.contains(char::REPLACEMENT_CHARACTER) {
            garbled.push(InvalidField::new(&*name, "is not UTF-8", "percent-encoded UTF-8 text"));
        }
        append(&mut fields, name.into_owned(), Value::String(value.into_owned()));
    }
    garbled.extend(names::refuse(unknown.iter().map(Cow::as_ref), &known));
    if garbled.is_empty() { build(fields) } else { Err(garbled) }
}

/// Sees to it that a query string has no fields: there is no form, or it comes in the body.
///
/// # Errors
/// It has; all of them are named.
pub fn empty_query(query: &str) -> Result<(), Vec<InvalidField>> {
    let names: Vec<_> =
        url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name).collect();
    let refused = names::refuse(names.iter().map(Cow::as_ref), &[]);
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

fn append(fields: &mut Map<String, Value>, name: String, value: Value) {
    match fields.get_mut(&name) {
        None => {
            fields.insert(name, value);
        }
        Some(Value::Array(several)) => several.push(value),
        Some(one) => *one = Value::Array(vec![one.take(), value]),
    }
}

/// Reads a form from a JSON body.
///
/// # Errors
/// The body is no JSON object, or has fields the form does not have, or one twice; all of them are named.
pub fn from_json<T: RawForm>(body: &[u8]) -> Result<T, Vec<InvalidField>> {
    let Pairs(fields) = serde_json::from_slice(body).map_err(|error| {
        let problem = if error.is_data() {
            "is not an object".to_owned()
        } else {
            format!("is not valid JSON: {error}")
        };
        vec![not_an_object(problem)]
    })?;
    let known = names_of::<T>();
    let unknown = fields.iter().map(|(name, _)| name).filter(|name| !known.contains(name));
    let mut mistakes = names::refuse(unknown.map(String::as_str), &known);
    let mut seen = HashSet::new();
    for (name, _) in &fields {
        if known.contains(name) && !seen.insert(name) {
            mistakes.push(InvalidField::new(
                name,
                "is given more than once",
                "one value or a list",
            ));
        }
    }
    if mistakes.is_empty() { build(fields.into_iter().collect()) } else { Err(mistakes) }
}

/// The fields of an object as they came: a map would keep the last of several with one name.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

fn not_an_object(problem: String) -> InvalidField {
    InvalidField::new("body", problem, "a JSON object")
}

fn names_of<T: RawForm>() -> Vec<String> {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn build<T: RawForm>(fields: Map<String, Value>) -> Result<T, Vec<InvalidField>> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| vec![not_an_object(format!("cannot be read: {error}"))])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Form {
        #[serde(default)]
        a: Option<Value>,
        #[serde(default)]
        b: Option<Value>,
    }

    #[test]
    fn both_ways_give_the_same_form() {
        let query: Form = from_query("a=x%20y&b=1&b=2").unwrap();
        let body: Form = from_json(br#"{"a": "x y", "b": ["1", "2"]}"#).unwrap();
        assert_eq!(query, body);
    }

    #[test]
    fn a_query_names_every_field_that_is_not_utf8() {
        let mistakes = from_query::<Form>("a=%ff&x=%fe&b=usb%C3").unwrap_err();
        let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(fields, ["a", "b", "x"]);
    }

    #[test]
    fn both_ways_refuse_what_the_form_does_not_have() {
        let query = from_query::<Form>("c=1&a=1&c=2").unwrap_err();
        assert_eq!(
            (query.len(), query[0].field.as_str(), query[0].allowed.as_str()),
            (2, "c", "a, b")
        );
        assert!(empty_query("").is_ok() && empty_query("&").is_ok());
        assert_eq!(empty_query("a=1").unwrap_err()[0].allowed, "no fields");
    }

    #[test]
    fn a_body_names_every_field_that_comes_twice() {
        let mistakes =
            from_json::<Form>(br#"{"a": 1, "b": 2, "a": 3, "a": 4, "c": 5}"#).unwrap_err();
        let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(fields, ["c", "a", "a"]);
    }

    #[test]
    fn a_body_names_every_unknown_field() {
        let mistakes = from_json::<Form>(br#"{"a": 1, "c": 2, "d": 3}"#).unwrap_err();
        let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(fields, ["c", "d"]);
        assert_eq!(mistakes[0].allowed, "a, b");
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for body in ["", "[]", "null", "{\"a\":", "\u{feff}{}", "NaN"] {
            let mistakes = from_json::<Form>(body.as_bytes()).unwrap_err();
            assert_eq!(mistakes[0].field, "body", "{body}");
        }
        assert!(from_json::<Form>(b"\xff\xfe").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(from_json::<Form>(deep.as_bytes()).is_err());
    }

    #[test]
    fn null_and_absent_are_the_same() {
        assert_eq!(from_json::<Form>(b"{\"a\": null}").unwrap(), Form::default());
        assert_eq!(names_of::<Form>(), ["a", "b"]);
        assert_eq!(from_query::<Form>("").unwrap(), Form::default());
    }

    proptest! {
        #[test]
        fn any_query_and_any_bytes_are_read_without_a_panic(query in ".{0,64}", body in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(from_query::<Form>(&query));
            drop(from_json::<Form>(&body));
        }
    }
}
