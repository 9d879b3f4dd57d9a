//! A day on which more is asked than the day's budget allows.
//!
//! Owns: that the upstream never sees a call more, and that those who are refused are told at once.

use std::time::Duration;

use crate::breakwater_client::BreakwaterClient;
use crate::day::{Client, live};
use crate::demand::Demand;
use crate::record::Answer;

#[test]
fn the_days_budget_is_used_up_and_never_passed() {
    const BUDGET: usize = 2_000;
    let arrivals = Demand { least: 0.02, most: 0.15, noon: 1.0, rush: 3.0 }.arrivals(2);
    assert!(arrivals.len() > BUDGET + 500, "{} questions", arrivals.len());
    let client = BreakwaterClient::new(&["500001"], BUDGET as u64);
    let day = live(&Client::Breakwater(Box::new(client)), &[], &arrivals);
    assert_eq!(day.calls.len(), BUDGET);
    assert_eq!(day.answered(Answer::Ok) + day.answered(Answer::Empty), BUDGET);
    let status = day.status.unwrap();
    assert_eq!(status.budget_remaining(), Some(0));
    let refused = day.questions.iter().filter(|question| question.calls == 0);
    for question in refused {
        assert!(question.answered - question.asked < Duration::from_millis(2), "{question:?}");
    }
}
