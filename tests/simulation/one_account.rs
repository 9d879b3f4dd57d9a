//! The day in the table: one account, asked through by three clients.
//!
//! Owns: what has to be true of it. "In trouble" is an episode and the time that it may take to
//! find out that it is over; all the rest is calm.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use breakwater::origin::health::PAUSES;
use breakwater::resilience::breaker::State;

use crate::ask_again::AskAgain;
use crate::breakwater_client::{BURST, BreakwaterClient, LONGEST_OPEN, PER_SECOND, protocol};
use crate::day::{Client, live};
use crate::demand::{Demand, PATIENCE, RUSH};
use crate::episodes::{DAY, Episode, Trouble};
use crate::record::{Answer, Question, Record};
use crate::table;

const KEY: &str = "500001";
const DEMAND: Demand = Demand { least: 0.02, most: 1.0, noon: 4.5, rush: 8.0 };
/// More than the day needs, so that something else decides.
const BUDGET: u64 = 50_000;
/// The longest time without a question in the busy hours, and that of the probes and their answers.
const NOTICED: Duration = Duration::from_secs(30);

/// Breakwater's day, that of the client that asks again at once, and that of the one that pauses.
static DAYS: LazyLock<[Record; 3]> = LazyLock::new(|| {
    let arrivals = &DEMAND.arrivals(1);
    let clients: [fn() -> Client; 3] = [
        || Client::Breakwater(Box::new(BreakwaterClient::new(&[KEY], BUDGET))),
        || ask_again(false),
        || ask_again(true),
    ];
    std::thread::scope(|scope| {
        let days = clients.map(|client| scope.spawn(move || live(&client(), &DAY, arrivals)));
        days.map(|day| day.join().unwrap())
    })
});

fn ask_again(pauses: bool) -> Client {
    Client::AskAgain(AskAgain { protocol: Box::new(protocol(KEY)), pauses })
}

/// How long after the end of a trouble it may go unnoticed.
fn recovery(episode: &Episode) -> Duration {
    let left_alone =
        if episode.trouble == Trouble::WrongKey { PAUSES.backoff.longest } else { LONGEST_OPEN };
    left_alone + NOTICED
}

fn in_trouble() -> impl Iterator<Item = Range<Duration>> {
    let episodes = DAY.iter().map(|episode| episode.begins..episode.ends() + recovery(episode));
    episodes.chain([RUSH.start..RUSH.end + PATIENCE])
}

fn calm(record: &Record) -> impl Iterator<Item = &Question> {
    let troubles: Vec<_> = in_trouble().collect();
    record.questions.iter().filter(move |question| {
        let lasts = question.asked..question.asked + PATIENCE;
        troubles.iter().all(|trouble| trouble.end <= lasts.start || lasts.end <= trouble.start)
    })
}

#[test]
fn the_day_as_a_table() {
    let days = &*DAYS;
    println!("\n{}\n{}", table::of_the_day(days, &DAY), table::by_episode(days, &DAY));
    for day in days {
        assert_eq!(day.questions.len(), days[0].questions.len());
        let answers: usize = Answer::ALL.iter().map(|(answer, _)| day.answered(*answer)).sum();
        assert_eq!(answers, day.questions.len());
        let calls: usize = day.questions.iter().map(|question| question.calls as usize).sum();
        assert_eq!(calls, day.calls.len());
    }
}

#[test]
fn while_all_is_well_every_question_is_answered() {
    let [breakwater, ..] = &*DAYS;
    let unanswered: Vec<_> = calm(breakwater).filter(|q| !q.answer.is_good()).collect();
    assert!(unanswered.is_empty(), "{unanswered:?}");
    assert!(calm(breakwater).count() * 2 > breakwater.questions.len(), "hardly any calm");
}

#[test]
fn retries_stay_a_sixth_of_the_calls_at_most() {
    let [breakwater, others @ ..] = &*DAYS;
    assert!(breakwater.retries() * 6 <= breakwater.calls.len() as u64);
    for other in others {
        assert!(breakwater.retries() * 10 <= other.retries(), "{}", other.client);
    }
}

