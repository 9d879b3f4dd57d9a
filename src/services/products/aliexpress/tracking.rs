//! Whether AliExpress knows our tracking id, found out although it does not say.
//!
//! An unknown tracking id gives status 200 with an empty list and no error, exactly like a search
//! that finds nothing; kept as that, it would empty the service without a word in any log. So until
//! some answer with records has proven the id, such an answer is doubted: a second question is
//! asked whose answer tells the two apart.
//!
//! One of these belongs to one account. Requests carry the shop's id, and an account that has another
//! puts it in that place as it signs; so what is learned here is of the id that was really sent, and
//! the second question, too, is about that one.
//!
//! Owns: what was learned of the id, and that second question. Refuses: to doubt what says more
//! than nothing (`resp_code` 405, or counts above zero), or anything once the id is proven.

use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value;

use super::answer::Found;
use super::records::{Contents, Records};
use super::request::{Method, Request};
use super::{faults, read};
use crate::origin::{Blame, Outcome};

/// The name of the id in requests.
pub(super) const PARAMETER: &str = "tracking_id";

/// A search that always finds something: what has a raised commission.
const PROBE: Method = Method {
    name: "aliexpress.affiliate.hotproduct.query",
    records: Records::PRODUCTS,
    is_search: true,
};

const UNKNOWN: u8 = 0;
const PROVEN: u8 = 1;
const WRONG: u8 = 2;

/// What is known of the id.
#[derive(Debug, Default)]
pub struct Tracking(AtomicU8);

impl Tracking {
    /// Learns from an answer; what looks like nothing is a fault while the id is known to be wrong.
    pub fn judge(&self, request: &Request, outcome: Outcome<Found>) -> Outcome<Found> {
        let Outcome::Ok(Found { result, .. }) = &outcome else { return outcome };
        if !request.params.contains_key(PARAMETER) {
            return outcome;
        }
        if request.contents(result) == Contents::Records {
            self.0.store(PROVEN, Ordering::Relaxed);
            return outcome;
        }
        if self.0.load(Ordering::Relaxed) == WRONG && is_silent(request, result) {
            return unknown_id();
        }
        outcome
    }

    /// The question that tells whether an empty list means the id. A search is asked again without
    /// it. Links cannot be, and of a product asked for by its id there may be none that earns; so
    /// for those it is a search that always finds something, with it.
    pub fn doubt(&self, request: &Request, outcome: &Outcome<Found>) -> Option<Request> {
        let Outcome::Ok(Found { result, .. }) = outcome else { return None };
        let id = request.params.get(PARAMETER)?;
        if self.0.load(Ordering::Relaxed) != UNKNOWN || !is_silent(request, result) {
            return None;
        }
        let mut question = request.clone();
        if request.method.is_search {
            question.params.remove(PARAMETER);
        } else {
            question = Request::of(&PROBE).set("page_no", 1).set("page_size", 1).set(PARAMETER, id);
        }
        Some(question)
    }

    /// What the doubted `outcome` means, now that the `question` was answered with `found`.
    pub fn resolve(
        &self,
        question: &Request,
        outcome: Outcome<Found>,
        found: &Outcome<Found>,
    ) -> Outcome<Found> {
        if self.0.load(Ordering::Relaxed) == PROVEN {
            return outcome;
        }
        let with_id = question.params.contains_key(PARAMETER);
        let is_wrong = match found {
            Outcome::Ok(Found { result, .. }) if with_id => is_silent(question, result),
            Outcome::Ok(Found { result, .. }) => question.contents(result) == Contents::Records,
            Outcome::Empty
            | Outcome::Throttled { .. }
            | Outcome::Transient { .. }
            | Outcome::Permanent { .. }
            | Outcome::BadResponse { .. } => found.misconfiguration() == Some(faults::TRACKING_ID),
        };
        if !is_wrong {
            return outcome;
        }
        self.0.store(WRONG, Ordering::Relaxed);
        unknown_id()
    }
}

/// Whether an answer is one that an unknown id gets: nothing, and not even counts.
fn is_silent(question: &Request, result: &Value) -> bool {
    question.contents(result) == Contents::Nothing
        && read::count(result, "total_record_count").unwrap_or(0) == 0
}

