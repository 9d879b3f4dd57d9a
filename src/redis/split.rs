//! Commands taken apart for the nodes of a cluster, and their answers put together again.
//!
//! Owns: where the keys of a command stand, and what several answers to one command make. Keys of one slot
//! stay in one command, so what has to be seen as of one moment is laid into one slot (`keys::lock_of`).

use std::collections::BTreeMap;

use deadpool_redis::redis::{Arg, Cmd, Value};

use super::slots::slot_of;

/// What one node is asked of one command.
#[derive(Clone)]
pub(super) struct Part {
    /// The place of the command among those that were asked together.
    pub(super) place: usize,
    /// Which of the command's keys these are; `None` for the whole command.
    keys: Option<Vec<usize>>,
    pub(super) slot: u16,
    pub(super) command: Cmd,
}

impl Part {
    /// The whole command, at the node that has this slot.
    pub(super) const fn whole(place: usize, slot: u16, command: Cmd) -> Self {
        Self { place, keys: None, slot, command }
    }
}

/// One part for each slot in which the command has keys; a command without a key goes to the first slot.
pub(super) fn split(place: usize, command: &Cmd) -> Vec<Part> {
    let words: Vec<&[u8]> = command
        .args_iter()
        .map(|word| if let Arg::Simple(word) = word { word } else { &b"0"[..] })
        .collect();
    let (first, count) = keys_of(&words);
    let keys = words.get(first..).unwrap_or_default().iter().take(count);
    let mut slots: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (index, key) in keys.enumerate() {
        slots.entry(slot_of(key)).or_default().push(index);
    }
    if slots.len() < 2 {
        let slot = slots.into_keys().next().unwrap_or_default();
        return vec![Part::whole(place, slot, command.clone())];
    }
    let part = |(slot, keys): (u16, Vec<usize>)| {
        let mut command = Cmd::new();
        for (at, word) in words.iter().enumerate() {
            let index = at.checked_sub(first).filter(|index| *index < count);
            if index.is_some_and(|index| !keys.contains(&index)) {
                continue;
            }
            if at + 1 == first && first > 1 {
                // The number of keys, where the command says it.
                command.arg(keys.len());
            } else {
                command.arg(word);
            }
        }
        Part { place, keys: Some(keys), slot, command }
    };
    slots.into_iter().map(part).collect()
}

/// Where the first key stands, and how many there are.
fn keys_of(words: &[&[u8]]) -> (usize, usize) {
    let [name, rest @ ..] = words else { return (0, 0) };
    let is = |known: &[&[u8]]| known.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is(&[b"MGET", b"UNLINK"]) {
        return (1, rest.len());
    }
    if is(&[b"EVAL", b"EVALSHA"]) {
        let count = rest.get(1).and_then(|count| std::str::from_utf8(count).ok());
        return (3, count.and_then(|count| count.parse().ok()).unwrap_or(0));
    }
    (1, 1)
}

/// The answer to each of so many commands: lists in the order of the keys, numbers added up, and of parts
/// that fail an error.
pub(super) fn join(parts: Vec<(Part, Value)>, commands: usize) -> Vec<Value> {
    let mut answers = vec![Value::Nil; commands];
    for (Part { place, keys, .. }, value) in parts {
        let Some(answer) = answers.get_mut(place) else { continue };
        match (keys, value) {
            (None, value) => *answer = value,
            (Some(_), _) if matches!(answer, Value::ServerError(_)) => {}
            (Some(keys), Value::Array(values)) => {
                for (index, value) in keys.into_iter().zip(values) {
                    put(answer, index, value);
                }
            }
            (Some(_), Value::Int(number)) => {
                let before = if let Value::Int(before) = answer { *before } else { 0 };
                *answer = Value::Int(before.saturating_add(number));
            }
            (Some(_), other) => *answer = other,
        }
    }
    answers
}

fn put(answer: &mut Value, index: usize, value: Value) {
    if !matches!(answer, Value::Array(_)) {
        *answer = Value::Array(Vec::new());
    }
    if let Value::Array(values) = answer {
        let length = values.len().max(index + 1);
        values.resize(length, Value::Nil);
        if let Some(place) = values.get_mut(index) {
            *place = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &str) -> Cmd {
        let mut command = Cmd::new();
        for word in words.split(' ') {
            command.arg(word);
        }
        command
    }

    fn sent(words: &str) -> Vec<String> {
        let parts = split(0, &command(words));
        parts.iter().map(|part| said(&part.command)).collect()
    }

    fn said(command: &Cmd) -> String {
        let words = command.args_iter().map(|word| {
            let Arg::Simple(word) = word else { panic!("a cursor") };
            String::from_utf8(word.to_vec()).unwrap()
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keys_of_one_slot_stay_together() {
        // bar: 5061, foo: 12182, hello: 866.
        for (words, parts) in [
            ("GET foo", &["GET foo"][..]),
            ("SET foo bar NX PX 5", &["SET foo bar NX PX 5"]),
            ("MGET foo {foo}1", &["MGET foo {foo}1"]),
            ("MGET foo bar {foo}1 hello", &["MGET hello", "MGET bar", "MGET foo {foo}1"]),
            ("unlink bar foo", &["unlink bar", "unlink foo"]),
            ("EVAL text 1 foo bar", &["EVAL text 1 foo bar"]),
            (
                "EVAL text 3 foo bar {bar}2 token",
                &["EVAL text 2 bar {bar}2 token", "EVAL text 1 foo token"],
            ),
            ("EVALSHA hash 1 bar 5 6", &["EVALSHA hash 1 bar 5 6"]),
            ("PING", &["PING"]),
        ] {
            assert_eq!(sent(words), parts, "{words}");
        }
    }

    #[test]
    fn answers_come_in_the_order_of_the_keys() {
        let parts = split(1, &command("MGET foo bar {foo}1 hello"));
        let text = |text: &str| Value::BulkString(text.into());
        let answers = [vec![text("hello")], vec![text("bar")], vec![text("foo"), Value::Nil]];
        let parts = parts.into_iter().zip(answers.map(Value::Array)).rev();
        let joined = join(parts.collect(), 2);
        let expected = Value::Array(vec![text("foo"), text("bar"), Value::Nil, text("hello")]);
        assert_eq!(joined, [Value::Nil, expected]);
    }

    #[test]
    fn numbers_are_added_up_and_an_error_wins() {
        let parts = || split(0, &command("UNLINK foo bar hello"));
        let numbers = [1, 0, 1].map(Value::Int);
        assert_eq!(join(parts().into_iter().zip(numbers).collect(), 1), [Value::Int(2)]);
        let error = || deadpool_redis::redis::parse_redis_value(b"-LOADING wait\r\n").unwrap();
        let mixed = [Value::Int(1), error(), Value::Int(1)];
        assert_eq!(join(parts().into_iter().zip(mixed).collect(), 1), [error()]);
    }
}
