//! Requests made up from the OpenAPI document: every operation, every field, in every wrong way.
//!
//! Owns: a seeded generator; the same seed gives the same requests. A field is valid, at the edge of
//! what is allowed, of another type, missing, doubled or unknown; the method or the type of the body
//! may be wrong, too. Refuses: what would move the breakers or strike an actor; those answer 503 on
//! purpose.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::{NAUGHTY, as_header, encoded};

/// One operation of the document.
#[derive(Debug, Clone)]
struct Operation {
    method: String,
    path: String,
    in_path: Vec<Field>,
    in_query: Vec<Field>,
    in_body: Vec<Field>,
    takes_body: bool,
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    schema: Value,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Verb.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Beside `Host` and the body's length.
    pub(crate) headers: Vec<(String, String)>,
    /// Empty for none.
    pub(crate) body: Vec<u8>,
    /// The only fields that are not as they should be; a 400 must name one of them. Nothing when the
    /// request is wrong in another way.
    pub(crate) suspects: Vec<String>,
}

/// Makes up requests.
pub(crate) struct Generator {
    random: Rng,
    operations: Vec<Operation>,
}

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
const KINDS: [&str; 8] = [
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/vnd.api+json",
    "",
    ";;;",
];
const HEADERS: [&str; 18] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "cookie",
    "content-encoding",
    "forwarded",
    "if-modified-since",
    "if-none-match",
    "origin",
    "range",
    "traceparent",
    "user-agent",
    "x-forwarded-for",
    "x-internal-key",
    "x-admin-key",
    "x-request-id",
];

