//! What an operator does to the cache.
//!
//! Owns: the forms of invalidations, their checks, and what is told of them. Refuses: to invalidate
//! everything unless that is asked for as such. Every invalidation is logged with the request that
//! made it; a dry run changes nothing and is not. A tier that is down is named in the answer and is no
//! error: the invalidation is in force.

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::Audited;
use super::cache_names::{Names, NothingMatched};
use crate::cache::invalidations::{LONGEST, NotASubject};
use crate::cache::upkeep::Round;
use crate::cache::{Cleared, Mode, Subject, sweeps};
use crate::clock;
use crate::http::error::ApiError;
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField, Sent, shown};
use crate::http::openapi::NOT_IN_TIME;
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;

pub const CLEAR: Route =
    Route::at("/api/cache/clear", Class::General).post(|| to(clear)).says(|doc| {
        let details = "All of them, or those whose key matches a pattern. The answer says how many \
             were hit, and what was probably meant if none was; with `dry_run` nothing else is done.";
        doc.says("Admin", "clearCache", "Drops entries from every tier.", details)
            .query::<ClearForm>()
            .reports::<Invalidated>("How many entries were hit in each tier.")
            .fails(NOT_IN_TIME);
    });

pub const INVALIDATE: Route =
    Route::at("/admin/cache/invalidate", Class::General).post(|| to(invalidate)).says(|doc| {
        let summary = "Invalidates a key, a tag, a pattern or everything.";
        let details = "In every tier and every instance: what was stored until now is not \
             answered with any more (hard), or only when nothing newer can be had \
             (soft). Needs exactly one of `key`, `tag` and `pattern`, or `all` alone; \
             a pattern that matches everything needs `all` beside it. The answer says how \
             many entries were hit, and what was probably meant if none was; with `dry_run` \
             nothing else is done.";
        doc.says("Admin", "invalidateCache", summary, details)
            .form::<InvalidateForm>()
            .reports::<Invalidated>("It is in force; how many entries were hit in each tier.")
            .fails(NOT_IN_TIME);
    });

pub const WARM: Route =
    Route::at("/admin/cache/warm", Class::General).post(|| to(warm)).says(|doc| {
        let details = "Keys asked for most are lifted from the database into memory; those that \
             are stale are loaded behind this answer, slowly and only while clients \
             leave room for it.";
        doc.says("Admin", "warmCache", "Warms the cache.", details)
            .reports::<Warming>("What is being done.");
    });

/// Which keys to drop.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ClearForm {
    /// Glob over keys; all keys when absent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256, example = "*:search:*")]
    pub pattern: Option<Value>,
    /// Says that a pattern which matches everything is meant.
    #[schema(value_type = Option<bool>, default = false)]
    pub all: Option<Value>,
    /// Only says what would be hit.
    #[schema(value_type = Option<bool>, default = false)]
    pub dry_run: Option<Value>,
}

/// What to invalidate: exactly one of `key`, `tag` and `pattern`, or `all` alone.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct InvalidateForm {
    /// One key.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    pub key: Option<Value>,
    /// Every entry about something: `WORD:VALUE`, as the services name what their answers are about.
    #[schema(value_type = Option<String>, min_length = 3, max_length = 128, example = "category:26")]
    pub tag: Option<Value>,
    /// Glob over keys. One that matches everything needs `all` beside it.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    pub pattern: Option<Value>,
    /// Alone: everything. Beside a pattern: it may match everything.
    #[schema(value_type = Option<bool>, default = false)]
    pub all: Option<Value>,
    /// How thoroughly.
    #[schema(value_type = Option<Mode>, default = "hard")]
    pub mode: Option<Value>,
    /// Only says what would be hit.
    #[schema(value_type = Option<bool>, default = false)]
    pub dry_run: Option<Value>,
}

/// Keys that a dry run names.
const NAMED: usize = 20;

/// What an invalidation did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invalidated {
    /// Nothing was changed: these are entries that would be hit.
    pub dry_run: bool,
    #[serde(flatten)]
    pub cleared: Cleared,
    /// How thoroughly.
    pub mode: Mode,
    /// The first twenty keys that a dry run found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Why nothing was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_nothing: Option<NothingMatched>,
}

async fn clear(admin: Admin, call: Call) -> Answer {
    let form = call.query_form::<ClearForm>().await?;
    call.no_body().await?;
    let form = form.map(|ClearForm { pattern, all, dry_run }| {
        // Without a pattern it is everything that is asked for.
        let all = all.or_else(|| pattern.is_none().then_some(Value::Bool(true)));
        InvalidateForm { pattern, all, dry_run, ..InvalidateForm::default() }
    });
    carry_out(&admin, &call, "cache.clear", form).await
}

