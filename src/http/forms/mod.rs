//! From a query string or a JSON body to a raw form, before any value is judged.
//!
//! Owns: that both ways of sending the same thing give the same raw form. Every field of a raw
//! form is a loose JSON value, so a wrong type is reported by the field's own check, together with
//! all other mistakes. Refuses: a body that is no JSON object, and names in a body that the form
//! does not have. Unknown names in a query string are ignored: links collect foreign parameters.

mod check;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

#[cfg(test)]
pub use check::sentence;
pub use check::{Check, InvalidField, decimal, digits_of, fold_white_space, shown};

pub const BODY_LIMIT: usize = 64 * 1024;

/// A form whose fields are all optional loose values. Its names are those it serialises with.
pub trait RawForm: Serialize + DeserializeOwned + Default {}

impl<T: Serialize + DeserializeOwned + Default> RawForm for T {}

/// Reads a form from the part of an address after the `?`. A name that is given several times
/// becomes a list.
///
/// # Errors
/// A value is not UTF-8; all such fields are named.
pub fn from_query<T: RawForm>(query: &str) -> Result<T, Vec<InvalidField>> {
    let mut fields = Map::new();
    let known = names::<T>();
    let mut garbled = Vec::new();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    for (name, value) in pairs.filter(|(name, _)| known.iter().any(|known| known == name)) {
        // Decoding puts this in the place of bytes that are no text; nobody means it.
        if value.contains(char::REPLACEMENT_CHARACTER) {
            garbled.push(InvalidField::new(&*name, "is not UTF-8", "percent-encoded UTF-8 text"));
        }
        append(&mut fields, name.into_owned(), Value::String(value.into_owned()));
    }
    if garbled.is_empty() { build(fields) } else { Err(garbled) }
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
/// The body is no JSON object, or has fields the form does not have; all of them are named.
pub fn from_json<T: RawForm>(body: &[u8]) -> Result<T, Vec<InvalidField>> {
    let fields: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(vec![not_an_object("is not an object".into())]),
        Err(error) => return Err(vec![not_an_object(format!("is not valid JSON: {error}"))]),
    };
    let known = names::<T>();
    let unknown: Vec<_> = fields
        .keys()
        .filter(|name| !known.contains(name))
        .map(|name| InvalidField::new(shown(name), "is not a known field", known.join(", ")))
        .collect();
    if unknown.is_empty() { build(fields) } else { Err(unknown) }
}

fn not_an_object(problem: String) -> InvalidField {
    InvalidField::new("body", problem, "a JSON object")
}

fn names<T: RawForm>() -> Vec<String> {
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
        let query: Form = from_query("a=x%20y&b=1&b=2&utm_source=z").unwrap();
        let body: Form = from_json(br#"{"a": "x y", "b": ["1", "2"]}"#).unwrap();
        assert_eq!(query, body);
    }

    #[test]
    fn a_query_names_every_field_that_is_not_utf8() {
        let mistakes = from_query::<Form>("a=%ff&x=%fe&b=usb%C3").unwrap_err();
        let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(fields, ["a", "b"]);
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
        assert_eq!(names::<Form>(), ["a", "b"]);
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
