//! What belongs together among the settings of the upstream's accounts.
//!
//! Owns: the rules over them, and putting together one [`Account`] out of its settings. Refuses:
//! halves of an account, gaps in the numbers, the same account twice, and tracking ids that nothing
//! would send. No neighbours.

use super::declared::Draft;
use super::declared::accounts::{NAMES, Names};
use super::{Account, Credentials, Mistakes, Sources};

/// Names everything that is wrong with the accounts.
pub(super) fn check(draft: &Draft, mistakes: &mut Mistakes) {
    let sources = &draft.settings.sources;
    for (place, names) in NAMES.iter().enumerate() {
        if let Some((missing, present, rule)) = missing(place, names, sources) {
            want(mistakes, missing, present, rule);
        }
    }
    check_tracking_id(sources, mistakes);
    check_keys(draft, mistakes);
}

/// The accounts of settings without mistakes, in the order of their numbers.
pub(super) fn join(draft: &mut Draft) -> Vec<Account> {
    let complete = |account: &mut super::declared::DraftAccount| {
        let (app_key, app_secret) = account.app_key.take().zip(account.app_secret.take())?;
        let credentials = Credentials { app_key, app_secret };
        Some(Account { credentials, tracking_id: account.tracking_id.take() })
    };
    draft.accounts.iter_mut().filter_map(complete).collect()
}

fn want(mistakes: &mut Mistakes, missing: &'static str, present: &str, rule: &str) {
    mistakes.add(missing, None, format!("a value, because {present} is set; {rule}"));
}

/// What an account lacks, what asks for it, and why.
fn missing(
    place: usize,
    names: &Names,
    sources: &Sources,
) -> Option<(&'static str, &'static str, &'static str)> {
    match (sources.is_set(names.key), sources.is_set(names.secret)) {
        (true, true) => None,
        (true, false) => Some((names.secret, names.key, "both or neither")),
        (false, true) => Some((names.key, names.secret, "both or neither")),
        (false, false) if place > 0 && sources.is_set(names.tracking_id) => {
            Some((names.key, names.tracking_id, "it belongs to an account"))
        }
        (false, false) => {
            let later = NAMES.iter().skip(place.saturating_add(1));
            let present = later
                .flat_map(|names| [names.key, names.secret, names.tracking_id])
                .find(|name| sources.is_set(name))?;
            Some((names.key, present, "accounts are numbered without gaps"))
        }
    }
}

/// Requests carry the shop's own tracking id, and an account only puts its own in that place.
fn check_tracking_id(sources: &Sources, mistakes: &mut Mistakes) {
    let mut names = NAMES.iter().map(|names| names.tracking_id);
    let Some(shop) = names.next().filter(|name| !sources.is_set(name)) else { return };
    if let Some(present) = names.find(|name| sources.is_set(name)) {
        want(mistakes, shop, present, "it is sent in place of this one");
    }
}

