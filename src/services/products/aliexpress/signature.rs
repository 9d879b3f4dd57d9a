//! Signatures of AliExpress requests, in every style that the gateway takes for business methods.
//!
//! Owns: the base string and the digests over it. Refuses: nothing; parameters that must not be
//! signed (`sign` itself, empty values) are left out here, and the sender of a request leaves out
//! the same ones. Has no neighbours: plain functions of their arguments.
//!
//! HMAC is RFC 2104 over SHA-256 (FIPS 180-4); MD5 is RFC 1321 and only for gateways that still
//! ask for it.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

/// What the `sign_method` parameter says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SignMethod {
    /// `md5`: the oldest one.
    Md5,
    /// `sha256`: HMAC-SHA256, the gateway's current default.
    #[default]
    Sha256,
    /// `hmac-sha256`: another name for the same digest.
    HmacSha256,
}

impl SignMethod {
    /// The value of the `sign_method` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
            Self::HmacSha256 => "hmac-sha256",
        }
    }

    /// Reads a `sign_method` parameter, whatever its case; `None` for an unknown one.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256, Self::HmacSha256]
            .into_iter()
            .find(|method| method.as_str().eq_ignore_ascii_case(value.trim()))
    }
}

/// Signs `params`: upper-case hexadecimal, as the `sign` parameter wants it.
///
/// Order does not matter; empty values and a `sign` among them are not signed.
pub fn sign<'a>(
    method: SignMethod,
    secret: &str,
    params: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    sign_base(method, secret, &base_string(params))
}

/// The base string: every signed parameter, sorted by key, each key followed by its raw value.
pub fn base_string<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut signed: Vec<_> =
        params.into_iter().filter(|(key, value)| is_sent(key, value)).collect();
    signed.sort_unstable();
    signed.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

/// Whether a parameter is part of the signed set, and so of what is sent beside `sign`.
pub fn is_sent(key: &str, value: &str) -> bool {
    !value.is_empty() && key != "sign"
}

/// Signs a base string that is already there.
pub fn sign_base(method: SignMethod, secret: &str, base: &str) -> String {
    match method {
        SignMethod::Md5 => {
            let digest = Md5::new().chain_update(secret).chain_update(base).chain_update(secret);
            upper_hex(&digest.finalize())
        }
        SignMethod::Sha256 | SignMethod::HmacSha256 => hmac_sha256(secret, base),
    }
}

fn hmac_sha256(secret: &str, message: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        // RFC 2104 takes keys of every length, so this is never reached; if it were, the
        // gateway would refuse the empty signature and say so.
        return String::new();
    };
    mac.update(message.as_bytes());
    upper_hex(&mac.finalize().into_bytes())
}

fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string cannot fail.
        write!(hex, "{byte:02X}").ok();
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SHA256: SignMethod = SignMethod::Sha256;
    const HMAC: SignMethod = SignMethod::HmacSha256;
    const MD5: SignMethod = SignMethod::Md5;

    fn usb_cable(sign_method: &'static str) -> [(&'static str, &'static str); 8] {
        [
            ("v", "2.0"),
            ("timestamp", "1517820392000"),
            ("keywords", "usb cable"),
            ("app_key", "12345678"),
            ("page_size", "20"),
            ("method", "aliexpress.affiliate.product.query"),
            ("sign_method", sign_method),
            ("page_no", "1"),
        ]
    }

    #[test]
    fn vector_2_links_with_md5() {
        let params = [
            ("app_key", "123456"),
            ("format", "json"),
            ("method", "aliexpress.affiliate.link.generate"),
            ("promotion_link_type", "0"),
            ("sign_method", "md5"),
            ("source_values", "https://pt.aliexpress.com/item/1005006860981590.html"),
            ("timestamp", "1778688000000"),
            ("tracking_id", "telegram"),
            ("v", "2.0"),
        ];
        assert_eq!(sign(MD5, "secret", params), "641E9282AAE8DD8DFA5A063D5E111BB7");
    }

    #[test]
    fn vector_3_orders_with_spaces_in_values() {
        let base = "app_key511111end_time2024-10-29 00:00:00methodaliexpress.affiliate.order.list\
                    sign_methodsha256start_time2024-10-28 00:00:00statusPayment Completed\
                    timestamp1730710528";
        let params = [
            ("app_key", "511111"),
            ("end_time", "2024-10-29 00:00:00"),
            ("start_time", "2024-10-28 00:00:00"),
            ("method", "aliexpress.affiliate.order.list"),
            ("sign_method", "sha256"),
            ("status", "Payment Completed"),
            ("timestamp", "1730710528"),
        ];
        assert_eq!(base_string(params), base);
        assert_eq!(
            sign_base(SHA256, "test_secret", base),
            "B974682AA62B356064AE581C875EDF4C5D79940501311A57C1C9ADA0F0308333"
        );
    }

    #[test]
    fn vectors_4_and_5_one_search_in_both_digests() {
        let with_format =
            |sign_method| usb_cable(sign_method).into_iter().chain([("format", "json")]);
        assert_eq!(
            sign(SHA256, "helloworld", with_format("sha256")),
            "6043958D62AC6D35A3FF5429AF2337F7E101D30A414C803F0E84567747E85677"
        );
        assert_eq!(sign(MD5, "helloworld", with_format("md5")), "421E973A45A217037B3EF3F11FCD41AB");
    }

    #[test]
    fn hmac_sha256_is_sha256_by_another_name() {
        // Only the digest is the same: the name itself is a signed parameter.
        let params = usb_cable("sha256");
        assert_eq!(sign(HMAC, "s", params), sign(SHA256, "s", params));
        assert_ne!(sign(HMAC, "s", usb_cable("hmac-sha256")), sign(SHA256, "s", params));
    }

    #[test]
    fn sign_methods_are_read_back_and_unknown_ones_refused() {
        for method in [SignMethod::Md5, SignMethod::Sha256, SignMethod::HmacSha256] {
            assert_eq!(SignMethod::parse(method.as_str()), Some(method));
            assert_eq!(SignMethod::parse(&method.as_str().to_uppercase()), Some(method));
        }
        assert_eq!(SignMethod::parse("sha1"), None);
        assert_eq!(SignMethod::parse(""), None);
    }

    #[test]
    fn values_are_signed_as_raw_utf_8() {
        assert_eq!(base_string([("k", "été 漢 &=+%")]), "kété 漢 &=+%");
    }

    fn styles() -> impl Strategy<Value = SignMethod> {
        prop_oneof![Just(MD5), Just(SHA256), Just(HMAC),]
    }

    fn pairs(params: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
        params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            params in prop::collection::btree_map("[a-z_]{1,12}", ".{0,20}", 0..12),
            seed in any::<u64>(),
            style in styles(),
        ) {
            let sorted = pairs(&params);
            let mut shuffled = sorted.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            prop_assert_eq!(sign(style, "secret", sorted), sign(style, "secret", shuffled));
        }

        #[test]
        fn empty_parameters_and_an_old_signature_are_not_signed(
            params in prop::collection::btree_map("[a-m]{1,6}", ".{1,20}", 0..12),
            empty in prop::collection::btree_set("[n-r]{1,6}", 0..6),
            old in ".{0,64}",
            style in styles(),
        ) {
            let clean = pairs(&params);
            let mut noisy = clean.clone();
            noisy.extend(empty.iter().map(|key| (key.as_str(), "")));
            noisy.push(("sign", &old));
            prop_assert_eq!(sign(style, "secret", clean), sign(style, "secret", noisy));
        }

        #[test]
        fn a_signature_is_upper_hex_of_the_digests_length(
            secret in ".{0,100}",
            base in ".{0,100}",
            style in styles(),
        ) {
            let signature = sign_base(style, &secret, &base);
            let length = if style == MD5 { 32 } else { 64 };
            prop_assert_eq!(signature.len(), length);
            prop_assert!(signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')));
        }
    }
}
