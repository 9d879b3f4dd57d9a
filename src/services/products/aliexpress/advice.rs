//! What an operator has to do about a fault of the configuration.
//!
//! Owns: the sentences, each with the setting of the account that has the fault. Refuses nothing. No
//! neighbours.

use crate::config::MOST_ACCOUNTS;
use crate::origin::Misconfiguration;

/// The sentences for one account.
#[derive(Debug)]
pub(super) struct Advice {
    app_key: &'static str,
    signature: &'static str,
    tracking_id: &'static str,
    account: &'static str,
    permission: &'static str,
}

/// The sentences for the account whose settings end so.
macro_rules! advice {
    ($suffix:literal) => {
        Advice {
            app_key: concat!(
                "AliExpress does not know the application key; check ALIEXPRESS_APP_KEY",
                $suffix
            ),
            signature: concat!(
                "AliExpress computes another signature; check ALIEXPRESS_APP_SECRET",
                $suffix,
                ", and that it belongs to ALIEXPRESS_APP_KEY",
                $suffix
            ),
            tracking_id: concat!(
                "AliExpress does not know the tracking id: searches find nothing and links earn \
                 nothing; check ALIEXPRESS_TRACKING_ID",
                $suffix
            ),
            account: concat!(
                "AliExpress does not know the account as a publisher; register it in the \
                 affiliate portal, or check ALIEXPRESS_APP_KEY",
                $suffix
            ),
            permission: concat!(
                "the application may not use this method; ask for the permission in the \
                 AliExpress console, or check ALIEXPRESS_APP_KEY",
                $suffix
            ),
        }
    };
}

/// In the order of the accounts' numbers.
static ADVICE: [Advice; MOST_ACCOUNTS] = [advice!(""), advice!("_2"), advice!("_3"), advice!("_4")];

impl Advice {
    /// Of the account at a place, the first being 0; beyond the last one they name the first
    /// account's settings.
    pub(super) fn at(place: usize) -> &'static Self {
        let [first, ..] = &ADVICE;
        ADVICE.get(place).unwrap_or(first)
    }

    /// What to do.
    pub(super) const fn about(&self, what: Misconfiguration) -> &'static str {
        match what {
            Misconfiguration::AppKey => self.app_key,
            Misconfiguration::Signature => self.signature,
            Misconfiguration::Gateway => {
                "the gateway's address answers, but is not (or no longer) the gateway; check \
                 ALIEXPRESS_GATEWAY_URL"
            }
            Misconfiguration::TrackingId => self.tracking_id,
            Misconfiguration::Clock => {
                "AliExpress refuses the time of our requests; check this machine's clock"
            }
            Misconfiguration::Account => self.account,
            Misconfiguration::Permission => self.permission,
        }
    }
}
