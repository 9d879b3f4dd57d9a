//! Walking over an answer.
//!
//! Owns: where in an answer the lists, the records and the scalars are. What is changed there is
//! the caller's. Has no neighbour.

use serde_json::{Map, Value};

/// Names of the lists that stand alone in an object of their own.
pub(crate) const LIST_KEYS: [&str; 6] =
    ["product", "string", "promotion_link", "category", "order", "promo"];

/// Changes `resp_result`, if there is one under a root key.
pub(crate) fn with_resp_result(answer: &mut Value, change: impl FnOnce(&mut Map<String, Value>)) {
    let root = answer.as_object_mut().and_then(|outer| outer.values_mut().next());
    let resp = root.and_then(|root| root.get_mut("resp_result")).and_then(Value::as_object_mut);
    if let Some(resp) = resp {
        change(resp);
    }
}

/// Leaves only what is under the root key.
pub(crate) fn strip_root(answer: &mut Value) {
    let root = answer.as_object_mut().and_then(|outer| outer.values_mut().next());
    if let Some(root) = root.filter(|root| root.get("resp_result").is_some()) {
        *answer = root.take();
    }
}

/// Replaces every object that holds nothing but a list of one of these names by the list.
pub(crate) fn flatten(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(|inner| flatten(inner, names));
            let alone = fields.len() == 1;
            let list = fields
                .iter_mut()
                .find(|(name, inner)| alone && names.contains(&name.as_str()) && inner.is_array());
            if let Some((_, list)) = list {
                *value = list.take();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| flatten(inner, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Offers every list of records, under its name, for replacement.
pub(crate) fn each_list(value: &mut Value, change: &mut impl FnMut(&Vec<Value>) -> Option<Value>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                each_list(inner, change);
                let list = inner
                    .as_array()
                    .filter(|_| name != "string" && LIST_KEYS.contains(&name.as_str()));
                if let Some(changed) = list.and_then(&mut *change) {
                    *inner = changed;
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| each_list(inner, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Changes every record: the objects that stand in a list.
pub(crate) fn each_record(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|inner| each_record(inner, change)),
        Value::Array(list) => {
            list.iter_mut().filter_map(Value::as_object_mut).for_each(&mut *change);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Changes everything that is neither list nor object.
pub(crate) fn each_scalar(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|inner| each_scalar(inner, change)),
        Value::Array(list) => list.iter_mut().for_each(|inner| each_scalar(inner, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => change(value),
    }
}

/// `7` becomes `"7"`.
pub(crate) fn number_to_text(value: &mut Value) {
    if value.is_number() {
        *value = value.to_string().into();
    }
}

/// `"7"` becomes `7`.
pub(crate) fn text_to_number(value: &mut Value) {
    let number =
        value.as_str().and_then(|text| serde_json::from_str::<serde_json::Number>(text).ok());
    if let Some(number) = number {
        *value = Value::Number(number);
    }
}
