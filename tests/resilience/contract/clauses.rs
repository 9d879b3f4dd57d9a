//! The clauses: one way of dying each.
//!
//! Owns: what must hold for every actor. A clause whose fault lasts only so long looks again when
//! the machine was too slow to catch it, so that no clause depends on speed.

use std::time::Duration;

use breakwater::clock;
use breakwater::resilience::backoff::Backoff;
use breakwater::supervision::{ActorState, AskError, Chaos, RestartPolicy, Undelivered};
use futures_util::future::{LocalBoxFuture, join_all};

use super::fixture::{Fixture, until};
use super::subject::Subject;

/// Room enough for everything a clause sends.
const ROOM: usize = 1_000;
/// How often a clause looks for a fault that passes by itself.
const LOOKS: usize = 20;

/// Asks before the fault, the fault, asks after it: all in one inbox, all answered.
async fn bystanders_around<S: Subject>(fixture: &Fixture<S>, chaos: Chaos) {
    let handle = fixture.start();
    fixture.subject.leave_a_mark(&handle).await;
    // Sent in this order: what is joined is polled in order the first time.
    let ask = || -> LocalBoxFuture<'_, Result<(), AskError>> { Box::pin(S::ask(&handle)) };
    let mut letters: Vec<_> = (0..5).map(|_| ask()).collect();
    letters.push(Box::pin(async {
        assert_eq!(fixture.supervisor.strike(S::NAME, chaos), 1);
        Ok(())
    }));
    letters.extend((0..5).map(|_| ask()));
    let answers = join_all(letters).await;
    assert!(answers.iter().all(Result::is_ok), "bystanders were lost: {answers:?}");
    assert!(fixture.subject.finds_the_mark(&handle).await, "the table was forgotten");
    let status = fixture.status();
    assert_eq!((status.restarts, status.queue), (1, 0));
    assert_eq!(status.state, ActorState::Running);
}

/// A panic while a letter is handled.
pub(crate) async fn panic_in_a_handler<S: Subject>() {
    let fixture = Fixture::<S>::with_room_for(ROOM);
    bystanders_around(&fixture, Chaos::Panic).await;
    assert_eq!(fixture.status().last_panic.as_deref(), Some("chaos: asked to panic"));
    assert_eq!(fixture.notes.count("panic"), 1);
}

/// The actor stops its own context.
pub(crate) async fn stop<S: Subject>() {
    let fixture = Fixture::<S>::with_room_for(ROOM);
    bystanders_around(&fixture, Chaos::Stop).await;
    assert_eq!(fixture.status().last_panic, None);
    assert_eq!(fixture.notes.count("stop"), 1);
}

/// A letter that takes far too long.
pub(crate) async fn hang<S: Subject>() {
    if S::OWN_THREAD {
        moved_to_a_new_thread::<S>().await;
    } else {
        reported_and_recovered::<S>().await;
    }
}

async fn moved_to_a_new_thread<S: Subject>() {
    for _ in 0..3 {
        let fixture = Fixture::<S>::with_room_for(ROOM);
        let handle = fixture.start();
        fixture.subject.leave_a_mark(&handle).await;
        let before = clock::monotonic();
        assert_eq!(fixture.supervisor.strike(S::NAME, Chaos::Hang(Duration::from_secs(5))), 1);
        // Sent before anyone knows of the hang: waits in the inbox and is answered by the successor.
        assert_eq!(S::ask(&handle).await, Ok(()));
        if clock::monotonic() - before >= Duration::from_secs(2) {
            continue; // The machine stood still meanwhile, or it is slow: that shows again.
        }
        assert!(fixture.subject.finds_the_mark(&handle).await, "the table was forgotten");
        assert_eq!(fixture.status().restarts, 1);
        assert_eq!((fixture.notes.count("hung"), fixture.notes.count("hang")), (1, 1));
        return;
    }
    panic!("never answered within two seconds");
}

async fn reported_and_recovered<S: Subject>() {
    let hang = Duration::from_secs(2);
    for _ in 0..LOOKS {
        let fixture = Fixture::<S>::with_room_for(ROOM);
        let (handle, _worker) = fixture.start_elsewhere();
        fixture.subject.leave_a_mark(&handle).await;
        let before = clock::monotonic();
        assert_eq!(fixture.supervisor.strike(S::NAME, Chaos::Hang(hang)), 1);
        let over = || clock::monotonic() - before > hang;
        until("the hang is reported", || fixture.status().state == ActorState::Hung || over())
            .await;
        let asked = S::ask(&handle).await;
        let told = S::tell(&handle);
        if over() {
            continue; // The machine stood still for as long as it hung; once more.
        }
        assert_eq!(asked, Err(AskError::NotDelivered(Undelivered::Down)));
        assert_eq!(told, Err(Undelivered::Down));
        until("it recovers", || fixture.status().state == ActorState::Running).await;
        assert!(over(), "reported well after {:?}, while it hung", clock::monotonic() - before);
        until("the recovery is told", || fixture.notes.count("recovered") == 1).await;
        assert_eq!(S::ask(&handle).await, Ok(()));
        assert!(fixture.subject.finds_the_mark(&handle).await, "the table was forgotten");
        assert_eq!((fixture.notes.count("hung"), fixture.status().restarts), (1, 0));
        return;
    }
    panic!("it was never caught hanging");
}

