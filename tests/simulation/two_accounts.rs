//! A day with two accounts, one of which has all the trouble.
//!
//! Owns: that the other one makes up for it, at its own pace.

use std::time::Duration;

use breakwater::resilience::breaker::State;

use crate::breakwater_client::{BURST, BreakwaterClient, PER_SECOND};
use crate::day::{Client, live};
use crate::demand::{Demand, RUSH};
use crate::episodes::{DAY, Episode};

const KEYS: [&str; 2] = ["500001", "500002"];

#[test]
fn the_troubles_of_one_account_are_not_those_of_its_clients() {
    let arrivals = Demand { least: 0.02, most: 0.2, noon: 3.0, rush: 8.0 }.arrivals(3);
    let episodes = DAY.map(|episode| Episode { account: Some(KEYS[1]), ..episode });
    let client = BreakwaterClient::new(&KEYS, 50_000);
    let day = live(&Client::Breakwater(Box::new(client)), &episodes, &arrivals);
    for episode in &episodes {
        let time = episode.begins..episode.ends();
        let (asked, good) = (day.asked_in(&time).count(), day.good_in(&time));
        println!("{}: {asked} questions, {good} answered", episode.name);
        assert!(good * 100 >= asked * 90, "{}: {good} of {asked}", episode.name);
    }
    // Both together have room for it.
    assert!(day.good_in(&RUSH) * 100 >= day.asked_in(&RUSH).count() * 99);
    let allowed = 2 * (PER_SECOND as usize + BURST as usize);
    assert!(day.most_in_any(Duration::from_secs(1)) <= allowed);
    let accounts = day.status.unwrap().credentials;
    assert_eq!(accounts[0].breaker.transitions, 0, "the other one was never ill");
    assert!(accounts[1].breaker.transitions > 0);
    assert!(accounts.iter().all(|account| account.breaker.state == State::Closed));
}
