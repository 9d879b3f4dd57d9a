//! From a query string or a JSON body to a raw form, before any value is judged.
//!
//! Owns: that both ways of sending the same thing give the same raw form. Every field of a raw
//! form is a loose JSON value, so a wrong type is reported by the field's own check, together with
//! all other mistakes, those of names among them. Refuses: a body that is no JSON object, names that the
//! form does not have, and a name of a body that comes twice. In a query string a list is written as a name that comes several
//! times; of a field that is no list, that is a mistake as well.

mod check;
mod names;
mod words;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

#[cfg(test)]
pub use check::sentence;
pub use check::{Check, ID_ALLOWED, InvalidField, decimal, digits_of, shown};
pub use names::{LISTED, nearest};
pub use words::fold_white_space;

pub const BODY_LIMIT: usize = 64 * 1024;

/// A form whose fields are all optional loose values. Its names are those it serialises with.
pub trait RawForm: Serialize + DeserializeOwned + Default {}

impl<T: Serialize + DeserializeOwned + Default> RawForm for T {}

/// A form without fields.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoFields {}

/// A form as it came, and what is wrong with its names. Only [`Self::read`] leads to the form, so that a
/// client is told of wrong names and wrong values together.
#[derive(Debug)]
#[must_use = "its mistakes are told by `read`"]
pub struct Sent<T> {
    form: T,
    mistakes: Vec<InvalidField>,
}

impl<T> Sent<T> {
    /// The same, with one more mistake.
    pub fn but(mut self, mistakes: impl IntoIterator<Item = InvalidField>) -> Self {
        self.mistakes.extend(mistakes);
        self
    }

    /// The same in another form.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Sent<U> {
        Sent { form: of(self.form), mistakes: self.mistakes }
    }

    /// What `read` makes of the form.
    ///
    /// # Errors
    /// Names or values are wrong; all of them are named, a field once.
    pub fn read<V>(
        self,
        read: impl FnOnce(T) -> Result<V, Vec<InvalidField>>,
    ) -> Result<V, Vec<InvalidField>> {
        let Self { form, mistakes } = self;
        match read(form) {
            Ok(value) if mistakes.is_empty() => Ok(value),
            Ok(_) => Err(mistakes),
            Err(mut all) => {
                all.retain(|one| mistakes.iter().all(|other| other.field != one.field));
                all.extend(mistakes);
                Err(all)
            }
        }
    }
}

/// Reads a form from the part of an address after the `?`. A name that is given several times
/// becomes a list.
pub fn from_query<T: RawForm>(query: &str) -> Sent<T> {
    let mut fields = Map::new();
    let known = names_of::<T>();
    let (mut mistakes, mut unknown) = (Vec::new(), Vec::new());
    // The decoder leaves pairs out that hold nothing.
    let raw = query.split('&').filter(|pair| !pair.is_empty());
    for (raw, (name, value)) in raw.zip(url::form_urlencoded::parse(query.as_bytes())) {
        if !known.iter().any(|known| *known == name) {
            unknown.push(name);
        } else if has_bare_percent(raw) {
            let problem = "has a % without two hex digits behind it";
            mistakes.push(InvalidField::new(
                &*name,
                problem,
                "percent-encoded text; % itself is %25",
            ));
        } else if value.contains(char::REPLACEMENT_CHARACTER) {
            // Decoding puts this in the place of bytes that are no text; nobody means it.
            mistakes.push(InvalidField::new(&*name, "is not UTF-8", "percent-encoded UTF-8 text"));
        } else {
            append(&mut fields, name.into_owned(), Value::String(value.into_owned()));
        }
    }
    mistakes.extend(names::refuse(unknown.iter().map(Cow::as_ref), &known));
    build(fields, mistakes)
}

/// Whether a `%` is not what it stands for in a query: half of a character that was lost, most likely.
fn has_bare_percent(raw: &str) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    raw.split('%').skip(1).any(|rest| !rest.as_bytes().get(..2).is_some_and(is_hex))
}

