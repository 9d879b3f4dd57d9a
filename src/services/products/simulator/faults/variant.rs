//! The shapes an answer may take beside its usual one.
//!
//! Owns: one transformation for each variant that a tolerant reader must accept. It works on a
//! finished answer, so that every method has every variant. Refuses: nothing; an answer without
//! the part concerned stays as it is.

use serde_json::{Map, Number, Value};

/// Not in the table: it replaces the answer instead of changing its shape.
pub(super) const BUSINESS_CODE: &str = "business_code";

/// Names of the lists that stand alone in an object of their own.
const LISTS: [&str; 5] = ["product", "string", "promotion_link", "category", "order"];

/// Changes an answer; the seed decides which fields go missing.
type Change = fn(&mut Value, u64);

const VARIANTS: [(&str, Change); 16] = [
    ("resp_code_string", |answer, _| {
        with_resp_result(answer, |resp| {
            resp.entry("resp_code").and_modify(|code| *code = code.to_string().into());
        });
    }),
    ("code_beside_root", |answer, _| {
        if let Some(root) = answer.as_object_mut() {
            root.insert("code".to_owned(), "0".into());
        }
    }),
    // Bare `resp_result`.
    ("no_root_key", |answer, _| {
        let root = answer.as_object_mut().and_then(|outer| outer.values_mut().next());
        if let Some(root) = root.filter(|root| root.get("resp_result").is_some()) {
            *answer = root.take();
        }
    }),
    // Every list directly under its plural.
    ("bare_lists", |answer, _| flatten(answer, &LISTS)),
    ("bare_image_list", |answer, _| flatten(answer, &["string"])),
    // One object in place of a list of one.
    ("single_object", |answer, _| {
        each_list(
            answer,
            |list| if let [one] = list.as_slice() { one.clone() } else { list.into() },
        );
    }),
    ("numbers_as_strings", |answer, _| {
        each(answer, &mut |_, value| {
            if value.is_number() {
                *value = value.to_string().into();
            }
        });
    }),
    ("strings_as_numbers", |answer, _| {
        each(answer, &mut |_, value| {
            let number = value.as_str().and_then(|text| serde_json::from_str::<Number>(text).ok());
            if let Some(number) = number {
                *value = number.into();
            }
        });
    }),
    // Only the price in yuan.
    ("no_target_sale_price", |answer, _| {
        each_record(answer, |record| {
            record.remove("target_sale_price");
            record.remove("target_sale_price_currency");
        });
    }),
    // About a quarter of the fields of every record, ids included.
    ("missing_fields", |answer, seed| {
        let mut chance = fastrand::Rng::with_seed(seed);
        each_record(answer, |record| record.retain(|_, _| chance.u8(..4) > 0));
    }),
    ("no_promotion_link", |answer, _| {
        each_record(answer, |record| {
            record.remove("promotion_link");
        });
    }),
    // With `resp_code` 200, as a wrong tracking id gives.
    ("empty_list", |answer, _| each_list(answer, |_| Value::Array(Vec::new()))),
    ("no_result", |answer, _| {
        with_resp_result(answer, |resp| {
            resp.remove("result");
        });
    }),
    ("null_result", |answer, _| {
        with_resp_result(answer, |resp| {
            resp.insert("result".to_owned(), Value::Null);
        });
    }),
    // Beyond 32 bits.
    ("huge_total", |answer, _| {
        each(answer, &mut |name, value| {
            if name == Some("total_record_count") {
                *value = 4_294_967_296_123_u64.into();
            }
        });
    }),
    ("repeated_records", |answer, _| {
        each_list(answer, |list| list.into_iter().flat_map(|one| [one.clone(), one]).collect());
    }),
];

pub(super) fn is_known(name: &str) -> bool {
    named(name).is_some() || name == BUSINESS_CODE
}

fn named(name: &str) -> Option<Change> {
    VARIANTS.into_iter().find(|(known, _)| *known == name).map(|(_, change)| change)
}

pub(super) fn reshape(answer: &mut Value, name: &str, seed: u64) {
    if let Some(change) = named(name) {
        change(answer, seed);
    }
}