fn unknown_id() -> Outcome<Found> {
    Outcome::Permanent {
        blame: Blame::Configuration(faults::TRACKING_ID),
        reason: "an empty list, as for an unknown tracking id, where there is something".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::repair::Repairs;
    use super::*;

    const SEARCH: Method = Method { name: "search", ..PROBE };
    const DETAILS: Method = Method { name: "details", is_search: false, ..PROBE };
    const LINKS: Method = Method {
        name: "links",
        records: Records {
            outer: "promotion_links",
            inner: "promotion_link",
            ids: &[],
            texts: &[&["source_value"]],
        },
        is_search: false,
    };

    fn request(method: &'static Method, id: Option<&str>) -> Request {
        let id = id.map(|id| (PARAMETER, id.to_owned()));
        let params = [("keywords", "usb".to_owned())].into_iter().chain(id).collect();
        Request { method, params }
    }

    fn search() -> Request {
        request(&SEARCH, Some("shop"))
    }

    fn found(result: Value) -> Outcome<Found> {
        Outcome::Ok(Found { result, repairs: Repairs::default() })
    }

    fn some() -> Outcome<Found> {
        let product = json!({"product_id": 1, "product_title": "A kettle", "sale_price": "1"});
        found(json!({"products": [product]}))
    }

    fn none() -> Outcome<Found> {
        found(json!({"products": {"product": []}, "total_record_count": 0}))
    }

    fn is_fault(outcome: &Outcome<Found>) -> bool {
        outcome.misconfiguration() == Some(faults::TRACKING_ID)
    }

    #[test]
    fn a_search_is_asked_again_without_the_id() {
        let tracking = Tracking::default();
        let question = tracking.doubt(&search(), &none()).unwrap();
        assert_eq!(question, request(&SEARCH, None));
        // It finds nothing either: that proves nothing, and is believed.
        assert_eq!(tracking.resolve(&question, none(), &none()), none());
        assert_eq!(tracking.resolve(&question, none(), &Outcome::Empty), none());
        assert!(tracking.doubt(&search(), &none()).is_some());
        // It finds something: the id is wrong, and every such answer is a fault from now on.
        assert!(is_fault(&tracking.resolve(&question, none(), &some())));
        assert_eq!(tracking.doubt(&search(), &none()), None);
        assert!(is_fault(&tracking.judge(&search(), none())));
        // Without the id an answer means what it says; with it, one with records clears it.
        assert_eq!(tracking.judge(&question, none()), none());
        assert_eq!(tracking.judge(&search(), some()), some());
        assert_eq!(tracking.judge(&search(), none()), none());
    }

    #[test]
    fn links_and_details_are_checked_by_a_search_that_finds_something() {
        let links = found(json!({"promotion_links": []}));
        for (method, nothing) in [(&LINKS, links), (&DETAILS, none())] {
            let tracking = Tracking::default();
            let asked = request(method, Some("shop"));
            let question = tracking.doubt(&asked, &nothing).unwrap();
            assert_eq!(question.method, &PROBE);
            assert_eq!(question.params.get(PARAMETER).map(String::as_str), Some("shop"));
            assert!(is_fault(&tracking.resolve(&question, nothing.clone(), &none())));
            // The other way round.
            let tracking = Tracking::default();
            let found = tracking.judge(&question, some());
            assert_eq!(tracking.resolve(&question, nothing.clone(), &found), nothing);
            assert_eq!(tracking.doubt(&asked, &nothing), None, "proven");
        }
    }

    #[test]
    fn what_says_more_than_nothing_is_not_doubted() {
        let past_the_end = found(json!({"products": [], "total_record_count": 41,
            "total_page_no": 3, "current_page_no": 4}));
        let failed = Outcome::Transient { reason: String::new() };
        for outcome in [some(), Outcome::Empty, past_the_end, failed] {
            let tracking = Tracking::default();
            assert_eq!(tracking.doubt(&search(), &outcome), None, "{outcome:?}");
        }
        let tracking = Tracking::default();
        assert_eq!(tracking.doubt(&request(&SEARCH, None), &none()), None);
        assert_eq!(tracking.judge(&search(), some()), some());
        assert_eq!(tracking.doubt(&search(), &none()), None, "proven");
    }

    #[test]
    fn a_question_that_fails_decides_nothing() {
        let tracking = Tracking::default();
        let question = tracking.doubt(&search(), &none()).unwrap();
        let failed = Outcome::Transient { reason: String::new() };
        assert_eq!(tracking.resolve(&question, none(), &failed), none());
        assert!(tracking.doubt(&search(), &none()).is_some());
    }
}