async fn invalidate(admin: Admin, call: Call) -> Answer {
    let form = call.form().await?;
    carry_out(&admin, &call, "cache.invalidate", form).await
}

/// What a round of warming is doing.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Warming {
    /// False when a round was under way already: nothing was begun.
    begun: bool,
    /// What was done so far, and what is still to be loaded.
    #[serde(flatten)]
    round: Round,
}

async fn warm(admin: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    let audited = Audited::begin(&call, &admin, "cache.warm", "");
    let round = call.worker.warmer.begin().await;
    audited.end(Ok(()))?;
    let warming = Warming { begun: round.is_some(), round: round.unwrap_or_default() };
    call.report(&warming)
}

async fn carry_out(admin: &Admin, call: &Call, action: &str, form: Sent<InvalidateForm>) -> Answer {
    let names = names(call);
    let (subject, mode, dry_run) = form.read(|form| read(&form, &names.sample_keys()))?;
    let subjects = [subject];
    let (cleared, keys) = if dry_run {
        let survey = call.cache().tables().survey(&subjects).await;
        let keys = survey.found.keys().take(NAMED).map(ToString::to_string).collect();
        (Cleared::foreseen(&survey, clock::now()), keys)
    } else {
        let [subject] = &subjects;
        let what = format!("{} ({})", subject.text(), mode.label());
        let audited = Audited::begin(call, admin, action, what);
        let cleared = call.cache().invalidate(subject.clone(), mode, subject.reason()).await;
        (audited.end(cleared.map_err(ApiError::from))?, Vec::new())
    };
    let matched_nothing = cleared.is_nothing().then(|| names.nothing(&subjects, cleared.complete));
    call.report(&Invalidated { dry_run, cleared, mode, keys, matched_nothing })
}

/// What the keys and tags of all services are made of.
pub(super) fn names(call: &Call) -> Names {
    Names::of(call.worker.shared.services.iter().map(|service| service.surface()))
}

/// Reads a form; all mistakes are named.
fn read(
    form: &InvalidateForm,
    sample: &[String],
) -> Result<(Subject, Mode, bool), Vec<InvalidField>> {
    let mut check = Check::default();
    let all = check.flag("all", form.all.as_ref());
    let dry_run = check.flag("dry_run", form.dry_run.as_ref()).unwrap_or_default();
    let mode = check.word("mode", form.mode.as_ref(), mode_of, "soft or hard");
    let key = subject(&mut check, "key", form.key.as_ref(), Subject::key);
    let tag = subject(&mut check, "tag", form.tag.as_ref(), Subject::tag);
    let pattern = subject(&mut check, "pattern", form.pattern.as_ref(), Subject::pattern);
    let given = [&form.key, &form.tag, &form.pattern].map(Option::is_some);
    let chosen = match given {
        [false, false, false] if all == Some(true) => Some(Subject::Everything),
        [false, false, false] => {
            check.refuse("body", "names nothing to invalidate", ONE);
            None
        }
        [true, false, false] | [false, true, false] if all == Some(true) => {
            check.refuse("all", "stands beside a key or a tag", ONE);
            None
        }
        [true, false, false] => key,
        [false, true, false] => tag,
        // A dry run of what matches everything harms nothing.
        [false, false, true] if dry_run => pattern,
        [false, false, true] => pattern.filter(|pattern| narrow(&mut check, pattern, all, sample)),
        [true, true, _] | [true, _, true] | [_, true, true] => {
            check.refuse("body", "names several things to invalidate", ONE);
            None
        }
    };
    check.found(chosen.map(|subject| (subject, mode.unwrap_or(Mode::Hard), dry_run)))
}

const ONE: &str = "exactly one of key, tag and pattern, or all: true alone or beside a pattern";

fn mode_of(word: &str) -> Option<Mode> {
    [Mode::Soft, Mode::Hard].into_iter().find(|mode| mode.label() == word)
}

/// Reads what is to be invalidated. What is there and blank is a mistake, not an absence.
pub(super) fn subject(
    check: &mut Check,
    field: &str,
    value: Option<&Value>,
    parse: fn(&str) -> Result<Subject, NotASubject>,
) -> Option<Subject> {
    let value = value?;
    let allowed = format!("a text of 1 to {LONGEST} bytes");
    let Some(text) = value.as_str().map(str::trim).filter(|text| !text.is_empty()) else {
        check.refuse(field, "is not a text", allowed);
        return None;
    };
    parse(text).map_err(|wrong| check.refuse(field, wrong.problem, wrong.allowed)).ok()
}

