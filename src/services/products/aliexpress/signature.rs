//! Signatures of AliExpress requests.
//!
//! Owns: the base string and its digest, HMAC-SHA256 (RFC 2104 over FIPS 180-4). Parameters that must
//! not be signed (`sign` itself, empty values) are left out here, and the sender of a request leaves out
//! the same ones. Has no neighbours: plain functions of their arguments.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const SIGN_METHOD: &str = "sha256";

/// Signs `params`: upper-case hexadecimal, as the `sign` parameter wants it. Order does not matter.
pub fn sign<'a>(secret: &str, params: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    keyed(secret, &base_string(params))
}

/// The base string: every signed parameter, sorted by key, each key followed by its raw value.
fn base_string<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut signed: Vec<_> =
        params.into_iter().filter(|(key, value)| is_sent(key, value)).collect();
    signed.sort_unstable();
    signed.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

/// Whether a parameter is part of the signed set, and so of what is sent beside `sign`.
pub fn is_sent(key: &str, value: &str) -> bool {
    !value.is_empty() && key != "sign"
}

fn keyed(secret: &str, message: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        // RFC 2104 takes keys of every length, so this is never reached; if it were, the
        // gateway would refuse the empty signature and say so.
        return String::new();
    };
    mac.update(message.as_bytes());
    format!("{:X}", Bytes::copy_from_slice(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

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
            sign("test_secret", params),
            "B974682AA62B356064AE581C875EDF4C5D79940501311A57C1C9ADA0F0308333"
        );
    }

    #[test]
    fn vector_4_a_search() {
        let params = [
            ("v", "2.0"),
            ("timestamp", "1517820392000"),
            ("keywords", "usb cable"),
            ("app_key", "12345678"),
            ("page_size", "20"),
            ("method", "aliexpress.affiliate.product.query"),
            ("sign_method", "sha256"),
            ("format", "json"),
            ("page_no", "1"),
        ];
        assert_eq!(
            sign("helloworld", params),
            "6043958D62AC6D35A3FF5429AF2337F7E101D30A414C803F0E84567747E85677"
        );
    }

    #[test]
    fn values_are_signed_as_raw_utf_8() {
        assert_eq!(base_string([("k", "été 漢 &=+%")]), "kété 漢 &=+%");
    }

    fn pairs(params: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
        params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            params in prop::collection::btree_map("[a-z_]{1,12}", ".{0,20}", 0..12),
            seed in any::<u64>(),
        ) {
            let sorted = pairs(&params);
            let mut shuffled = sorted.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            prop_assert_eq!(sign("secret", sorted), sign("secret", shuffled));
        }

        #[test]
        fn empty_parameters_and_an_old_signature_are_not_signed(
            params in prop::collection::btree_map("[a-m]{1,6}", ".{1,20}", 0..12),
            empty in prop::collection::btree_set("[n-r]{1,6}", 0..6),
            old in ".{0,64}",
        ) {
            let clean = pairs(&params);
            let mut noisy = clean.clone();
            noisy.extend(empty.iter().map(|key| (key.as_str(), "")));
            noisy.push(("sign", &old));
            prop_assert_eq!(sign("secret", clean), sign("secret", noisy));
        }

        #[test]
        fn a_signature_is_upper_hex_of_the_digests_length(
            secret in ".{0,100}",
            base in ".{0,100}",
        ) {
            let signature = keyed(&secret, &base);
            prop_assert_eq!(signature.len(), 64);
            prop_assert!(signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')));
        }
    }
}
