//! Reading one field of a loosely typed object.
//!
//! Owns: which spellings of a text, a number, an id and a list are the same. Answers `None` or an
//! empty list for anything else.

use rust_decimal::Decimal;
use serde_json::{Number, Value};

use super::character_references;
use crate::http::forms::fold_white_space;
pub use crate::http::forms::{decimal, digits_of};

/// Floats at or above 2^53 are not exact any more.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A text that is not blank; numbers as they are written.
pub fn text(object: &Value, name: &str) -> Option<String> {
    text_of(object.get(name)?)
}

/// The same of a value.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a person reads: character references decoded once, white space folded.
pub fn prose(text: &str) -> String {
    fold_white_space(&character_references::decoded(text))
}

/// A whole number that is not negative, written as a number or as digits.
pub fn count(object: &Value, name: &str) -> Option<u64> {
    whole(object.get(name)?)
}

/// An id: a whole number above 0. AliExpress writes 0 where there is none.
pub fn id(object: &Value, name: &str) -> Option<u64> {
    count(object, name).filter(|id| *id > 0)
}

/// A whole number that is not negative, if `value` is one in any spelling.
pub fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => whole_number(number),
        Value::String(digits) => digits_of(digits.trim()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn whole_number(number: &Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let float = number.as_f64()?;
        let exact = float.fract() == 0.0 && (0.0..EXACT_FLOAT).contains(&float);
        if exact { digits_of(&format!("{float:.0}")) } else { None }
    })
}

/// A rate such as `"96.5%"` as the number before the sign, which may be missing.
pub fn percent(text: &str) -> Option<Decimal> {
    let text = text.trim();
    decimal(text.strip_suffix('%').unwrap_or(text))
}

/// The items of a list: under `outer.inner`, directly under `outer` or `inner`, or one item in
/// place of a list of one. Nulls are left out.
pub fn list<'a>(object: &'a Value, outer: &str, inner: &str) -> Vec<&'a Value> {
    let Some(found) = object.get(outer).or_else(|| object.get(inner)) else {
        return items(object.as_array().map_or(&Value::Null, |_| object));
    };
    items(below(found, inner).unwrap_or(found))
}

/// What lies under `inner`, unless that is a mere field of the one item that `found` is: a link
/// has a field of the same name as the list of links.
fn below<'a>(found: &'a Value, inner: &str) -> Option<&'a Value> {
    let fields = found.as_object()?;
    let field_of_item = fields.len() > 1 && fields.get(inner)?.is_string();
    if field_of_item { None } else { fields.get(inner) }
}

fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).collect(),
        Value::Object(fields) if !fields.is_empty() => vec![value],
        Value::String(_) => vec![value],
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// The texts of a list in any of the forms of [`list`]; blanks are left out.
pub fn texts(object: &Value, outer: &str, inner: &str) -> Vec<String> {
    list(object, outer, inner)
        .into_iter()
        .filter_map(Value::as_str)
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_texts_are_interchangeable() {
        let object = json!({"a": "2000", "b": 2000, "c": 2000.0, "d": " 7 ", "e": 4.69, "f": true});
        for name in ["a", "b", "c"] {
            assert_eq!(count(&object, name), Some(2000), "{name}");
        }
        assert_eq!(count(&object, "d"), Some(7));
        assert_eq!(count(&object, "e"), None);
        assert_eq!(text(&object, "e").as_deref(), Some("4.69"));
        assert_eq!(text(&object, "f"), None);
        assert_eq!(text(&object, "missing"), None);
    }

    #[test]
    fn ids_are_exact_or_absent() {
        let object = json!({"big": 18_446_744_073_709_551_615_u64, "same": "18446744073709551615",
            "beyond": "18446744073709551616", "float": 1.2e16, "zero": 0, "negative": -5, "hex": "0x1F"});
        assert_eq!(id(&object, "big"), Some(u64::MAX));
        assert_eq!(id(&object, "same"), Some(u64::MAX));
        for name in ["beyond", "float", "zero", "negative", "hex"] {
            assert_eq!(id(&object, name), None, "{name}");
        }
    }

    #[test]
    fn rates_lose_their_sign() {
        assert_eq!(percent("96.5%"), Some(Decimal::new(965, 1)));
        assert_eq!(percent(" 7 "), Some(Decimal::from(7)));
        assert_eq!(percent("seven%"), None);
        assert_eq!(decimal("1e2"), Some(Decimal::from(100)));
        let absurd = ["NaN", "1e4294967296", "1e999", "-e", "1e", "", ".", "1e-4294967297", "0x1"];
        for text in absurd {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn every_form_of_a_list_reads_the_same() {
        for form in [
            json!({"products": {"product": [{"n": 1}]}}),
            json!({"products": {"product": {"n": 1}}}),
            json!({"products": [{"n": 1}]}),
            json!({"products": {"n": 1}}),
            json!({"product": [{"n": 1}, null]}),
            json!([{"n": 1}]),
        ] {
            assert_eq!(list(&form, "products", "product"), [&json!({"n": 1})], "{form}");
        }
        for none in [
            json!({}),
            json!(null),
            json!({"products": {}}),
            json!({"products": {"product": null}}),
            json!(3),
        ] {
            assert!(list(&none, "products", "product").is_empty(), "{none}");
        }
    }

    #[test]
    fn a_field_named_like_the_list_is_no_list() {
        let one = json!({"links": {"source": "a", "link": "b"}});
        assert_eq!(list(&one, "links", "link"), [&one["links"]]);
    }

    #[test]
    fn both_forms_of_a_gallery_read_the_same() {
        for form in [json!({"g": {"string": ["a", " ", "b"]}}), json!({"g": ["a", "b", 3]})] {
            assert_eq!(texts(&form, "g", "string"), ["a", "b"], "{form}");
        }
        assert_eq!(texts(&json!({"g": {"string": "a"}}), "g", "string"), ["a"]);
    }
}
