//! What a command's errors and its time mean, without a Redis.

use super::*;
use deadpool_redis::redis::{ErrorKind, RedisError, Value, parse_redis_value};

const TIMEOUT: Duration = crate::redis::DEFAULT_TIMEOUT;

fn answered(wire: &[u8]) -> Fault {
    match parse_redis_value(wire).and_then(Value::extract_error) {
        Ok(value) => panic!("{value:?} is no error"),
        Err(error) => Fault::from(error),
    }
}

#[test]
fn an_error_answer_is_told_by_its_code() {
    let cases: [(&[u8], u8); 4] = [
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", 1),
        (b"-READONLY You can't write against a read only replica.\r\n", 1),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", 0),
        (b"-LOADING Redis is loading the dataset in memory\r\n", 2),
    ];
    for (wire, weight) in cases {
        let fault = answered(wire);
        assert_eq!(fault.weight(), weight, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_never_answers_is_late() {
    let time = Time { since: clock::monotonic(), timeout: TIMEOUT };
    let never = std::future::pending::<Result<(), Fault>>();
    assert_eq!(in_time(never, time).await, Err(Fault::TooLate));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_not_read_yet_is_looked_for_once_more() {
    let started = clock::monotonic();
    let time = Time { since: started, timeout: TIMEOUT };
    // The answer is there, but who reads it has its turn only after the look.
    let mut looks = 0;
    let unread = std::future::poll_fn(|_| {
        looks += 1;
        if looks > 2 { std::task::Poll::Ready(Ok(())) } else { std::task::Poll::Pending }
    });
    assert_eq!(in_time(unread, time).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_busy_meanwhile_blames_nobody() {
    let started = clock::monotonic();
    let time = Time { since: started, timeout: TIMEOUT };
    let never = std::future::pending::<Result<(), Fault>>();
    let busy = async {
        tokio::time::sleep(LOOK_UP / 2).await;
        // Time goes by, and nobody looks.
        tokio::time::advance(LOOK_UP + HELD_UP).await;
    };
    let (answer, ()) = futures_util::future::join(in_time(never, time), busy).await;
    assert_eq!(answer, Err(Fault::OwnDelay));
    assert!(clock::monotonic() > time.until(), "what it was busy for is given back");
}

#[test]
fn what_is_no_answer_is_a_failure() {
    let error = RedisError::from((ErrorKind::Io, "broken"));
    assert!(matches!(Fault::from(error), Fault::Broken(_)));
    let late = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    assert_eq!(Fault::from(late), Fault::TooLate);
}