impl Generator {
    /// For this document.
    pub(crate) fn new(document: &Value, seed: u64) -> Self {
        let paths = document["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods.iter().map(move |(method, told)| read(document, path, method, told))
        });
        let harmless = |operation: &Operation| {
            !operation.path.contains("/chaos/") && !operation.path.contains("/breakers/{")
        };
        Self { random: Rng::with_seed(seed), operations: operations.filter(harmless).collect() }
    }

    /// The next one.
    pub(crate) fn case(&mut self) -> Case {
        let operation = self.operations[self.random.usize(..self.operations.len())].clone();
        let mut suspects = Vec::new();
        let (mut method, mut exotic) = (operation.method.clone(), false);
        if self.random.u8(..10) == 0 {
            method = METHODS[self.random.usize(..METHODS.len())].to_owned();
            exotic = true;
        }
        let target = self.target(&operation, &mut suspects);
        let mut headers = Vec::new();
        let mut body = Vec::new();
        if operation.takes_body || self.random.u8(..30) == 0 {
            let kind = if self.random.u8(..8) == 0 { self.random.usize(..KINDS.len()) } else { 0 };
            headers.push(("content-type".to_owned(), KINDS[kind].to_owned()));
            exotic |= kind != 0;
            body = self.body(&operation, &mut suspects, &mut exotic);
            // What takes none may name the body before any field.
            if !operation.takes_body && !suspects.is_empty() {
                suspects.push("body: ".to_owned());
            }
        }
        while self.random.u8(..4) == 0 {
            let name = HEADERS[self.random.usize(..HEADERS.len())];
            headers.push((name.to_owned(), as_header(self.naughty())));
            exotic = true;
        }
        if exotic {
            suspects.clear();
        }
        Case { method, target, headers, body, suspects }
    }

    fn target(&mut self, operation: &Operation, suspects: &mut Vec<String>) -> String {
        let mut target = operation.path.clone();
        for field in &operation.in_path {
            let value = self.text(field, suspects);
            target = target.replace(&format!("{{{}}}", field.name), &encoded(&value));
        }
        let mut pairs = Vec::new();
        for field in &operation.in_query {
            for _ in 0..self.times(field, suspects) {
                pairs.push((field.name.clone(), self.text(field, suspects)));
            }
        }
        if self.random.u8(..12) == 0 {
            let name = self.naughty().to_owned();
            // The name itself may be told cut and escaped.
            suspects.push("is not a known field".to_owned());
            pairs.push((name, self.naughty().to_owned()));
        }
        self.random.shuffle(&mut pairs);
        let pairs =
            pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        if query.is_empty() { target } else { format!("{target}?{query}") }
    }

    fn body(
        &mut self,
        operation: &Operation,
        suspects: &mut Vec<String>,
        exotic: &mut bool,
    ) -> Vec<u8> {
        match self.random.u8(..20) {
            0 => {
                *exotic = true;
                return self.json(0).to_string().into_bytes();
            }
            1 => {
                *exotic = true;
                return (0..self.random.usize(..200)).map(|_| self.random.u8(..)).collect();
            }
            _ => {}
        }
        let mut fields = Vec::new();
        for field in &operation.in_body {
            for _ in 0..self.times(field, suspects) {
                let value = self.value(field, suspects);
                fields.push((field.name.clone(), value));
            }
        }
        if self.random.u8(..12) == 0 {
            let name = self.naughty().to_owned();
            // The name itself may be told cut and escaped.
            suspects.push("is not a known field".to_owned());
            fields.push((name, self.json(0)));
        }
        let fields = fields.iter().map(|(name, value)| format!("{}:{value}", json!(name)));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into_bytes()
    }

    /// How often a field is there.
    fn times(&mut self, field: &Field, suspects: &mut Vec<String>) -> usize {
        match self.random.u8(..20) {
            0 => {
                suspects.push(field.name.clone());
                2
            }
            1..8 => {
                suspects.push(field.name.clone());
                0
            }
            _ => 1,
        }
    }

    /// A value in a path or a query.
    fn text(&mut self, field: &Field, suspects: &mut Vec<String>) -> String {
        let value = self.value(field, suspects);
        match value {
            Value::String(text) => text,
            Value::Array(items) => {
                let items =
                    items.iter().map(|item| item.as_str().map_or(item.to_string(), str::to_owned));
                items.collect::<Vec<_>>().join(",")
            }
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                other.to_string()
            }
        }
    }

    /// Mostly good, often at the edge, sometimes something else.
    fn value(&mut self, field: &Field, suspects: &mut Vec<String>) -> Value {
        if let 0..3 = self.random.u8(..10) {
            suspects.push(field.name.clone());
            return self.json(0);
        }
        let (value, good) = self.fitting(&field.name, &field.schema);
        if !good {
            suspects.push(field.name.clone());
        }
        value
    }

    fn fitting(&mut self, name: &str, schema: &Value) -> (Value, bool) {
        if let Some(words) = schema["enum"].as_array() {
            return (words[self.random.usize(..words.len())].clone(), true);
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
        match kind.unwrap_or("string") {
            "integer" | "number" => {
                let edges = ["minimum", "maximum"].map(|edge| schema[edge].as_i64());
                let at = edges[self.random.usize(..2)].unwrap_or(1);
                let by = self.random.i64(-1..=1);
                (json!(at.saturating_add(by)), false)
            }
            "boolean" => (json!(self.random.bool()), true),
            "array" => {
                let most = schema["maxItems"].as_u64().unwrap_or(3).min(100);
                let count = [0, 1, most, most + 1][self.random.usize(..4)];
                let item = |this: &mut Self| this.fitting(name, &schema["items"]).0;
                ((0..count).map(|_| item(self)).collect(), false)
            }
            _ => self.fitting_text(name, schema),
        }
    }

    fn fitting_text(&mut self, name: &str, schema: &Value) -> (Value, bool) {
        let longest = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok());
        if let (Some(most), 0) = (longest, self.random.u8(..5)) {
            return (json!("x".repeat(most + self.random.usize(..2))), false);
        }
        let word = match name {
            "url" | "urls" | "product_url" => "https://www.aliexpress.com/item/1005006.html",
            "start_time" | "end_time" => "2025-03-01 00:00:00",
            "ship_to_country" => "US",
            "keywords" => ["usb", "phone case", "läppär", "手机"][self.random.usize(..4)],
            name if name.contains("id") => {
                ["1", "1005006", "99999999999999999999"][self.random.usize(..3)]
            }
            _ => "1",
        };
        (json!(word), false)
    }

    /// Anything but what is wanted.
    fn json(&mut self, depth: u32) -> Value {
        match self.random.u8(..12) {
            0 => Value::Null,
            1 => json!(self.random.bool()),
            2 => json!(self.random.i64(..)),
            3 => json!(self.random.f64() * 1e300),
            4 => json!(-self.random.i64(0..3)),
            5 if depth < 3 => (0..self.random.usize(..4)).map(|_| self.json(depth + 1)).collect(),
            6 if depth < 3 => {
                let fields = (0..self.random.usize(..3))
                    .map(|_| (self.naughty().to_owned(), self.json(depth + 1)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            7 => json!("9".repeat(self.random.usize(1..400))),
            8 => json!(
                (0..self.random.usize(..40)).map(|_| self.random.char(..)).collect::<String>()
            ),
            _ => json!(self.naughty()),
        }
    }

    fn naughty(&mut self) -> &'static str {
        NAUGHTY[self.random.usize(..NAUGHTY.len())]
    }
}

fn read(document: &Value, path: &str, method: &str, told: &Value) -> Operation {
    let parameters = told["parameters"].as_array().cloned().unwrap_or_default();
    let of = |place: &str| -> Vec<Field> {
        let fitting = parameters.iter().filter(|parameter| parameter["in"] == place);
        let field = |parameter: &Value| Field {
            name: parameter["name"].as_str().expect("a name").to_owned(),
            schema: resolved(document, &parameter["schema"]),
        };
        fitting.map(field).collect()
    };
    let body = resolved(document, &told["requestBody"]["content"]["application/json"]["schema"]);
    let in_body = body["properties"].as_object().cloned().unwrap_or_default();
    Operation {
        method: method.to_uppercase(),
        path: path.to_owned(),
        in_path: of("path"),
        in_query: of("query"),
        in_body: in_body
            .into_iter()
            .map(|(name, schema)| Field { name, schema: resolved(document, &schema) })
            .collect(),
        takes_body: told.get("requestBody").is_some(),
    }
}

/// What a reference of the document stands for; of alternatives the first that is not null.
pub(crate) fn resolved(document: &Value, schema: &Value) -> Value {
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[several].as_array() {
            let choice = choices.iter().find(|choice| choice["type"] != "null");
            return resolved(document, choice.expect("a choice"));
        }
    }
    match schema["$ref"].as_str().and_then(|to| to.strip_prefix('#')) {
        Some(to) => resolved(document, document.pointer(to).expect("it is there")),
        None => schema.clone(),
    }
}