#[test]
fn no_stretch_of_time_sees_more_calls_than_the_pace_allows() {
    let [breakwater, ..] = &*DAYS;
    for seconds in [1_u32, 2, 10, 60, 600] {
        let most = breakwater.most_in_any(Duration::from_secs(seconds.into()));
        let allowed = PER_SECOND as usize * seconds as usize + BURST as usize;
        assert!(most <= allowed, "{most} calls in {seconds} s, {allowed} allowed");
    }
}

#[test]
fn an_upstream_that_is_down_is_left_alone() {
    let [breakwater, others @ ..] = &*DAYS;
    let in_vain = table::calls_in_vain(breakwater, &DAY);
    for other in others {
        let theirs = table::calls_in_vain(other, &DAY);
        assert!(in_vain * 100 <= theirs, "{in_vain} in vain, {}: {theirs}", other.client);
    }
}

#[test]
fn the_end_of_a_trouble_is_noticed_in_time() {
    let [breakwater, ..] = &*DAYS;
    for episode in &DAY {
        let after = breakwater.first_good_after(episode.ends()).unwrap();
        assert!(after <= recovery(episode), "{}: {after:?}", episode.name);
    }
}

/// From an upstream that can serve only so much it gets about as many answers as those who never
/// let go: while it throttles no fewer; while it is weak the breaker may open once or twice.
#[test]
fn restraint_costs_few_answers_where_the_upstream_is_short_of_them() {
    let [breakwater, others @ ..] = &*DAYS;
    for (scarce, percent) in [(Trouble::Throttles, 95), (Trouble::Weak, 60)] {
        let episode = DAY.iter().find(|episode| episode.trouble == scarce).unwrap();
        let time = episode.begins..episode.ends();
        for other in others {
            let (ours, theirs) = (breakwater.good_in(&time), other.good_in(&time));
            let text = format!("{}: {ours}, {}: {theirs}", episode.name, other.client);
            assert!(ours * 100 >= theirs * percent, "{text}");
        }
    }
}

/// Above the pace as many are served as the pace allows, and all but a few of the others are told
/// that there are too many. The pace allows a burst that is more than the upstream likes: a few
/// are throttled.
#[test]
fn a_rush_is_served_at_the_pace() {
    let [breakwater, ..] = &*DAYS;
    let good = breakwater.good_in(&RUSH) as f64;
    let pace = PER_SECOND * (RUSH.end - RUSH.start).as_secs_f64();
    assert!(good >= 0.95 * pace, "{good} answered, {pace} calls by the pace");
    let told = [Answer::Overloaded, Answer::Throttled];
    for question in breakwater.asked_in(&RUSH).filter(|question| !question.answer.is_good()) {
        assert!(told.contains(&question.answer), "{question:?}");
    }
    let throttled = breakwater.asked_in(&RUSH).filter(|q| q.answer == Answer::Throttled);
    assert!(throttled.count() < 20);
}

#[test]
fn nobody_waits_longer_than_they_said() {
    for day in &*DAYS {
        for question in &day.questions {
            let waited = question.answered - question.asked;
            // Timers ring on whole milliseconds.
            assert!(waited <= PATIENCE + Duration::from_millis(2), "{}: {question:?}", day.client);
        }
    }
}

#[test]
fn breakers_open_in_trouble_only_and_lose_no_permit() {
    let [breakwater, ..] = &*DAYS;
    let opened = |at: &Duration| DAY.iter().any(|e| (e.begins..e.ends() + PATIENCE).contains(at));
    for change in breakwater.moves.iter().filter(|change| change.to == State::Open) {
        assert!(change.from == State::HalfOpen || opened(&change.at), "{change:?}");
    }
    let first = |of: Trouble| DAY.iter().find(|episode| episode.trouble == of).unwrap();
    for down in [Trouble::Outage, Trouble::Hang].map(first) {
        assert!(breakwater.moves.iter().any(|change| down.is_at(change.at)), "{}", down.name);
    }
    for account in &breakwater.status.as_ref().unwrap().credentials {
        let breaker = &account.breaker;
        assert_eq!(breaker.state, State::Closed);
        assert_eq!(breaker.under_way, 0, "{breaker:?}");
    }
}
