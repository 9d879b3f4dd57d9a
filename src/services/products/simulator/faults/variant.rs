//! The shapes an answer may take beside its usual one.
//!
//! Owns: one transformation for each variant that a tolerant reader must accept. It works on a
//! finished answer, so that every method has every variant. Refuses: nothing; an answer without
//! the part concerned stays as it is.

use serde_json::Value;

use super::walk::{
    LIST_KEYS, each_list, each_record, each_scalar, flatten, number_to_text, strip_root,
    text_to_number, with_resp_result,
};

/// A shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// `resp_code` as a text.
    RespCodeString,
    /// `"code": "0"` beside the root key.
    CodeBesideRoot,
    /// The root key missing: bare `resp_result`.
    NoRootKey,
    /// Every list directly under its plural.
    BareLists,
    /// Only the list of small images directly under its name.
    BareImageList,
    /// One object in place of a list of one.
    SingleObject,
    /// All numbers as texts.
    NumbersAsStrings,
    /// All texts that are numbers as numbers.
    StringsAsNumbers,
    /// No `target_sale_price`: only the one in yuan.
    NoTargetSalePrice,
    /// About a quarter of the fields of every record missing, ids included.
    MissingFields,
    /// Links without `promotion_link`.
    NoPromotionLink,
    /// An empty list with `resp_code` 200, as a wrong tracking id gives.
    EmptyList,
    /// `resp_code` 200 without `result`.
    NoResult,
    /// `result` is `null`.
    NullResult,
    /// A `total_record_count` beyond 32 bits.
    HugeTotal,
    /// Every record twice.
    RepeatedRecords,
}

const NAMES: [(&str, Variant); 16] = [
    ("resp_code_string", Variant::RespCodeString),
    ("code_beside_root", Variant::CodeBesideRoot),
    ("no_root_key", Variant::NoRootKey),
    ("bare_lists", Variant::BareLists),
    ("bare_image_list", Variant::BareImageList),
    ("single_object", Variant::SingleObject),
    ("numbers_as_strings", Variant::NumbersAsStrings),
    ("strings_as_numbers", Variant::StringsAsNumbers),
    ("no_target_sale_price", Variant::NoTargetSalePrice),
    ("missing_fields", Variant::MissingFields),
    ("no_promotion_link", Variant::NoPromotionLink),
    ("empty_list", Variant::EmptyList),
    ("no_result", Variant::NoResult),
    ("null_result", Variant::NullResult),
    ("huge_total", Variant::HugeTotal),
    ("repeated_records", Variant::RepeatedRecords),
];

impl Variant {
    /// The variant of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, variant)| variant)
    }

    /// All names.
    pub(crate) fn names() -> Vec<&'static str> {
        NAMES.iter().map(|(name, _)| *name).collect()
    }

    /// An answer's body in this shape; `seed` decides which fields go missing.
    pub(crate) fn reshape(self, body: Vec<u8>, seed: u64) -> Vec<u8> {
        let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else { return body };
        self.change(&mut answer, seed);
        answer.to_string().into_bytes()
    }

    fn change(self, answer: &mut Value, seed: u64) {
        match self {
            Self::RespCodeString => with_resp_result(answer, |resp| {
                resp.entry("resp_code").and_modify(|code| *code = code.to_string().into());
            }),
            Self::CodeBesideRoot => {
                if let Some(root) = answer.as_object_mut() {
                    root.insert("code".to_owned(), "0".into());
                }
            }
            Self::NoRootKey => strip_root(answer),
            Self::BareLists => flatten(answer, &LIST_KEYS),
            Self::BareImageList => flatten(answer, &["string"]),
            Self::SingleObject => each_list(answer, &mut |list| match list.as_slice() {
                [one] => Some(one.clone()),
                _ => None,
            }),
            Self::NumbersAsStrings => each_scalar(answer, &mut number_to_text),
            Self::StringsAsNumbers => each_scalar(answer, &mut text_to_number),
            Self::NoTargetSalePrice => each_record(answer, &mut |record| {
                record.remove("target_sale_price");
                record.remove("target_sale_price_currency");
            }),
            Self::MissingFields => {
                let mut chance = fastrand::Rng::with_seed(seed);
                each_record(answer, &mut |record| record.retain(|_, _| chance.u8(..4) > 0));
            }
            Self::NoPromotionLink => each_record(answer, &mut |record| {
                record.remove("promotion_link");
            }),
            Self::EmptyList => each_list(answer, &mut |_| Some(Value::Array(Vec::new()))),
            Self::NoResult => with_resp_result(answer, |resp| {
                resp.remove("result");
            }),
            Self::NullResult => with_resp_result(answer, |resp| {
                resp.insert("result".to_owned(), Value::Null);
            }),
            Self::HugeTotal => with_resp_result(answer, |resp| {
                let result = resp.get_mut("result").and_then(Value::as_object_mut);
                if let Some(total) = result.and_then(|result| result.get_mut("total_record_count"))
                {
                    *total = 4_294_967_296_123_u64.into();
                }
            }),
            Self::RepeatedRecords => each_list(answer, &mut |list| {
                Some(list.iter().flat_map(|record| [record.clone(), record.clone()]).collect())
            }),
        }
    }
}

/// What `simplify` asks for, too: `{"products": {"product": []}}` becomes `{"products": []}`.
pub(crate) fn flatten_lists(body: Vec<u8>) -> Vec<u8> {
    Variant::BareLists.reshape(body, 0)
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
        let body = answer().to_string().into_bytes();
        let variant = Variant::named(name).expect(name);
        serde_json::from_slice(&variant.reshape(body, 1)).unwrap()
    }

    fn result(answer: &Value) -> &Value {
        &answer["x_response"]["resp_result"]["result"]
    }

    #[test]
    fn every_name_changes_the_answer() {
        for name in Variant::names() {
            assert_ne!(reshaped(name), answer(), "{name}");
        }
        assert_eq!(Variant::named("nonsense"), None);
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
        for name in Variant::names() {
            let refusal = json!({"error_response": {"code": "InvalidAppKey"}});
            let variant = Variant::named(name).unwrap();
            let body = variant.reshape(refusal.to_string().into_bytes(), 1);
            let read: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(read["error_response"]["code"], "InvalidAppKey", "{name}");
        }
        assert_eq!(Variant::BareLists.reshape(b"no json".to_vec(), 0), b"no json");
    }
}