/// One account under two numbers would be called at twice its pace.
fn check_keys(draft: &Draft, mistakes: &mut Mistakes) {
    let keys = || draft.accounts.iter().map(|account| account.app_key.as_deref()).zip(&NAMES);
    for (place, (key, names)) in keys().enumerate() {
        let Some(key) = key else { continue };
        if let Some((_, first)) = keys().take(place).find(|(other, _)| *other == Some(key)) {
            let expected = format!("another key than that of {}", first.key);
            mistakes.add(names.key, Some(format!("{key:?}")), expected);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Account, Credentials, Secret, Settings, resolve};

    type Set<'a> = &'a [(&'a str, &'a str)];

    const FIRST: [(&str, &str); 3] = [
        ("ALIEXPRESS_APP_KEY", "500001"),
        ("ALIEXPRESS_APP_SECRET", "hunter2"),
        ("ALIEXPRESS_TRACKING_ID", "shop"),
    ];
    const SECOND: [(&str, &str); 3] = [
        ("ALIEXPRESS_APP_KEY_2", "500002"),
        ("ALIEXPRESS_APP_SECRET_2", "hunter3"),
        ("ALIEXPRESS_TRACKING_ID_2", "shop-two"),
    ];

    fn from(parts: &[Set<'_>]) -> Result<Settings, Vec<String>> {
        let environment = parts.iter().copied().flatten().copied().collect();
        resolve(None, &environment)
            .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect())
    }

    fn account(key: &str, secret: &str, tracking_id: Option<&str>) -> Account {
        let credentials = Credentials { app_key: key.into(), app_secret: Secret::new(secret) };
        Account { credentials, tracking_id: tracking_id.map(str::to_owned) }
    }

    #[test]
    fn accounts_stand_in_the_order_of_their_numbers() {
        let third = [("ALIEXPRESS_APP_SECRET_3", "s"), ("ALIEXPRESS_APP_KEY_3", "500003")];
        let settings = from(&[&third, &SECOND, &FIRST]).unwrap();
        let expected = [
            account("500001", "hunter2", None),
            account("500002", "hunter3", Some("shop-two")),
            account("500003", "s", None),
        ];
        assert_eq!(settings.upstream.accounts, expected);
        assert_eq!(settings.upstream.tracking_id.as_deref(), Some("shop"));
        let file = "[upstream]\napp_key = 500001\napp_secret = 'hunter2'\ntracking_id = 'shop'\n\
            app_key_2 = 500002\napp_secret_2 = 'hunter3'\ntracking_id_2 = 'shop-two'\n";
        let file = crate::config::FileText { name: "test.toml".into(), text: file.into() };
        let of_file = resolve(Some(&file), &third.into_iter().collect()).unwrap();
        assert_eq!(of_file.upstream, settings.upstream);
    }

    #[test]
    fn four_can_be_shown_and_no_secret_is() {
        let names: Vec<_> = (2..=4)
            .flat_map(|n| {
                [
                    (format!("ALIEXPRESS_APP_KEY_{n}"), format!("50000{n}")),
                    (format!("ALIEXPRESS_APP_SECRET_{n}"), format!("hunter{n}")),
                    (format!("ALIEXPRESS_TRACKING_ID_{n}"), format!("shop-{n}")),
                ]
            })
            .collect();
        let further: Vec<_> = names.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let settings = from(&[&FIRST, &further]).unwrap();
        assert_eq!(settings.upstream.accounts.len(), 4);
        let described = settings.describe();
        for (name, value) in further.iter().chain(&FIRST) {
            let shown = described.iter().find(|one| one.name == *name).unwrap();
            let expected = if name.contains("SECRET") { "[hidden]" } else { value };
            assert_eq!(shown.value.as_deref(), Some(expected), "{name}");
        }
        assert!(!format!("{settings:?} {described:?}").contains("hunter"));
        let bad = [("ALIEXPRESS_APP_SECRET_3", "hunter2 x"), ("ALIEXPRESS_APP_KEY_3", "1")];
        let told = from(&[&FIRST, &SECOND, &bad]).unwrap_err();
        assert!(told.len() == 1 && told[0].starts_with("ALIEXPRESS_APP_SECRET_3 = [hidden]"));
    }

    #[test]
    fn what_does_not_belong_together_is_named() {
        let rows: &[(&[Set<'_>], &[&str])] = &[
            (
                &[&FIRST, &SECOND[..1]],
                &[
                    "ALIEXPRESS_APP_SECRET_2: expected a value, because ALIEXPRESS_APP_KEY_2 is set; both or neither",
                ],
            ),
            (
                &[&FIRST, &SECOND[1..2]],
                &[
                    "ALIEXPRESS_APP_KEY_2: expected a value, because ALIEXPRESS_APP_SECRET_2 is set; both or neither",
                ],
            ),
            (
                &[&FIRST, &SECOND[2..]],
                &[
                    "ALIEXPRESS_APP_KEY_2: expected a value, because ALIEXPRESS_TRACKING_ID_2 is set; it belongs to an account",
                ],
            ),
            (
                &[&SECOND[..2], &FIRST[2..]],
                &[
                    "ALIEXPRESS_APP_KEY: expected a value, because ALIEXPRESS_APP_KEY_2 is set; accounts are numbered without gaps",
                ],
            ),
            (
                &[&FIRST, &[("ALIEXPRESS_APP_KEY_4", "4"), ("ALIEXPRESS_APP_SECRET_4", "s")]],
                &[
                    "ALIEXPRESS_APP_KEY_2: expected a value, because ALIEXPRESS_APP_KEY_4 is set; accounts are numbered without gaps",
                    "ALIEXPRESS_APP_KEY_3: expected a value, because ALIEXPRESS_APP_KEY_4 is set; accounts are numbered without gaps",
                ],
            ),
            (
                &[&FIRST[..2], &SECOND],
                &[
                    "ALIEXPRESS_TRACKING_ID: expected a value, because ALIEXPRESS_TRACKING_ID_2 is set; it is sent in place of this one",
                ],
            ),
            (
                &[&FIRST, &[("ALIEXPRESS_APP_KEY_2", "500001"), ("ALIEXPRESS_APP_SECRET_2", "s")]],
                &[
                    "ALIEXPRESS_APP_KEY_2 = \"500001\": expected another key than that of ALIEXPRESS_APP_KEY",
                ],
            ),
        ];
        for (set, expected) in rows {
            assert_eq!(from(set).unwrap_err(), *expected);
        }
    }

    #[test]
    fn a_blank_account_is_none() {
        let blank = [("ALIEXPRESS_APP_KEY_2", " "), ("ALIEXPRESS_APP_SECRET_2", "")];
        assert_eq!(from(&[&FIRST, &blank]).unwrap().upstream.accounts.len(), 1);
        assert!(from(&[&FIRST[2..]]).unwrap().upstream.accounts.is_empty());
    }
}
