//! Declarations: the accounts at the upstream, and the shop's own tracking id. Owns no logic and
//! refuses nothing; what belongs together is checked in `config/accounts.rs`.

use super::{Declaration, setting};
use crate::config::MOST_ACCOUNTS;
use crate::config::kinds::Kind;
use crate::config::texts::{Optional, SecretWord, Word};

/// The three variables of one account.
pub(in crate::config) struct Names {
    pub(in crate::config) key: &'static str,
    pub(in crate::config) secret: &'static str,
    pub(in crate::config) tracking_id: &'static str,
}

macro_rules! names {
    ($suffix:literal) => {
        Names {
            key: concat!("ALIEXPRESS_APP_KEY", $suffix),
            secret: concat!("ALIEXPRESS_APP_SECRET", $suffix),
            tracking_id: concat!("ALIEXPRESS_TRACKING_ID", $suffix),
        }
    };
}

/// The variables of every account, in the order of their numbers.
pub(in crate::config) const NAMES: [Names; MOST_ACCOUNTS] =
    [names!(""), names!("_2"), names!("_3"), names!("_4")];

/// The first account's declarations, and the same three for each further one: its number, as it
/// ends the names, and its place in the lists.
macro_rules! settings {
    ([$($first:expr),+ $(,)?], $($number:literal at $place:literal),+) => {
        &[
            $($first,)+
            $(
                setting!(concat!("ALIEXPRESS_APP_KEY_", $number), "upstream",
                    concat!("app_key_", $number), in (accounts[$place].app_key), Optional(Word),
                    "key of a further account; all are used in turn",
                    show |settings| Some(settings.upstream.accounts.get($place)?.credentials.app_key.clone())),
                setting!(concat!("ALIEXPRESS_APP_SECRET_", $number), "upstream",
                    concat!("app_secret_", $number), in (accounts[$place].app_secret),
                    Optional(SecretWord), "its secret",
                    show |settings| {
                        SecretWord.show(&settings.upstream.accounts.get($place)?.credentials.app_secret)
                    }),
                setting!(concat!("ALIEXPRESS_TRACKING_ID_", $number), "upstream",
                    concat!("tracking_id_", $number), in (accounts[$place].tracking_id),
                    Optional(Word),
                    "tracking id that it sends in place of the first; without one it sends the first",
                    show |settings| settings.upstream.accounts.get($place)?.tracking_id.clone()),
            )+
        ]
    };
}

pub(super) const SETTINGS: &[Declaration] = settings!(
    [
        setting!("ALIEXPRESS_APP_KEY", "upstream", "app_key", in (accounts[0].app_key), Optional(Word),
            "key of the AliExpress account; without key and secret the simulator inside answers",
            show |settings| Some(settings.upstream.accounts.first()?.credentials.app_key.clone())),
        setting!("ALIEXPRESS_APP_SECRET", "upstream", "app_secret", in (accounts[0].app_secret),
            Optional(SecretWord), "secret of the AliExpress account",
            show |settings| {
                SecretWord.show(&settings.upstream.accounts.first()?.credentials.app_secret)
            }),
        setting!("ALIEXPRESS_TRACKING_ID", "upstream", "tracking_id",
            in settings.upstream.tracking_id, Optional(Word), "tracking id of affiliate links"),
    ],
    "2" at 1, "3" at 2, "4" at 3
);
