//! What the cache holds, key by key.
//!
//! Owns: the form of the list, and the names of tags, of which entries keep only numbers: they are
//! found among the numbers of what was asked and answered. A tier that is down is named in the answer.
//! Nothing that is listed is loaded, kept or counted as used.

use std::collections::{HashMap, HashSet};

use actix_web::web::{block, to};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::{LISTED, MOST_LISTED};
use super::cache::{names, subject};
use super::cache_names::{Names, NothingMatched};
use crate::cache::{CacheKey, Freshness, Held, Missed, Subject, Tag};
use crate::clock::{self, Timestamp};
use crate::http::extract::{Answer, Call};
use crate::http::forms::Check;
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;

pub const ROUTE: Route = Route::at("/admin/cache/keys", Class::General).get(|| to(list)).says(|doc| {
    let details = "All that could still be answered with, or what has a tag, or whose key matches a \
         pattern, or both, in the order of keys. One call looks at a bounded part of each tier: \
         `complete` says whether that was all.";
    doc.says("Admin", "listCacheKeys", "Lists what the cache holds.", details)
        .query::<KeysForm>()
        .reports::<KeysShown>("The first keys, and what is kept under them.");
});

/// Numbers that are tried as values of tags in one list, each with every word.
const TRIED: usize = 50_000;
/// Digits of the longest number.
const LONGEST: usize = 20;

/// Which keys to list.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct KeysForm {
    /// Only entries about this.
    #[schema(value_type = Option<String>, min_length = 3, max_length = 128, example = "category:26")]
    pub tag: Option<Value>,
    /// Only keys that match this glob.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256, example = "*:search:*")]
    pub pattern: Option<Value>,
    /// At most so many; 100 when absent.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<Value>,
}

/// What the cache holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheKeysShown)]
pub struct KeysShown {
    pub keys: Vec<KeyShown>,
    /// Whether there are more than are listed: a larger `limit` or a narrower pattern shows them.
    pub more: bool,
    /// Keys that were found; at least so many if not `complete`.
    #[schema(minimum = 0)]
    pub found: usize,
    /// Whether every tier was looked through to its end.
    pub complete: bool,
    /// Tiers that did not answer or took too long, and why.
    pub partial: Vec<Missed>,
    /// Why nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_nothing: Option<NothingMatched>,
}

/// How an entry would be answered with.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// At once.
    Fresh,
    /// At once, and renewed behind.
    Stale,
    /// Only if nothing newer can be had in time: old, or invalidated softly.
    StaleIfError,
}

/// What is kept under one key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CacheKeyShown)]
pub struct KeyShown {
    pub key: String,
    /// Of which settings its lifetime is; absent if no service has such keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    pub state: State,
    /// When its data was asked for, RFC 3339.
    #[serde(serialize_with = "Timestamp::write_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub stored_at: Timestamp,
    pub age_seconds: u64,
    /// What is left of the time in which it is fresh.
    pub fresh_seconds_left: u64,
    /// What is left of the time in which it can be answered with at all.
    pub usable_seconds_left: u64,
    /// It says that there is nothing.
    pub empty: bool,
    /// `memory`, `redis`, `database`.
    pub tiers: Vec<&'static str>,
    /// What it is about, as far as the names are known.
    pub tags: Vec<String>,
    /// Tags whose names are not known.
    #[schema(minimum = 0)]
    pub unnamed_tags: usize,
    /// Size of its newest copy.
    pub bytes: u64,
}

