//! What a fault rule says, and reading one.
//!
//! Owns: the fields of a rule. Refuses: a list with any mistake, naming the rule and what is allowed. A
//! field that its fault does not use is checked all the same and then ignored.

use std::num::{NonZeroU32, NonZeroU64};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::methods::Method;
use super::variant;

const MOST_RULES: usize = 100;

/// One rule: which calls it concerns, and what happens to them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Rule {
    /// A method's name; `None` or `*` for any.
    pub(super) method: Option<String>,
    /// The application key of the caller; `None` for anybody's.
    #[serde(default, deserialize_with = "text")]
    pub(super) app_key: Option<String>,
    /// Share of the calls it concerns, 0 to 1.
    #[serde(default = "all")]
    pub(super) share: f64,
    /// After so many faults the rule no longer matches.
    pub(super) times: Option<NonZeroU64>,
    /// How many calls a second a capacity has room for; the others fail.
    pub(super) per_second: Option<NonZeroU32>,
    pub(super) fault: Kind,
    /// First nothing for so long; for a slow body the time of each byte.
    pub(super) ms: Option<u64>,
    pub(super) status: Option<u16>,
    #[serde(default, deserialize_with = "text")]
    pub(super) code: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) sub_code: Option<String>,
    pub(super) seconds: Option<u64>,
    /// For the share, garbage and missing fields.
    #[serde(default)]
    pub(super) seed: u64,
    pub(super) variant: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The ordinary answer, late.
    Delay,
    Hang,
    Status,
    /// The connection is cut without an answer.
    Reset,
    Garbage,
    /// A page for people; with the code `moved` it says that the service is offline for ever.
    Html,
    /// Half of the announced body, then the connection ends.
    Truncate,
    /// The ordinary answer, byte by byte.
    SlowBody,
    /// The call limit, in one of its two texts.
    Throttle,
    Error,
    /// The ordinary answer in another shape, or with a business code instead of a result.
    Variant,
    /// The ordinary answer, late; what is over the capacity gets the status.
    Capacity,
}

const fn all() -> f64 {
    1.0
}

/// A text; a number is taken as its digits, since some codes look like numbers.
fn text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(value)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(D::Error::custom("not a text")),
    }
}

impl Rule {
    /// Reads a list of rules, or says what is wrong with each.
    pub(super) fn read_all(list: &Value) -> Result<Vec<Self>, Vec<String>> {
        let Some(list) = list.as_array().filter(|list| list.len() <= MOST_RULES) else {
            return Err(vec!["expected a list of at most 100 rules".to_owned()]);
        };
        let (mut rules, mut mistakes) = (Vec::new(), Vec::new());
        for (number, sent) in list.iter().enumerate() {
            match Self::deserialize(sent) {
                Ok(rule) => {
                    let wrong = rule.mistakes().map(|allowed| format!("rule {number}: {allowed}"));
                    mistakes.extend(wrong);
                    rules.push(rule);
                }
                Err(error) => mistakes.push(format!("rule {number}: {error}")),
            }
        }
        if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
    }

