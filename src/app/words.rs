//! The words of labels that rooms bring, so that their series are there before the first event.
//!
//! Owns: which enumeration is the set of which label. Names of actors, tasks, accounts and breakers come
//! from those who start them. Nothing here can fail.

use crate::access::DeniedBy;
use crate::cache::{Hold, LOAD_TASK, Subject};
use crate::database::QueryType;
use crate::http::connection::{Unread, cut_labels};
use crate::http::load_shedder::ShedReason;
use crate::http::stops::admin_key::refusal_labels;
use crate::limits::abuse::Pattern;
use crate::limits::{AbuseMode, Class, RuleKind, TooOften};
use crate::metrics::{Metrics, Set};
use crate::origin::Outcome;
use crate::otlp::SpanDrop;

use super::Services;

pub(super) fn of_rooms(metrics: &Metrics) {
    metrics.words(Set::Tasks, [LOAD_TASK]);
    metrics.words(Set::Outcomes, Outcome::labels());
    metrics.words(Set::Holds, Hold::ALL.map(Hold::label));
    metrics.words(Set::Invalidations, Subject::reasons());
    metrics.words(Set::Classes, Class::ALL.map(Class::as_str));
    let rules = RuleKind::ALL.map(RuleKind::as_str).into_iter();
    metrics.words(Set::Rules, rules.chain(TooOften::EACH.map(TooOften::rule)));
    metrics.words(Set::AbusePatterns, Pattern::ALL.map(Pattern::as_str));
    metrics.words(Set::AbuseModes, [AbuseMode::On, AbuseMode::Shadow].map(AbuseMode::as_str));
    metrics.words(Set::AdminRefusals, refusal_labels());
    metrics.words(Set::DeniedBy, DeniedBy::ALL.map(DeniedBy::label));
    metrics.words(Set::Shed, ShedReason::ALL.map(ShedReason::as_str));
    metrics.words(Set::Unread, Unread::ALL.map(Unread::label));
    metrics.words(Set::Cut, cut_labels());
    metrics.words(Set::SpanDrops, SpanDrop::ALL.map(SpanDrop::as_str));
    metrics.words(Set::QueryTypes, QueryType::ALL.map(QueryType::as_str));
}

/// The kinds of what services keep.
pub(super) fn of_services(metrics: &Metrics, services: &Services) {
    for service in services {
        let kinds = service.surface().operations.iter().map(|(_, kind)| *kind);
        metrics.words(Set::CacheTypes, kinds);
    }
}
