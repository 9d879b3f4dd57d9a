//! Reading fault rules.
//!
//! Owns: what a rule may say. Refuses: a list with any mistake; every mistake is named with its
//! rule, its field, what was sent and what is allowed. A field that its fault does not use is
//! checked all the same and then ignored.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::methods::Method;
use super::capacity::Capacity;
use super::rule::{Fault, Rule, What};
use super::variant::Variant;

/// More rules than this at once are refused.
const MOST_RULES: usize = 100;
/// Longest delay: ten minutes.
const MOST_MS: u64 = 600_000;
/// Largest capacity, in calls a second.
const MOST_PER_SECOND: u64 = 1_000_000;

const FIELDS: [&str; 13] = [
    "method",
    "app_key",
    "share",
    "fault",
    "ms",
    "status",
    "code",
    "sub_code",
    "seconds",
    "seed",
    "variant",
    "times",
    "per_second",
];
const FAULTS: [&str; 12] = [
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
];

/// Something wrong with a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Mistake {
    /// Which rule, counted from 0; none when the list itself is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    /// Which field.
    field: String,
    /// What was sent, `null` if nothing.
    sent: Value,
    /// What is allowed.
    allowed: String,
}

/// Reads a list of rules, or says everything that is wrong with it.
pub(crate) fn read_all(list: &Value) -> Result<Vec<Rule>, Vec<Mistake>> {
    let whole = |allowed: &str| {
        let (field, allowed) = ("body".to_owned(), allowed.to_owned());
        vec![Mistake { rule: None, field, sent: Value::Null, allowed }]
    };
    let Some(list) = list.as_array() else { return Err(whole("a list of rules")) };
    if list.len() > MOST_RULES {
        return Err(whole("at most 100 rules"));
    }
    let mut mistakes = Vec::new();
    let mut rules = Vec::new();
    for (number, sent) in list.iter().enumerate() {
        match Reader::read(sent) {
            Ok(rule) => rules.push(rule),
            Err(found) => {
                let numbered = |mistake| Mistake { rule: Some(number), ..mistake };
                mistakes.extend(found.into_iter().map(numbered));
            }
        }
    }
    if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
}