async fn list(_: Admin, call: Call) -> Answer {
    let (limit, subjects) = call.form::<KeysForm>().await?.read(|form| {
        let mut check = Check::default();
        let limit = check.whole("limit", form.limit.as_ref(), 1..=MOST_LISTED).unwrap_or(LISTED);
        let tag = subject(&mut check, "tag", form.tag.as_ref(), Subject::tag);
        let pattern = subject(&mut check, "pattern", form.pattern.as_ref(), Subject::pattern);
        check.finish((limit, [tag, pattern]))
    })?;
    let subjects: Vec<Subject> = subjects.into_iter().flatten().collect();
    let tables = call.cache().tables();
    let survey = tables.survey(&subjects).await;
    let found = survey.found.len();
    let listed: Vec<_> =
        survey.found.into_iter().take(usize::try_from(limit).unwrap_or_default()).collect();
    let keys: Vec<CacheKey> = listed.iter().map(|(key, _)| key.clone()).collect();
    let texts = tables.database.texts(&keys).await.unwrap_or_default();
    let names = names(&call);
    let complete = survey.complete && survey.missed.is_empty();
    let matched_nothing = (found == 0).then(|| names.nothing(&subjects, complete));
    let more = found > listed.len() || !survey.complete;
    // Naming many tags takes longer than a worker may be busy with one request.
    let shown = block(move || shown(&listed, &names, &subjects, &texts, clock::now())).await;
    call.report(&KeysShown {
        keys: shown.unwrap_or_default(),
        more,
        found,
        complete,
        partial: survey.missed,
        matched_nothing,
    })
}

fn shown(
    listed: &[(CacheKey, Held)],
    names: &Names,
    asked: &[Subject],
    texts: &HashMap<String, Vec<u8>>,
    now: Timestamp,
) -> Vec<KeyShown> {
    let (mut known, words) = names.tags();
    known.extend(asked.iter().filter_map(|subject| match subject {
        Subject::Tag(tag) => Some(tag.clone()),
        Subject::Key(_) | Subject::Pattern(_) | Subject::Everything => None,
    }));
    let known: Vec<(Tag, String)> = known.into_iter().map(|tag| (Tag::of(&tag), tag)).collect();
    let mut left = TRIED;
    let show = |(key, held): &(CacheKey, Held)| {
        let Held { entry, freshness, bytes, tiers } = held;
        let stored = texts.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let texts = [stored, &*entry.representation.body];
        let mut unnamed: HashSet<Tag> = entry.tags.iter().copied().collect();
        let mut tags: Vec<String> = Vec::new();
        for (tag, name) in &known {
            if unnamed.remove(tag) {
                tags.push(name.clone());
            }
        }
        tags.extend(named(&mut unnamed, &words, texts, &mut left));
        let times = entry.times;
        let fresh_until = if freshness.is_fresh() { times.fresh_until } else { now };
        KeyShown {
            key: key.to_string(),
            kind: names.kind(key.as_str()),
            state: match freshness {
                Freshness::Fresh | Freshness::Due => State::Fresh,
                Freshness::StaleWhileRevalidate => State::Stale,
                Freshness::StaleIfError | Freshness::Dead => State::StaleIfError,
            },
            stored_at: times.stored_at,
            age_seconds: now.since(times.stored_at).as_secs(),
            fresh_seconds_left: fresh_until.since(now).as_secs(),
            usable_seconds_left: times.stale_until.max(times.fresh_until).since(now).as_secs(),
            empty: entry.negative,
            tiers: tiers.iter().map(|tier| tier.label()).collect(),
            tags,
            unnamed_tags: unnamed.len(),
            bytes: *bytes,
        }
    };
    listed.iter().map(show).collect()
}

/// The tags of `unnamed` that are one of the words with a number of the texts; they are taken out.
fn named(
    unnamed: &mut HashSet<Tag>,
    words: &[&str],
    texts: [&[u8]; 2],
    left: &mut usize,
) -> Vec<String> {
    let (mut tags, mut tried) = (Vec::new(), HashSet::new());
    let numbers = texts.into_iter().flat_map(|text| text.split(|byte| !byte.is_ascii_digit()));
    for number in numbers.filter(|number| (1..=LONGEST).contains(&number.len())) {
        if unnamed.is_empty() || *left == 0 {
            break;
        }
        let Ok(number) = std::str::from_utf8(number) else { continue };
        if !tried.insert(number) {
            continue;
        }
        *left = left.saturating_sub(1);
        for word in words {
            let tag = format!("{word}:{number}");
            if unnamed.remove(&Tag::of(&tag)) {
                tags.push(tag);
            }
        }
    }
    tags
}
