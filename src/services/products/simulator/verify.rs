//! Who is calling, and are they who they say: signature, timestamp and application key.
//!
//! Owns: the gateway's side of signing. It is written apart from the signing side on purpose and
//! shares no code with it: two readings of the same page check each other, where a shared function
//! would agree with itself however wrong. Refuses: with the gateway's own codes. Has no neighbour.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::parameters::Parameters;
use super::refusal::Refusal;
use crate::clock::Timestamp;

pub const DEMO_APP_KEY: &str = "500001";
/// Secret of the demonstration account; it guards nothing.
pub const DEMO_APP_SECRET: &str = "breakwater-demonstration-secret";
pub const DEMO_TRACKING_ID: &str = "breakwater";

#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub app_key: String,
    pub app_secret: String,
    /// The one tracking id of the account; any other gives empty lists.
    pub tracking_id: String,
}

impl Credentials {
    /// The account a gateway uses when it starts the simulator inside itself.
    #[must_use]
    pub fn demonstration() -> Self {
        Self {
            app_key: DEMO_APP_KEY.to_owned(),
            app_secret: DEMO_APP_SECRET.to_owned(),
            tracking_id: DEMO_TRACKING_ID.to_owned(),
        }
    }
}

impl fmt::Debug for Credentials {
    /// Without the secret: a configured account may be a real one.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials")
            .field("app_key", &self.app_key)
            .field("tracking_id", &self.tracking_id)
            .finish_non_exhaustive()
    }
}

/// How far a caller's clock may be off, in milliseconds, either way.
const DRIFT_MS: u64 = 7_200_000;

/// Checks the system parameters in the order of the gateway and says whose call it is.
pub(super) fn caller<'a>(
    parameters: &Parameters,
    known: &'a [Credentials],
    now: Timestamp,
) -> Result<&'a Credentials, Refusal> {
    if let Some(name) = parameters.repeated() {
        return Err(Refusal::invalid(name, "a parameter to be sent once"));
    }
    for name in ["method", "app_key", "timestamp", "sign_method", "sign"] {
        parameters.required(name)?;
    }
    parameters.one_of("format", &["json"])?;
    parameters.one_of("v", &["2.0"])?;
    parameters.one_of("sign_method", &["md5", "sha256", "hmac-sha256"])?;
    let app_key = parameters.required("app_key")?;
    let caller = known.iter().find(|one| one.app_key == app_key).ok_or_else(Refusal::app_key)?;
    check_timestamp(parameters.required("timestamp")?, now)?;
    let expected = signature(parameters, &caller.app_secret);
    if parameters.get("sign") == Some(expected.as_str()) {
        Ok(caller)
    } else {
        Err(Refusal::signature())
    }
}

/// The signature that belongs to everything sent, upper-case hexadecimal.
fn signature(parameters: &Parameters, secret: &str) -> String {
    let mut message = String::new();
    for (name, value) in parameters.signed() {
        message.push_str(name);
        message.push_str(value);
    }
    match parameters.get("sign_method") {
        Some("md5") => upper_hex(&Md5::digest(format!("{secret}{message}{secret}"))),
        _ => keyed(secret, &message),
    }
}

fn keyed(secret: &str, message: &str) -> String {
    // A key of any length is a key for this algorithm; the error cannot happen.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(message.as_bytes());
    upper_hex(&mac.finalize().into_bytes())
}

fn upper_hex(bytes: &[u8]) -> String {
    format!("{:X}", Bytes::copy_from_slice(bytes))
}

fn check_timestamp(text: &str, now: Timestamp) -> Result<(), Refusal> {
    let sent = read_timestamp(text).ok_or_else(Refusal::timestamp_form)?;
    if sent.abs_diff(now.as_millis()) > DRIFT_MS {
        return Err(Refusal::timestamp_drift());
    }
    Ok(())
}

fn read_timestamp(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    read_gateway_time(text).map(Timestamp::as_millis)
}

/// Reads `yyyy-MM-dd HH:mm:ss` as the gateway means it: GMT+8.
pub(super) fn read_gateway_time(text: &str) -> Option<Timestamp> {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let local = PrimitiveDateTime::parse(text, form).ok()?;
    let seconds = local.assume_offset(offset!(+8)).unix_timestamp();
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

/// Writes a time as the gateway does: `yyyy-MM-dd HH:mm:ss` in GMT+8.
pub(super) fn write_gateway_time(at: Timestamp) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    OffsetDateTime::from_unix_timestamp(at.as_millis().div_euclid(1000))
        .ok()
        .and_then(|utc| utc.to_offset(offset!(+8)).format(form).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(secret: &str, form: &str) -> String {
        signature(&Parameters::read(form, b""), secret)
    }

    #[test]
    fn published_vectors() {
        let rest = "/order/getaccess_tokentestapp_key123456order_id1234sign_methodsha256timestamp1517820392000";
        assert_eq!(
            keyed("helloworld", rest),
            "4190D32361CFB9581350222F345CB77F3B19F0E31D162316848A2C1FFD5FAB4A"
        );
        let link = "app_key=123456&format=json&method=aliexpress.affiliate.link.generate&promotion_link_type=0&sign_method=md5&source_values=https%3A%2F%2Fpt.aliexpress.com%2Fitem%2F1005006860981590.html&timestamp=1778688000000&tracking_id=telegram&v=2.0";
        assert_eq!(sign("secret", link), "641E9282AAE8DD8DFA5A063D5E111BB7");
        let orders = "app_key=511111&end_time=2024-10-29+00:00:00&method=aliexpress.affiliate.order.list&sign_method=sha256&start_time=2024-10-28+00:00:00&status=Payment+Completed&timestamp=1730710528";
        assert_eq!(
            sign("test_secret", orders),
            "B974682AA62B356064AE581C875EDF4C5D79940501311A57C1C9ADA0F0308333"
        );
        let search = "app_key=12345678&format=json&keywords=usb+cable&method=aliexpress.affiliate.product.query&page_no=1&page_size=20&sign_method=sha256&timestamp=1517820392000&v=2.0";
        assert_eq!(
            sign("helloworld", search),
            "6043958D62AC6D35A3FF5429AF2337F7E101D30A414C803F0E84567747E85677"
        );
        let older = search.replace("sha256", "md5");
        assert_eq!(sign("helloworld", &older), "421E973A45A217037B3EF3F11FCD41AB");
    }

    #[test]
    fn both_names_of_the_keyed_digest_are_one_algorithm() {
        // The name itself is part of the signed set, so the digests differ, not the algorithm.
        let message = "a1sign_methodhmac-sha256";
        assert_eq!(sign("s", "a=1&sign_method=hmac-sha256"), keyed("s", message));
    }

    #[test]
    fn both_forms_of_the_timestamp_within_the_drift() {
        let now = read_gateway_time("2026-01-01 08:00:00").unwrap();
        assert_eq!(now.as_millis(), 1_767_225_600_000);
        for good in ["1767225600000", "1767232800000", "2026-01-01 08:00:00", "2026-01-01 06:00:00"]
        {
            assert_eq!(check_timestamp(good, now), Ok(()), "{good}");
        }
        for far in ["1767232800001", "2026-01-01 00:00:00", "1767225600", "0"] {
            assert_eq!(check_timestamp(far, now), Err(Refusal::timestamp_drift()), "{far}");
        }
        for odd in ["-5", "now", "2026-13-01 00:00:00", "99999999999999999999", "2026-01-01"] {
            assert_eq!(check_timestamp(odd, now), Err(Refusal::timestamp_form()), "{odd}");
        }
        assert_eq!(write_gateway_time(now), "2026-01-01 08:00:00");
    }
}
