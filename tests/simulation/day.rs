//! Lives a day in virtual time: everybody's clock is tokio's, and it is paused, so it leaps from
//! one event to the next.
//!
//! Owns: who asks whom when. A day takes a second or two.

use std::collections::BTreeMap;
use std::time::Duration;

use breakwater::clock;
use breakwater::origin::transport::Transport;
use breakwater::services::products::aliexpress::Request;
use breakwater::services::products::endpoints::search;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;

use crate::ask_again::AskAgain;
use crate::breakwater_client::BreakwaterClient;
use crate::demand::PATIENCE;
use crate::episodes::Episode;
use crate::record::{Answer, Question, Record};
use crate::upstream::{Line, Upstream};

/// Seeds the upstream's luck; the demand has its own.
const SEED: u64 = 4;

/// Who asks.
pub(crate) enum Client {
    /// Breakwater.
    Breakwater(Box<BreakwaterClient>),
    /// One that asks again.
    AskAgain(AskAgain),
}

impl Client {
    const fn name(&self) -> &'static str {
        match self {
            Self::Breakwater(_) => "Breakwater",
            Self::AskAgain(AskAgain { pauses: true, .. }) => "naive, waits",
            Self::AskAgain(_) => "naive",
        }
    }

    async fn ask(&self, line: &Line<'_>, request: &Request, until: Instant) -> Answer {
        match self {
            Self::Breakwater(client) => client.ask(line, request, until).await,
            Self::AskAgain(client) => client.ask(line, request, until).await,
        }
    }
}

/// A day of `client` with an upstream that has these troubles.
pub(crate) fn live(client: &Client, episodes: &[Episode], arrivals: &[Duration]) -> Record {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(ask_all(client, episodes, arrivals))
}

async fn ask_all(client: &Client, episodes: &[Episode], arrivals: &[Duration]) -> Record {
    let midnight = clock::monotonic();
    let upstream = &Upstream::new(episodes, SEED);
    let due = stream::iter(arrivals.iter().enumerate()).then(|(number, at)| async move {
        tokio::time::sleep_until(Instant::from_std(midnight + *at)).await;
        (number, upstream.time())
    });
    let asked = due.map(|(number, asked)| async move {
        // The cache asks each question once: what comes here differs.
        let params = BTreeMap::from([("keywords", format!("earbuds {number}"))]);
        let request = Request { method: &search::METHOD, params };
        let (line, until) = (Line::to(upstream), Instant::from_std(midnight + asked + PATIENCE));
        let answer = client.ask(&line, &request, until).await;
        Question { asked, answered: upstream.time(), calls: line.calls(), answer }
    });
    let questions = asked.buffer_unordered(usize::MAX).collect().await;
    let (moves, status) = match client {
        Client::AskAgain(_) => (Vec::new(), None),
        Client::Breakwater(client) => {
            let wall = Line::to(upstream).wall();
            let status = client.state().status(clock::monotonic(), wall);
            (client.moves(midnight), Some(status))
        }
    };
    Record { client: client.name(), questions, calls: upstream.received(), moves, status }
}
