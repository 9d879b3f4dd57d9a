//! What a fault rule says, and reading one.
//!
//! Owns: the fields of a rule. Refuses: a list with any mistake; every mistake is named with its rule,
//! its field, what was sent and what is allowed. A field that its fault does not use is checked all
//! the same and then ignored.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::methods::Method;
use super::variant;

const MOST_RULES: usize = 100;
const FAULTS: &str = "one of delay, hang, status, reset, garbage, html, truncate, slow_body, \
                      throttle, error, variant, capacity";
const TEXT: &str = "a text of 1 to 200 characters";
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

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// A method's name; `None` or `*` for any.
    pub(super) method: Option<String>,
    /// The application key of the caller; `None` for anybody's.
    pub(super) app_key: Option<String>,
    /// Share of the calls it concerns, 0 to 1.
    pub(super) share: f64,
    /// After so many faults the rule no longer matches.
    pub(super) times: Option<u64>,
    /// How many calls a second there is room for; the others fail.
    pub(super) per_second: Option<u32>,
    pub(super) fault: Fault,
}

/// What happens to a call.
#[derive(Debug, Clone)]
pub(in super::super) struct Fault {
    pub(super) kind: Kind,
    /// First nothing for so long; for a slow body the time of each byte.
    pub(super) ms: u64,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) sub_code: Option<String>,
    pub(super) seconds: u64,
    /// For the share, garbage and missing fields.
    pub(super) seed: u64,
    pub(super) variant: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The ordinary answer, late.
    Delay,
    /// No answer, for as long as the caller waits.
    Hang,
    /// Another HTTP status with a text.
    Status,
    /// The connection is cut without an answer.
    Reset,
    /// Bytes that are no JSON.
    Garbage,
    /// A page for people; with the code `moved` it says that the service is offline for ever.
    Html,
    /// Half of the announced body, then the connection ends.
    Truncate,
    /// The ordinary answer, byte by byte.
    SlowBody,
    /// The call limit, in one of its two texts.
    Throttle,
    /// A refusal with this code.
    Error,
    /// The ordinary answer in another shape, or with a business code instead of a result.
    Variant,
    /// The ordinary answer, late; what is over the capacity gets the status.
    Capacity,
}

/// Something wrong with a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in super::super) struct Mistake {
    /// Which rule, counted from 0; none when the list itself is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    field: String,
    /// What was sent, `null` if nothing.
    sent: Value,
    allowed: String,
}

impl Rule {
    /// Reads a list of rules, or says everything that is wrong with it.
    pub(super) fn read_all(list: &Value) -> Result<Vec<Self>, Vec<Mistake>> {
        let Some(list) = list.as_array().filter(|list| list.len() <= MOST_RULES) else {
            let (field, allowed) = ("body".to_owned(), "a list of at most 100 rules".to_owned());
            return Err(vec![Mistake { rule: None, field, sent: Value::Null, allowed }]);
        };
        let mut mistakes = Vec::new();
        let read = list.iter().enumerate().filter_map(|(number, sent)| {
            let mut reader =
                Reader { number, sent, fields: sent.as_object(), mistakes: Vec::new() };
            let rule = reader.rule();
            mistakes.append(&mut reader.mistakes);
            rule
        });
        let rules = read.collect();
        if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
    }
}