/// What is wrong with a query string beside a form that comes in the body.
pub fn beside_body<T: RawForm>(query: &str) -> Vec<InvalidField> {
    let names: Vec<_> =
        url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name).collect();
    let mut mistakes = names::refuse(names.iter().map(Cow::as_ref), &[]);
    if !names_of::<T>().is_empty() {
        for mistake in &mut mistakes {
            mistake.allowed.push_str(" in the query string; they come in the JSON body");
        }
    }
    mistakes
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
/// The body is no JSON object.
pub fn from_json<T: RawForm>(body: &[u8]) -> Result<Sent<T>, Vec<InvalidField>> {
    let Pairs(pairs) = serde_json::from_slice(body).map_err(|error| {
        let problem = if error.is_data() {
            "is not an object".to_owned()
        } else {
            format!("is not valid JSON: {error}")
        };
        vec![not_an_object(problem)]
    })?;
    let known = names_of::<T>();
    let (mut fields, mut mistakes, mut unknown) = (Map::new(), Vec::new(), Vec::new());
    for (name, value) in pairs {
        if !known.contains(&name) {
            unknown.push(name);
        } else if fields.contains_key(&name) {
            let problem = "is given more than once";
            mistakes.push(InvalidField::new(name, problem, "one value or a list"));
        } else {
            fields.insert(name, value);
        }
    }
    mistakes.extend(names::refuse(unknown.iter().map(String::as_str), &known));
    Ok(build(fields, mistakes))
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

fn build<T: RawForm>(fields: Map<String, Value>, mut mistakes: Vec<InvalidField>) -> Sent<T> {
    let form = serde_json::from_value(Value::Object(fields)).unwrap_or_else(|error| {
        mistakes.push(not_an_object(format!("cannot be read: {error}")));
        T::default()
    });
    Sent { form, mistakes }
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

    fn query(query: &str) -> Result<Form, Vec<InvalidField>> {
        from_query(query).read(Ok)
    }

    fn body(body: &[u8]) -> Result<Form, Vec<InvalidField>> {
        from_json(body)?.read(Ok)
    }

    fn fields(mistakes: &[InvalidField]) -> Vec<&str> {
        mistakes.iter().map(|mistake| mistake.field.as_str()).collect()
    }

    /// A form whose `a` is a number below ten, and has to be there.
    fn small(form: &Form) -> Result<u32, Vec<InvalidField>> {
        let mut check = Check::default();
        let number =
            check.required("a", "a number", |check| check.whole("a", form.a.as_ref(), 0..=9));
        check.found(number)
    }

    #[test]
    fn both_ways_give_the_same_form() {
        let one = query("a=x%20y&b=1&b=2").unwrap();
        let other = body(br#"{"a": "x y", "b": ["1", "2"]}"#).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn wrong_names_and_wrong_values_are_told_together() {
        for text in ["a=10&c=1", "a=1&a=2&c=1", "c=1", "c=1&a=%ff"] {
            let mistakes = from_query::<Form>(text).read(|form| small(&form)).unwrap_err();
            assert_eq!(fields(&mistakes), ["a", "c"], "{text}");
        }
        for text in [r#"{"c": 1, "a": 10}"#, r#"{"a": 1, "a": 2, "c": 1}"#, r#"{"c": 1}"#] {
            let sent = from_json::<Form>(text.as_bytes()).unwrap();
            let mistakes = sent.read(|form| small(&form)).unwrap_err();
            assert_eq!(fields(&mistakes), ["a", "c"], "{text}");
        }
        let also = [InvalidField::new("x", "", "")];
        let mistakes = from_query::<Form>("").but(also).read(|form| small(&form)).unwrap_err();
        assert_eq!(fields(&mistakes), ["a", "x"]);
    }

    #[test]
    fn a_query_names_every_field_that_is_not_utf8() {
        assert_eq!(fields(&query("a=%ff&x=%fe&b=usb%C3").unwrap_err()), ["a", "b", "x"]);
    }

    #[test]
    fn a_percent_sign_that_encodes_nothing_is_named() {
        for text in ["a=%zz", "a=100%", "a=50%+off", "a=%2", "&&a=%%31", "a=x&b=1&a=%4g"] {
            let mistakes = query(text).unwrap_err();
            assert_eq!(fields(&mistakes), ["a"], "{text}");
            assert!(mistakes[0].allowed.contains("%25"), "{text}");
        }
        assert_eq!(query("&a=100%25&&b=%C3%A9%7e").unwrap().a, Some("100%".into()));
    }

    #[test]
    fn a_query_refuses_what_the_form_does_not_have() {
        let mistakes = query("c=1&a=1&c=2").unwrap_err();
        assert_eq!((fields(&mistakes), mistakes[0].allowed.as_str()), (vec!["c", "c"], "a, b"));
        let none = |query| from_query::<NoFields>(query).read(Ok);
        assert!(none("").is_ok() && none("&").is_ok());
        assert_eq!(none("a=1").unwrap_err()[0].allowed, "no fields");
        let beside = beside_body::<Form>("a=1&&c");
        assert_eq!((fields(&beside), beside[0].allowed.contains("body")), (vec!["a", "c"], true));
    }

    #[test]
    fn a_body_names_every_field_that_comes_twice() {
        let mistakes = body(br#"{"a": 1, "b": 2, "a": 3, "a": 4, "c": 5}"#).unwrap_err();
        assert_eq!(fields(&mistakes), ["a", "a", "c"]);
    }

    #[test]
    fn a_body_names_every_unknown_field() {
        let mistakes = body(br#"{"a": 1, "c": 2, "d": 3}"#).unwrap_err();
        assert_eq!((fields(&mistakes), mistakes[0].allowed.as_str()), (vec!["c", "d"], "a, b"));
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for text in ["", "[]", "null", "{\"a\":", "\u{feff}{}", "NaN"] {
            assert_eq!(fields(&body(text.as_bytes()).unwrap_err()), ["body"], "{text}");
        }
        assert!(body(b"\xff\xfe").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(body(deep.as_bytes()).is_err());
    }

    #[test]
    fn null_and_absent_are_the_same() {
        assert_eq!(body(b"{\"a\": null}").unwrap(), Form::default());
        assert_eq!(names_of::<Form>(), ["a", "b"]);
        assert_eq!(query("").unwrap(), Form::default());
    }

    proptest! {
        #[test]
        fn any_query_and_any_bytes_are_read_without_a_panic(text in ".{0,64}", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(query(&text));
            drop(body(&bytes));
        }
    }
}