/// Replaces every object that holds nothing but a list of one of these names by the list:
/// `{"products": {"product": []}}` becomes `{"products": []}`.
fn flatten(answer: &mut Value, names: &[&str]) {
    each(answer, &mut |_, value| {
        let fields = value.as_object_mut().filter(|fields| fields.len() == 1);
        let list = fields.and_then(|fields| fields.iter_mut().next());
        let list = list.filter(|(name, list)| names.contains(&name.as_str()) && list.is_array());
        if let Some((_, list)) = list {
            *value = list.take();
        }
    });
}

/// Changes `resp_result`, if there is one under a root key.
fn with_resp_result(answer: &mut Value, change: impl FnOnce(&mut Map<String, Value>)) {
    let root = answer.as_object_mut().and_then(|outer| outer.values_mut().next());
    let resp = root.and_then(|root| root.get_mut("resp_result")).and_then(Value::as_object_mut);
    if let Some(resp) = resp {
        change(resp);
    }
}

fn each_list(answer: &mut Value, mut change: impl FnMut(Vec<Value>) -> Value) {
    each(answer, &mut |name, value| {
        let is_records = name.is_some_and(|name| name != "string" && LISTS.contains(&name));
        if let Some(list) = value.as_array_mut().filter(|_| is_records) {
            *value = change(std::mem::take(list));
        }
    });
}

/// Changes every record: the objects that stand in a list.
fn each_record(answer: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    each(answer, &mut |name, value| {
        if let (None, Some(record)) = (name, value.as_object_mut()) {
            change(record);
        }
    });
}

/// Visits every value below, inner ones first, with the name of its field; items of a list have none.
fn each(value: &mut Value, visit: &mut impl FnMut(Option<&str>, &mut Value)) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                each(inner, visit);
                visit(Some(name), inner);
            }
        }
        Value::Array(list) => {
            for inner in list {
                each(inner, visit);
                visit(None, inner);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({"x_response": {"resp_result": {"resp_code": 200, "result": {
            "total_record_count": 1, "products": {"product": [{
                "product_id": 9_300_000_000_000_001_u64, "target_sale_price": "4.69", "promotion_link": "l",
                "target_sale_price_currency": "USD", "sale_price": "31.30",
                "product_small_image_urls": {"string": ["a"]}}]}}}, "request_id": "r"}})
    }

    fn reshaped(name: &str) -> Value {
        let mut answer = answer();
        reshape(&mut answer, name, 1);
        answer
    }

    fn result(answer: &Value) -> &Value {
        &answer["x_response"]["resp_result"]["result"]
    }

    #[test]
    fn every_name_changes_the_answer() {
        for (name, _) in VARIANTS {
            assert_ne!(reshaped(name), answer(), "{name}");
        }
        assert!(is_known(BUSINESS_CODE) && !is_known("nonsense"));
    }

    #[test]
    fn envelopes() {
        assert_eq!(reshaped("resp_code_string")["x_response"]["resp_result"]["resp_code"], "200");
        assert_eq!(reshaped("code_beside_root")["code"], "0");
        assert_eq!(reshaped("no_root_key")["resp_result"]["resp_code"], 200);
        assert!(reshaped("no_result")["x_response"]["resp_result"].get("result").is_none());
        assert_eq!(result(&reshaped("huge_total"))["total_record_count"], 4_294_967_296_123_u64);
    }

    #[test]
    fn lists() {
        let bare = reshaped("bare_lists");
        assert_eq!(result(&bare)["products"][0]["product_small_image_urls"], json!(["a"]));
        let images = reshaped("bare_image_list");
        assert_eq!(
            result(&images)["products"]["product"][0]["product_small_image_urls"],
            json!(["a"])
        );
        assert!(result(&reshaped("single_object"))["products"]["product"].is_object());
        assert_eq!(result(&reshaped("empty_list"))["products"]["product"], json!([]));
        let twice = reshaped("repeated_records");
        assert_eq!(result(&twice)["products"]["product"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn scalars_keep_their_digits() {
        let texts = reshaped("numbers_as_strings");
        assert_eq!(result(&texts)["products"]["product"][0]["product_id"], "9300000000000001");
        let numbers = reshaped("strings_as_numbers");
        assert_eq!(result(&numbers)["products"]["product"][0]["target_sale_price"], 4.69);
    }

    #[test]
    fn a_refusal_survives_every_variant() {
        for (name, _) in VARIANTS {
            let mut refusal = json!({"error_response": {"code": "InvalidAppKey"}});
            reshape(&mut refusal, name, 1);
            assert_eq!(refusal["error_response"]["code"], "InvalidAppKey", "{name}");
        }
    }
}
