//! What of our configuration AliExpress may not accept, and what an operator has to do about it.
//!
//! Owns: the faults and the sentences, each with the setting of the account that has the fault.

use crate::origin::Misconfiguration;

/// The gateway does not know the application key.
pub const APP_KEY: Misconfiguration = Misconfiguration::of_credential("app_key");
/// It computes another signature: the secret is wrong.
pub const SIGNATURE: Misconfiguration = Misconfiguration::of_credential("signature");
/// The address is not, or no longer, the gateway's.
pub const GATEWAY: Misconfiguration = Misconfiguration::of_credential("gateway");
/// This machine's clock is too far from the gateway's.
pub const CLOCK: Misconfiguration = Misconfiguration::of_credential("clock");
/// It knows the application, but serves its account nothing.
pub const ACCOUNT: Misconfiguration = Misconfiguration::of_credential("account");
/// It does not know the tracking id.
pub const TRACKING_ID: Misconfiguration = Misconfiguration::of_operation("tracking_id");
/// It does not take calls from this machine's address.
pub const IP_ALLOW_LIST: Misconfiguration = Misconfiguration::of_credential("ip_allow_list");
/// The account may not use a method.
pub const PERMISSION: Misconfiguration = Misconfiguration::of_operation("permission");

/// What to do about a fault of the account at `place`, the first being 0.
pub(super) fn advice(fault: Misconfiguration, place: usize) -> String {
    let setting = |name: &str| match place.checked_sub(1) {
        None => format!("ALIEXPRESS_{}", name.to_uppercase()),
        Some(further) => format!("ALIEXPRESS_ACCOUNTS_JSON [{further}].{name}"),
    };
    let key = setting("app_key");
    match fault {
        APP_KEY => format!("AliExpress does not know the application key; check {key}"),
        SIGNATURE => format!(
            "AliExpress computes another signature; check {}, and that it belongs to {key}",
            setting("app_secret")
        ),
        TRACKING_ID => format!(
            "AliExpress does not know the tracking id: searches find nothing and links earn \
             nothing; check {}",
            setting("tracking_id")
        ),
        CLOCK => {
            "AliExpress refuses the time of our requests; check this machine's clock".to_owned()
        }
        ACCOUNT => format!(
            "AliExpress does not know the account as a publisher; register it in the affiliate \
             portal, or check {key}"
        ),
        IP_ALLOW_LIST => format!(
            "AliExpress does not take calls from this server's address; add the address it calls \
             from to the IP allow-list (\"IP whitelist\") of the application {key} in the AliExpress \
             console"
        ),
        PERMISSION => format!(
            "the application may not use this method; ask for the permission in the AliExpress \
             console, or check {key}"
        ),
        _ => "the gateway's address answers, but is not (or no longer) the gateway; check \
              ALIEXPRESS_GATEWAY_URL"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_settings_of_the_account() {
        for what in [APP_KEY, SIGNATURE, TRACKING_ID, ACCOUNT, PERMISSION, IP_ALLOW_LIST] {
            let (first, third) = (advice(what, 0), advice(what, 2));
            assert!(first.contains("ALIEXPRESS_") && !first.contains("ACCOUNTS_JSON"), "{first}");
            assert!(third.contains("ALIEXPRESS_ACCOUNTS_JSON [1]."), "{third}");
        }
        assert_eq!(advice(GATEWAY, 1), advice(GATEWAY, 0));
        assert!(advice(CLOCK, 0).contains("clock"));
    }
}