/// Reads the fields of one rule and collects what is wrong with them.
struct Reader<'a> {
    number: usize,
    sent: &'a Value,
    fields: Option<&'a Map<String, Value>>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn rule(&mut self) -> Option<Rule> {
        let Some(fields) = self.fields else {
            self.refuse("", "an object");
            return None;
        };
        for name in fields.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            self.refuse(name, &format!("no other fields than {}", FIELDS.join(", ")));
        }
        let seed = self.read("seed", "a whole number from 0", |_| true).unwrap_or(0);
        let is_method = |name: &String| name == "*" || Method::named(name).is_some();
        let method = self.read("method", "\"*\" or the full name of a method", is_method);
        let app_key = self.text("app_key");
        let share = self.read("share", "a number from 0 to 1", |share| (0.0..=1.0).contains(share));
        let times = self.read("times", "a whole number from 1", |times| *times > 0);
        let per_second = "a whole number from 1 to 1000000; capacity needs it";
        let per_second = self.read("per_second", per_second, |n| (1..=1_000_000).contains(n));
        let ms = "a whole number from 0 to 600000; delay and slow_body need it";
        let ms = self.read("ms", ms, |ms| *ms <= 600_000);
        let status = "a whole number from 200 to 599";
        self.need("fault", FAULTS);
        let fault = Fault {
            status: self.read("status", status, |status| (200..=599).contains(status)),
            code: self.text("code"),
            sub_code: self.text("sub_code"),
            seconds: self.read("seconds", "0 to 86400", |n| *n <= 86_400).unwrap_or(1),
            variant: self.text("variant"),
            kind: self.read("fault", FAULTS, |_| true)?,
            ms: ms.unwrap_or(0),
            seed,
        };
        self.check(&fault);
        let per_second = per_second.filter(|_| fault.kind == Kind::Capacity);
        Some(Rule { method, app_key, share: share.unwrap_or(1.0), times, per_second, fault })
    }

    /// What a fault needs beside its kind.
    fn check(&mut self, fault: &Fault) {
        let (code, name) = (fault.code.as_deref(), fault.variant.as_deref());
        match fault.kind {
            Kind::Delay | Kind::SlowBody => self.need("ms", "a whole number; this fault needs it"),
            Kind::Capacity => self.need("per_second", "a whole number; this fault needs it"),
            Kind::Error => self.need("code", TEXT),
            Kind::Throttle => {
                if !matches!(code, None | Some("ApiCallLimit" | "7")) {
                    let allowed = "\"ApiCallLimit\" or \"7\", the two text forms of the limit";
                    self.refuse("code", allowed);
                }
            }
            Kind::Variant => {
                if !name.is_some_and(variant::is_known) {
                    self.refuse("variant", &format!("one of {}", variant::names().join(", ")));
                } else if name == Some(variant::BUSINESS_CODE)
                    && code.is_some_and(|code| code.parse::<u64>().is_err())
                {
                    self.refuse("code", "a whole number, such as 401, 404, 405 or 4001");
                }
            }
            Kind::Hang | Kind::Status | Kind::Reset => {}
            Kind::Garbage | Kind::Html | Kind::Truncate => {}
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields?.get(name).filter(|value| !value.is_null())
    }

    fn read<T: DeserializeOwned>(
        &mut self,
        name: &str,
        allowed: &str,
        is_allowed: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let value = T::deserialize(self.get(name)?).ok().filter(is_allowed);
        if value.is_none() {
            self.refuse(name, allowed);
        }
        value
    }

    /// A text; a number is taken as its digits, since some codes look like numbers.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.get(name).and_then(Value::as_u64) {
            Some(number) => Some(number.to_string()),
            None => self.read(name, TEXT, |text: &String| (1..=200).contains(&text.len())),
        }
    }

    fn need(&mut self, name: &str, allowed: &str) {
        if self.get(name).is_none() {
            self.refuse(name, allowed);
        }
    }

    fn refuse(&mut self, field: &str, allowed: &str) {
        let sent =
            self.fields.map_or(self.sent, |fields| fields.get(field).unwrap_or(&Value::Null));
        self.mistakes.push(Mistake {
            rule: Some(self.number),
            field: field.to_owned(),
            sent: sent.clone(),
            allowed: allowed.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(rule: Value) -> Rule {
        Rule::read_all(&json!([rule])).unwrap().remove(0)
    }

    fn wrong(rule: Value) -> Vec<(Option<usize>, String)> {
        let found = Rule::read_all(&json!([{"fault": "hang"}, rule])).unwrap_err();
        found.into_iter().map(|mistake| (mistake.rule, mistake.field)).collect()
    }

    #[test]
    fn every_fault_is_read() {
        let names = FAULTS.trim_start_matches("one of ").split(", ");
        for kind in names.clone() {
            let rule = json!({"method": "*", "share": 0.5, "fault": kind, "ms": 5, "status": 502,
                "code": "7", "sub_code": "isp.x", "seconds": 9, "seed": 3, "variant": "no_root_key",
                "app_key": 500_001, "per_second": 40});
            assert!(Rule::read_all(&json!([rule])).is_ok(), "{kind}");
        }
        assert_eq!(names.count(), 12);
        let throttle = read(json!({"fault": "throttle", "code": 7, "seconds": 31_062})).fault;
        assert_eq!((throttle.code.as_deref(), throttle.seconds), (Some("7"), 31_062));
        let business = json!({"fault": "variant", "variant": "business_code", "code": "4001"});
        assert_eq!(read(business).fault.code.as_deref(), Some("4001"));
    }

    #[test]
    fn a_capacity_belongs_to_its_fault() {
        let rule = read(json!({"fault": "capacity", "per_second": 40, "ms": 20, "app_key": "7"}));
        assert_eq!((rule.per_second, rule.fault.status), (Some(40), None));
        assert_eq!((rule.fault.ms, rule.app_key.as_deref()), (20, Some("7")));
        let other = read(json!({"fault": "capacity", "per_second": 1, "status": 429}));
        assert_eq!((other.per_second, other.fault.status), (Some(1), Some(429)));
        assert_eq!(read(json!({"fault": "hang", "per_second": 40})).per_second, None);
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
        assert!(Rule::read_all(&json!({"fault": "hang"})).is_err());
        assert!(Rule::read_all(&Value::from(vec![json!({"fault": "hang"}); 101])).is_err());
    }
}