/// Reads the fields of one rule and collects what is wrong with them.
struct Reader<'a> {
    fields: &'a Map<String, Value>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn read(sent: &Value) -> Result<Rule, Vec<Mistake>> {
        let Some(fields) = sent.as_object() else {
            let (field, allowed) = (String::new(), "an object".to_owned());
            return Err(vec![Mistake { rule: None, field, sent: sent.clone(), allowed }]);
        };
        let mut reader = Reader { fields, mistakes: Vec::new() };
        reader.check_names();
        let seed = reader.number("seed", 0..=u64::MAX).unwrap_or(0);
        let rule = Rule {
            method: reader.method(),
            app_key: reader.text("app_key"),
            share: reader.share(),
            seed,
            times: reader.number("times", 1..=u64::MAX),
            fault: Fault { ms: 0, what: What::Hang, seed },
            capacity: reader.capacity(),
            sent: sent.clone(),
        };
        let fault = reader.fault(seed);
        match fault {
            Some(fault) if reader.mistakes.is_empty() => Ok(Rule { fault, ..rule }),
            Some(_) | None => Err(reader.mistakes),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn mistake(&mut self, field: &str, allowed: impl Into<String>) {
        let sent = self.fields.get(field).cloned().unwrap_or_default();
        self.mistakes.push(Mistake {
            rule: None,
            field: field.to_owned(),
            sent,
            allowed: allowed.into(),
        });
    }

    fn check_names(&mut self) {
        let fields = self.fields;
        for name in fields.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            self.mistake(name, format!("no other fields than {}", FIELDS.join(", ")));
        }
    }

    fn method(&mut self) -> Option<String> {
        let name = self.text("method")?;
        if name == "*" {
            return None;
        }
        if Method::named(&name).is_none() {
            let names: Vec<&str> = Method::ALL.into_iter().map(Method::name).collect();
            self.mistake("method", format!("\"*\" or one of {}", names.join(", ")));
        }
        Some(name)
    }

    fn share(&mut self) -> f64 {
        let Some(value) = self.get("share") else { return 1.0 };
        let share = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
        share.unwrap_or_else(|| {
            self.mistake("share", "a number from 0 to 1");
            0.0
        })
    }

    fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self.get(name)?.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            let allowed = match most {
                u64::MAX => format!("a whole number from {least}"),
                _ => format!("a whole number from {least} to {most}"),
            };
            self.mistake(name, allowed);
        }
        number
    }

    /// A text; a number is taken as its digits, since some codes look like numbers.
    fn text(&mut self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        let text =
            value.as_str().map(ToOwned::to_owned).or_else(|| value.as_u64().map(|n| n.to_string()));
        let text = text.filter(|text| !text.is_empty() && text.len() <= 200);
        if text.is_none() {
            self.mistake(name, "a text of 1 to 200 characters");
        }
        text
    }

    fn fault(&mut self, seed: u64) -> Option<Fault> {
        let ms = self.number("ms", 0..=MOST_MS);
        let kind = self.text("fault").filter(|kind| FAULTS.contains(&kind.as_str()));
        let Some(kind) = kind else {
            self.mistake("fault", format!("one of {}", FAULTS.join(", ")));
            return None;
        };
        if ms.is_none() && matches!(kind.as_str(), "delay" | "slow_body") {
            self.mistake("ms", format!("a whole number from 0 to {MOST_MS}; {kind} needs it"));
        }
        let what = self.what(&kind)?;
        Some(Fault { ms: ms.unwrap_or(0), what, seed })
    }

    fn what(&mut self, kind: &str) -> Option<What> {
        let status = self.number("status", 200..=599).and_then(|status| u16::try_from(status).ok());
        let code = self.text("code");
        let sub_code = self.text("sub_code");
        let seconds = self.number("seconds", 0..=86_400).unwrap_or(1);
        let variant = self.text("variant");
        let at_root = variant.as_deref() == Some("error_at_root");
        Some(match kind {
            // Within its capacity an upstream answers, if late.
            "delay" | "capacity" => What::Delay,
            "hang" => What::Hang,
            "status" => What::Status(status.unwrap_or(503)),
            "reset" => What::Reset,
            "garbage" => What::Garbage,
            "html" => What::Html {
                status: status.unwrap_or(200),
                moved: code.as_deref() == Some("moved"),
            },
            "truncate" => What::Truncate,
            "slow_body" => What::SlowBody,
            "throttle" => What::Throttle { legacy: self.legacy(code)?, seconds, at_root },
            "error" => What::Error { code: self.needed("code", code)?, sub_code, at_root },
            _ => self.variant(variant, code)?,
        })
    }

    /// What is over it fails with the status, which `what` has checked.
    fn capacity(&mut self) -> Option<Capacity> {
        let per_second = self.number("per_second", 1..=MOST_PER_SECOND);
        if self.get("fault").and_then(Value::as_str) != Some("capacity") {
            return None;
        }
        if self.get("per_second").is_none() {
            self.mistake(
                "per_second",
                format!("a whole number from 1 to {MOST_PER_SECOND}; capacity needs it"),
            );
        }
        let status = self.get("status").and_then(Value::as_u64);
        let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(503);
        Some(Capacity { per_second: u32::try_from(per_second?).ok()?, status })
    }

    fn needed(&mut self, name: &str, value: Option<String>) -> Option<String> {
        if value.is_none() {
            self.mistake(name, "a text of 1 to 200 characters; this fault needs it");
        }
        value
    }

    fn legacy(&mut self, code: Option<String>) -> Option<bool> {
        match code.as_deref() {
            None | Some("ApiCallLimit") => Some(false),
            Some("7") => Some(true),
            Some(_) => {
                self.mistake(
                    "code",
                    "\"ApiCallLimit\" or \"7\", the two text forms of the call limit",
                );
                None
            }
        }
    }

    fn variant(&mut self, name: Option<String>, code: Option<String>) -> Option<What> {
        if name.as_deref() == Some("business_code") {
            let code = code.map_or(Ok(404), |code| code.parse());
            if code.is_err() {
                self.mistake("code", "a whole number, such as 401, 404, 405 or 4001");
            }
            return code.ok().map(What::Business);
        }
        let variant = name.as_deref().and_then(Variant::named);
        if variant.is_none() {
            self.mistake(
                "variant",
                format!("one of business_code, {}", Variant::names().join(", ")),
            );
        }
        variant.map(What::Variant)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(rule: Value) -> What {
        let read = read_all(&json!([rule])).unwrap();
        read[0].fault.what.clone()
    }

    fn wrong(rule: Value) -> Vec<(Option<usize>, String)> {
        let found = read_all(&json!([{"fault": "hang"}, rule])).unwrap_err();
        found.into_iter().map(|mistake| (mistake.rule, mistake.field)).collect()
    }

    #[test]
    fn every_fault_is_read() {
        for kind in FAULTS {
            let rule = json!({"method": "*", "share": 0.5, "fault": kind, "ms": 5, "status": 502,
                "code": "7", "sub_code": "isp.x", "seconds": 9, "seed": 3, "variant": "no_root_key",
                "app_key": 500_001, "per_second": 40});
            assert!(read_all(&json!([rule])).is_ok(), "{kind}");
        }
        let throttle = json!({"fault": "throttle", "code": 7, "seconds": 31_062});
        let expected = What::Throttle { legacy: true, seconds: 31_062, at_root: false };
        assert_eq!(fault(throttle), expected);
        assert_eq!(fault(json!({"fault": "status"})), What::Status(503));
        let business = json!({"fault": "variant", "variant": "business_code", "code": "4001"});
        assert_eq!(fault(business), What::Business(4001));
    }

    #[test]
    fn a_capacity_belongs_to_its_fault() {
        let read = |rule: Value| read_all(&json!([rule])).unwrap().remove(0);
        let rule = read(json!({"fault": "capacity", "per_second": 40, "ms": 20, "app_key": "7"}));
        assert_eq!(rule.capacity, Some(Capacity { per_second: 40, status: 503 }));
        assert_eq!((rule.fault.ms, rule.app_key.as_deref()), (20, Some("7")));
        let other = read(json!({"fault": "capacity", "per_second": 1, "status": 429}));
        assert_eq!(other.capacity, Some(Capacity { per_second: 1, status: 429 }));
        assert_eq!(read(json!({"fault": "hang", "per_second": 40})).capacity, None);
    }

    #[test]
    fn every_mistake_names_its_rule_and_field() {
        let cases = [
            (json!({}), "fault"),
            (json!({"fault": "explode"}), "fault"),
            (json!({"fault": "delay"}), "ms"),
            (json!({"fault": "error"}), "code"),
            (json!({"fault": "throttle", "code": "8"}), "code"),
            (json!({"fault": "variant"}), "variant"),
            (json!({"fault": "hang", "metod": "*"}), "metod"),
            (json!({"fault": "hang", "method": "search"}), "method"),
            (json!({"fault": "hang", "share": 1.5}), "share"),
            (json!({"fault": "hang", "share": -0.1}), "share"),
            (json!({"fault": "hang", "share": "half"}), "share"),
            (json!({"fault": "hang", "times": 0}), "times"),
            (json!({"fault": "hang", "app_key": ""}), "app_key"),
            (json!({"fault": "hang", "per_second": 0}), "per_second"),
            (json!({"fault": "capacity"}), "per_second"),
            (json!({"fault": "capacity", "per_second": 0.5}), "per_second"),
            (json!({"fault": "capacity", "per_second": 1, "status": 99}), "status"),
            (json!("hang"), ""),
        ];
        for (rule, field) in cases {
            assert_eq!(wrong(rule), [(Some(1), field.to_owned())]);
        }
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let three = json!({"fault": "status", "status": 99, "ms": -1, "seed": "x"});
        let fields: Vec<String> = wrong(three).into_iter().map(|(_, field)| field).collect();
        assert_eq!(fields, ["seed", "ms", "status"]);
    }

    #[test]
    fn the_list_itself_may_be_wrong() {
        assert!(read_all(&json!({"fault": "hang"})).is_err());
        assert!(read_all(&Value::from(vec![json!({"fault": "hang"}); 101])).is_err());
    }
}