    /// What is allowed where the rule says something else.
    fn mistakes(&self) -> impl Iterator<Item = &'static str> {
        let is_method = |name: &str| name == "*" || Method::named(name).is_some();
        let (kind, code) = (self.fault, self.code.as_deref());
        let has_time = self.ms.is_some() || !matches!(kind, Kind::Delay | Kind::SlowBody);
        let has_room = self.per_second.is_some() || kind != Kind::Capacity;
        let is_limit = kind != Kind::Throttle || matches!(code, None | Some("ApiCallLimit" | "7"));
        let is_number = self.variant.as_deref() != Some(variant::BUSINESS_CODE)
            || code.is_none_or(|code| code.parse::<u64>().is_ok());
        let is_variant = self.variant.as_deref().is_some_and(variant::is_known);
        [
            (self.method.as_deref().is_none_or(is_method), "method is * or the full name of one"),
            ((0.0..=1.0).contains(&self.share), "share is a number from 0 to 1"),
            (self.ms.is_none_or(|ms| ms <= 600_000), "ms is at most 600000"),
            (has_time, "ms is needed by this fault"),
            (has_room, "per_second is needed by this fault"),
            (self.status.is_none_or(|s| (200..=599).contains(&s)), "status is from 200 to 599"),
            (code.is_some() || kind != Kind::Error, "code is needed by this fault"),
            (is_limit, "code is ApiCallLimit or 7, the two text forms of the limit"),
            (is_variant || kind != Kind::Variant, "variant is the name of one"),
            (is_number, "code is a whole number, such as 401, 404, 405 or 4001"),
        ]
        .into_iter()
        .filter_map(|(fits, allowed)| (!fits).then_some(allowed))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(rule: Value) -> Rule {
        Rule::read_all(&json!([rule])).unwrap().remove(0)
    }

    #[test]
    fn every_fault_is_read() {
        for kind in [
            "delay",
            "hang",
            "status",
            "reset",
            "garbage",
            "html",
            "truncate",
            "slow_body",
            "throttle",
            "error",
            "variant",
            "capacity",
        ] {
            let rule = json!({"method": "*", "share": 0.5, "fault": kind, "ms": 5, "status": 502,
                "code": "7", "sub_code": "isp.x", "seconds": 9, "seed": 3, "variant": "no_root_key",
                "app_key": 500_001, "per_second": 40});
            assert_eq!(read(rule).app_key.as_deref(), Some("500001"), "{kind}");
        }
        let throttle = read(json!({"fault": "throttle", "code": 7, "seconds": 31_062}));
        assert_eq!((throttle.code.as_deref(), throttle.seconds), (Some("7"), Some(31_062)));
        let business = json!({"fault": "variant", "variant": "business_code", "code": "4001"});
        assert_eq!(read(business).code.as_deref(), Some("4001"));
    }

    #[test]
    fn every_mistake_names_its_rule_and_field() {
        let cases = [
            (json!({}), "fault"),
            (json!({"fault": "explode"}), "explode"),
            (json!({"fault": "delay"}), "ms"),
            (json!({"fault": "error"}), "code"),
            (json!({"fault": "throttle", "code": "8"}), "code"),
            (json!({"fault": "variant"}), "variant"),
            (json!({"fault": "variant", "variant": "business_code", "code": "x"}), "code"),
            (json!({"fault": "hang", "metod": "*"}), "metod"),
            (json!({"fault": "hang", "method": "search"}), "method"),
            (json!({"fault": "hang", "share": 1.5}), "share"),
            (json!({"fault": "hang", "share": -0.1}), "share"),
            (json!({"fault": "hang", "share": "half"}), "half"),
            (json!({"fault": "hang", "times": 0}), "nonzero"),
            (json!({"fault": "hang", "app_key": []}), "text"),
            (json!({"fault": "hang", "per_second": 0}), "nonzero"),
            (json!({"fault": "capacity"}), "per_second"),
            (json!({"fault": "capacity", "per_second": 1, "status": 99}), "status"),
            (json!("hang"), "hang"),
        ];
        for (rule, word) in cases {
            let found = Rule::read_all(&json!([{"fault": "hang"}, rule])).unwrap_err();
            assert!(found[0].starts_with("rule 1: ") && found[0].contains(word), "{found:?}");
            assert_eq!(found.len(), 1, "{found:?}");
        }
        let two = json!([{"fault": "status", "status": 99, "share": 2}, {"fault": "delay"}]);
        assert_eq!(Rule::read_all(&two).unwrap_err().len(), 3, "all at once");
    }

    #[test]
    fn the_list_itself_may_be_wrong() {
        assert!(Rule::read_all(&json!({"fault": "hang"})).is_err());
        assert!(Rule::read_all(&Value::from(vec![json!({"fault": "hang"}); 101])).is_err());
    }
}
