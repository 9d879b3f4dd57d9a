//! Accounts in the environment and in the file, and what is wrong with them.

use super::*;
use crate::config::{Group, Schema, resolve};

const SCHEMA: Schema = Schema(&[&[Group::of::<AliExpressSettings>()]]);
const FIRST: [(&str, &str); 3] = [
    ("ALIEXPRESS_APP_KEY", "500001"),
    ("ALIEXPRESS_APP_SECRET", "hunter2"),
    ("ALIEXPRESS_TRACKING_ID", "shop"),
];
const LIST: &str = "ALIEXPRESS_ACCOUNTS_JSON";
const FURTHER: &str = r#"[
    {"app_key": "500002", "app_secret": "hunter3", "tracking_id": "shop-two"},
    {"app_key": 500003, "app_secret": "hunter4"}
]"#;

fn from(first: &[(&str, &str)], list: &str) -> Result<Settings, Vec<String>> {
    let environment = first.iter().copied().chain([(LIST, list)]).collect();
    resolve(SCHEMA, None, &environment)
        .map_err(|mistakes| mistakes.all.iter().map(ToString::to_string).collect())
}

fn account(key: &str, secret: &str, tracking_id: Option<&str>) -> Account {
    let credentials = Credentials { app_key: key.into(), app_secret: Secret::new(secret) };
    Account { credentials, tracking_id: tracking_id.map(str::to_owned) }
}

#[test]
fn an_account_without_a_tracking_id_is_a_caution() {
    let cautions = |first: &[(&str, &str)]| from(first, "").map(|read| read.cautions().count());
    assert_eq!(cautions(&FIRST[..2]), Ok(1));
    assert_eq!((cautions(&FIRST), cautions(&[])), (Ok(0), Ok(0)));
}

#[test]
fn further_accounts_come_from_the_environment_or_from_the_file() {
    let settings = from(&FIRST, &FURTHER.replace('\n', " ")).unwrap();
    let set: AliExpressSettings = settings.of();
    let expected = [
        account("500001", "hunter2", None),
        account("500002", "hunter3", Some("shop-two")),
        account("500003", "hunter4", None),
    ];
    assert_eq!(set.accounts(), expected);
    let text = "[upstream]\napp_key = 500001\napp_secret = 'hunter2'\ntracking_id = 'shop'\n\
        [[upstream.accounts]]\napp_key = 500002\napp_secret = 'hunter3'\n\
        tracking_id = 'shop-two'\n[[upstream.accounts]]\napp_key = '500003'\n\
        app_secret = 'hunter4'\n";
    let file = crate::config::FileText { name: "test.toml".into(), text: text.into() };
    let of_file = resolve(SCHEMA, Some(&file), &[("", ""); 0].into_iter().collect()).unwrap();
    assert_eq!(of_file.of::<AliExpressSettings>(), set);
    assert!(from(&[], " ").unwrap().of::<AliExpressSettings>().accounts().is_empty());
    assert_eq!(from(&FIRST, "[]").unwrap().of::<AliExpressSettings>().accounts().len(), 1);
}

#[test]
fn no_secret_of_a_list_is_shown() {
    let settings = from(&FIRST, &FURTHER.replace('\n', " ")).unwrap();
    let described = settings.describe();
    let shown = described.iter().find(|one| one.name == LIST).unwrap();
    assert_eq!(
        shown.value.as_deref(),
        Some(
            r#"[{"app_key":"500002","app_secret":"[hidden]","tracking_id":"shop-two"},{"app_key":"500003","app_secret":"[hidden]"}]"#
        )
    );
    assert!(!format!("{settings:?} {described:?}").contains("hunter"));
}

#[test]
fn a_mistake_names_the_account_and_the_field() {
    let list =
        "a JSON list of up to 3 objects with app_key, app_secret and, if wanted, tracking_id";
    for (text, wrong) in [
        ("hunter2", ""),
        ("{}", ""),
        ("[{},{},{},{}]", ""),
        ("[1]", "; [0] is no object"),
        (r#"[{"app_key": "2"}]"#, "; [0].app_secret is missing"),
        (r#"[{"app_secret": "hunter2"}]"#, "; [0].app_key is missing"),
        (
            r#"[{"app_key": "2", "app_secret": "s"}, {"app_key": "3", "app_secret": []}]"#,
            "; [1].app_secret is no text",
        ),
        (r#"[{"app_key": "2", "secret": "s"}]"#, "; [0].secret is no field of an account"),
        (
            r#"[{"app_key": "2", "app_secret": "hunter2 x"}]"#,
            "; [0].app_secret is not up to 256 visible ASCII characters without white space",
        ),
        (
            r#"[{"app_key": "2", "app_secret": "s"}, {"app_key": "2", "app_secret": "t"}]"#,
            "; [1].app_key is that of another account",
        ),
    ] {
        let expected = format!("{LIST} = [hidden]: expected {list}{wrong}");
        assert_eq!(from(&FIRST, text).unwrap_err(), [expected]);
    }
}

#[test]
fn what_does_not_belong_together_is_named() {
    let two = r#"[{"app_key": "2", "app_secret": "s", "tracking_id": "two"}]"#;
    let same = r#"[{"app_key": "500001", "app_secret": "s"}]"#;
    for (first, list, expected) in [
        (
            &FIRST[..1],
            "",
            "ALIEXPRESS_APP_SECRET: expected a value, because ALIEXPRESS_APP_KEY is set; both or neither",
        ),
        (
            &FIRST[2..],
            two,
            "ALIEXPRESS_APP_KEY: expected a value, because ALIEXPRESS_ACCOUNTS_JSON is set; the list holds further accounts",
        ),
        (
            &FIRST[..2],
            two,
            "ALIEXPRESS_TRACKING_ID: expected a value, because ALIEXPRESS_ACCOUNTS_JSON [0].tracking_id is set; it is sent in place of this one",
        ),
        (
            &FIRST,
            same,
            "ALIEXPRESS_ACCOUNTS_JSON: expected [0].app_key to differ from ALIEXPRESS_APP_KEY",
        ),
    ] {
        assert_eq!(from(first, list).unwrap_err(), [expected]);
    }
}