/// Whether a pattern leaves something as it is, or need not.
fn narrow(check: &mut Check, pattern: &Subject, all: Option<bool>, sample: &[String]) -> bool {
    let text = if let Subject::Pattern(text) = pattern { text } else { "*" };
    let meant = all == Some(true) || !sweeps(text, sample);
    if !meant {
        let problem = format!("`{}` matches everything", shown(text));
        check.refuse("pattern", problem, "one that does not, or this with all: true");
    }
    meant
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cache::CacheKey;
    use crate::http::forms::{from_json, sentence};

    /// Some keys of three operations.
    fn sample() -> Vec<String> {
        let keys = |operation| {
            let key = move |number: u32| CacheKey::of("things", operation, [&*number.to_string()]);
            (0..16).map(move |number| key(number).to_string())
        };
        ["search", "hot", "link"].into_iter().flat_map(keys).collect()
    }

    fn of(body: &Value) -> Result<(String, Mode), String> {
        let form = from_json(body.to_string().as_bytes()).unwrap();
        let subject = form
            .read(|form| read(&form, &sample()))
            .map(|(subject, mode, _)| (subject.text(), mode));
        subject.map_err(|mistakes| sentence(&mistakes))
    }

    #[test]
    fn what_is_asked_for_is_read() {
        use Mode::{Hard, Soft};
        for (body, subject, mode) in [
            (json!({"key": " things:search:1f "}), "key things:search:1f", Hard),
            (json!({"tag": "thing:1", "mode": "soft"}), "tag thing:1", Soft),
            (json!({"pattern": "things:search:*"}), "pattern things:search:*", Hard),
            (json!({"pattern": "*:hot:*", "all": true}), "pattern *:hot:*", Hard),
            (json!({"pattern": "things:*", "all": "true"}), "pattern things:*", Hard),
            (json!({"pattern": "**", "all": true, "mode": "soft"}), "everything", Soft),
            (json!({"all": true, "key": null}), "everything", Hard),
        ] {
            assert_eq!(of(&body), Ok((subject.to_owned(), mode)), "{body}");
        }
    }

    #[test]
    fn what_matches_everything_has_to_be_asked_for_as_such() {
        for pattern in
            ["*", "***", "*:*", "*:*:*", "things:*", "t*", "[a-z]*", "?*", "*[0-9a-f]", "*h*:*"]
        {
            for all in [json!(null), json!(false)] {
                let refused = of(&json!({"pattern": pattern, "all": all})).unwrap_err();
                assert!(refused.starts_with("pattern: `"), "{refused}");
                assert!(refused.contains("matches everything; allowed:"), "{refused}");
            }
        }
        for pattern in ["things:search:*", "*:link:*", "*:0*", "*7", "nothing:*", "?", "*a*b*c*d*"]
        {
            assert!(of(&json!({"pattern": pattern})).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn mistakes_name_the_field_and_what_is_allowed() {
        let long = "x".repeat(LONGEST + 1);
        for (body, fields) in [
            (json!({}), &["body"][..]),
            (json!({"all": false}), &["body"]),
            (json!({"mode": "soft"}), &["body"]),
            (json!({"key": "a", "tag": "t:1"}), &["body"]),
            (json!({"key": "a", "tag": "t:1", "pattern": "x"}), &["body"]),
            (json!({"key": "a", "all": true}), &["all"]),
            (json!({"tag": "t:1", "all": true}), &["all"]),
            (json!({"key": ""}), &["key"]),
            (json!({"key": 7}), &["key"]),
            (json!({"key": long}), &["key"]),
            (json!({"key": "a\u{0}"}), &["key"]),
            (json!({"tag": "thing"}), &["tag"]),
            (json!({"tag": "thing:1 2"}), &["tag"]),
            (json!({"pattern": ["a"]}), &["pattern"]),
            (json!({"pattern": " ", "all": true}), &["pattern"]),
            (json!({"pattern": "a\\*"}), &["pattern"]),
            (json!({"pattern": "a*", "mode": "half"}), &["mode"]),
            (json!({"tag": "", "mode": 1, "all": "perhaps"}), &["all", "mode", "tag"]),
        ] {
            let refused = of(&body).unwrap_err();
            let named: Vec<_> =
                refused.split(" | ").filter_map(|one| one.split(':').next()).collect();
            assert_eq!(named, fields, "{body}: {refused}");
            assert_eq!(refused.matches("; allowed: ").count(), fields.len(), "{refused}");
        }
    }
}