/// More letters than there is room for.
pub(crate) async fn full_queue<S: Subject>() {
    for _ in 0..LOOKS {
        let fixture = Fixture::<S>::with_room_for(4);
        let handle = fixture.start();
        S::ask(&handle).await.unwrap();
        // On a thread of its own it would empty its inbox meanwhile, so it is held up.
        let hold = if S::OWN_THREAD { Duration::from_millis(400) } else { Duration::ZERO };
        assert_eq!(fixture.supervisor.strike(S::NAME, Chaos::Hang(hold)), 1);
        until("the fault is taken out", || handle.queue() == 0).await;
        let taken = fixture.status().handled;
        let clones: Vec<_> = (0..10).map(|_| handle.clone()).collect();
        let told: Vec<_> = clones.iter().map(|handle| S::tell(handle)).collect();
        let asked = S::ask(&handle);
        let refused = if S::OWN_THREAD { Some(asked.await) } else { None };
        if fixture.status().handled != taken {
            continue; // It went on before all was sent; once more.
        }
        assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 4);
        assert!(told[4..].iter().all(|told| *told == Err(Undelivered::Full)), "{told:?}");
        let full = Err(AskError::NotDelivered(Undelivered::Full));
        assert_eq!(refused.unwrap_or(full), full, "refused at once, not waited for");
        until("the inbox empties", || handle.queue() == 0).await;
        assert_eq!(S::ask(&handle).await, Ok(()), "later there is room again");
        return;
    }
    panic!("the inbox was never caught full");
}

/// Deaths beyond the restart intensity.
pub(crate) async fn storm<S: Subject>() {
    let back_off = Duration::from_secs(1);
    for _ in 0..LOOKS {
        let mut fixture = Fixture::<S>::with_room_for(ROOM);
        let backoff = Backoff { first: back_off, longest: back_off };
        fixture.spec.policy = RestartPolicy { intensity: 3, backoff, ..RestartPolicy::default() };
        let handle = fixture.start();
        fixture.subject.leave_a_mark(&handle).await;
        let before = clock::monotonic();
        for _ in 0..4 {
            assert_eq!(fixture.supervisor.strike(S::NAME, Chaos::Panic), 1);
        }
        let taken = S::tell(&handle);
        if S::OWN_THREAD && taken == Err(Undelivered::Down) {
            continue; // It backed off before it was told; once more.
        }
        assert_eq!(taken, Ok(()), "taken while it still runs");
        until("it backs off", || fixture.status().state == ActorState::BackingOff).await;
        let asked = S::ask(&handle).await;
        let told = S::tell(&handle);
        fixture.subject.go_around(handle.clone()).await;
        if fixture.status().state != ActorState::BackingOff {
            continue; // It came back before all was asked; once more.
        }
        assert_eq!(asked, Err(AskError::NotDelivered(Undelivered::Down)));
        assert_eq!(told, Err(Undelivered::Down));
        assert_eq!(handle.queue(), 1, "what was taken before waits for the next incarnation");
        until("it comes back", || fixture.status().state == ActorState::Running).await;
        assert!(clock::monotonic() - before >= back_off, "came back too early");
        assert_eq!(S::ask(&handle).await, Ok(()));
        assert!(fixture.subject.finds_the_mark(&handle).await, "the table was forgotten");
        assert_eq!((fixture.status().restarts, fixture.notes.count("panic")), (4, 4));
        return;
    }
    panic!("it was never caught backing off");
}

/// Nobody can send any more.
pub(crate) async fn last_handle_dropped<S: Subject>() {
    let fixture = Fixture::<S>::with_room_for(ROOM);
    let handle = fixture.start();
    let other = handle.clone();
    drop(handle);
    assert_eq!(S::ask(&other).await, Ok(()), "one handle is enough");
    assert_eq!(has_thread(&fixture.thread_name()), S::OWN_THREAD);
    drop(other);
    let finished = || {
        let status = fixture.supervisor.status().pop();
        status.is_none_or(|status| status.state == ActorState::Finished)
    };
    until("it finishes", finished).await;
    until("its thread ends", || !has_thread(&fixture.thread_name())).await;
    until("the table forgets it", || fixture.supervisor.status().is_empty()).await;
    assert_eq!(fixture.supervisor.strike(S::NAME, Chaos::Panic), 0);
    assert_eq!((fixture.notes.count("stop"), fixture.notes.count("panic")), (0, 0));
}

/// Whether a thread of this process is called so.
fn has_thread(name: &str) -> bool {
    std::fs::read_dir("/proc/self/task").expect("Linux tells about threads").any(|thread| {
        let comm = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("comm")));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    })
}
