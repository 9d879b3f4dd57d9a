//! The settings of traces, named as OpenTelemetry names them.
//!
//! Owns: their declaration, and the form of the header fields for the collector. Refuses: fields that HTTP
//! has no room for, or that the export sets itself. Values of fields are secrets and never shown.

use crate::config::kinds::{Kind, Optional, Refusal, SECRET_WORD, Text, WEB_ADDRESS, quoted};
use crate::config::{Secret, Section};
use crate::settings;

const COLLECTOR: Text<String> = Text {
    expected: || "an http or https address such as http://collector:4318".to_owned(),
    read: |text| match text.trim_end_matches('/').ends_with("/v1/traces") {
        true => Err(Some("without /v1/traces at its end, which the gateway adds".to_owned())),
        false => (WEB_ADDRESS.read)(text),
    },
    ..WEB_ADDRESS
};

/// The name of a service, as OpenTelemetry takes it: any text, here in one line.
const NAME: Text<String> = Text {
    expected: || "up to 256 bytes of text".to_owned(),
    read: |text| {
        let fits = text.len() <= 256 && !text.contains(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err(None) }
    },
    show: String::clone,
    quote: quoted,
};

settings! {
    pub struct TracingSettings in "tracing" {
        endpoint: Option<String> = None, "OTEL_EXPORTER_OTLP_ENDPOINT", "endpoint",
            Optional(COLLECTOR),
            "address of an OpenTelemetry collector; spans are sent to v1/traces below it";
        headers: Option<Vec<(String, Secret)>> = None, "OTEL_EXPORTER_OTLP_HEADERS", "headers",
            Optional(HeaderList), "header fields for the collector, for example its key";
        service_name: String = "breakwater".to_owned(), "OTEL_SERVICE_NAME", "service_name", NAME,
            "name of this gateway in its spans";
    }
}

impl Section for TracingSettings {
    fn caution(&self) -> Option<String> {
        let idle = self.endpoint.is_none() && self.headers.is_some();
        idle.then(|| {
            "OTEL_EXPORTER_OTLP_HEADERS changes nothing without OTEL_EXPORTER_OTLP_ENDPOINT"
                .to_owned()
        })
    }
}

/// Header fields as `name=value,name=value`, values percent-encoded.
pub struct HeaderList;

/// What an export request says itself.
const OURS: [&str; 5] =
    ["content-type", "content-length", "transfer-encoding", "host", "connection"];

impl Kind for HeaderList {
    type Value = Vec<(String, Secret)>;

    fn expected(&self) -> String {
        "name=value pairs, separated by commas, with percent-encoded values".to_owned()
    }

    fn read(&self, text: &str) -> Result<Self::Value, Refusal> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let (mut fields, mut wrong) = (Vec::new(), Vec::new());
        for (place, item) in items.enumerate() {
            match field(place, item) {
                Ok(field) => fields.push(field),
                Err(mistake) => wrong.push(mistake),
            }
        }
        if wrong.is_empty() { Ok(fields) } else { Err(Some(wrong.join(", "))) }
    }

    fn show(&self, fields: &Self::Value) -> Option<String> {
        let shown = |(name, value): &(String, Secret)| {
            format!("{name}={}", SECRET_WORD.show(value).unwrap_or_default())
        };
        Some(fields.iter().map(shown).collect::<Vec<_>>().join(","))
    }

    fn quote(&self, text: &str) -> String {
        SECRET_WORD.quote(text)
    }
}

/// One field; else what is wrong with the one at this place, which is not shown.
fn field(place: usize, item: &str) -> Result<(String, Secret), String> {
    let wrong = |what: &str| format!("[{place}] {what}");
    let (name, value) = item.split_once('=').ok_or_else(|| wrong("has no ="))?;
    let name = name.trim().to_ascii_lowercase();
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(in_name) {
        return Err(wrong("has a name that is none of a header field"));
    }
    if OURS.contains(&name.as_str()) {
        return Err(wrong(&format!("is {name}, which the gateway sets itself")));
    }
    let value = decoded(value.trim()).ok_or_else(|| wrong("is not percent-encoded"))?;
    let fits = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !fits {
        return Err(wrong("has a value that is not visible ASCII"));
    }
    Ok((name, Secret::new(value)))
}

/// A text with every `%` and two hex digits as the byte that they mean.
fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes: Vec<u8> = pieces.next()?.into();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_their_values_never_shown() {
        let read =
            HeaderList.read(" api-key = s3cret%2C%20x ,, Authorization=Bearer%20t=1,").unwrap();
        let plain: Vec<_> =
            read.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(plain, [("api-key", "s3cret, x"), ("authorization", "Bearer t=1")]);
        let shown = HeaderList.show(&read).unwrap();
        assert_eq!(shown, "api-key=[hidden],authorization=[hidden]");
        assert_eq!(HeaderList.quote("api-key=s3cret"), "[hidden]");
        assert!(!format!("{read:?}").contains("s3cret"));
    }

    #[test]
    fn the_path_that_is_added_is_no_part_of_the_address() {
        for text in ["http://a:4318/v1/traces", "https://a/otlp/v1/traces/"] {
            let refused = COLLECTOR.read(text).unwrap_err().unwrap();
            assert!(refused.contains("which the gateway adds"), "{refused}");
        }
        for text in ["http://a:4318", "https://a/otlp/", "https://a/v1/traces/of/shop"] {
            assert_eq!(COLLECTOR.read(text).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_field_is_refused_without_its_value() {
        for (text, why) in [
            ("s3cret", "[0] has no ="),
            ("s3cret,a=1,=s3cret", "[0] has no =, [2] has a name that is none of a header field"),
            ("a=1,=s3cret", "[1] has a name that is none of a header field"),
            ("a b=s3cret", "[0] has a name that is none of a header field"),
            ("Host=s3cret", "[0] is host, which the gateway sets itself"),
            ("a=s3cret%2", "[0] is not percent-encoded"),
            ("a=s3cret%+1", "[0] is not percent-encoded"),
            ("a=s3cret%0d%0a", "[0] has a value that is not visible ASCII"),
            ("a=s3cret%ff", "[0] is not percent-encoded"),
        ] {
            let refused = HeaderList.read(text).unwrap_err().unwrap();
            assert_eq!(refused, why, "{text}");
        }
    }
}
