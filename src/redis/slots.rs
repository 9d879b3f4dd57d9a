//! Slots of a cluster: which key lies in which, and which node has it.
//!
//! Owns: the hash of a key's name, the map from slots to nodes, and reading both the cluster's own map and
//! its redirections. Pure: time and connections are elsewhere. What a node says that makes no sense is
//! nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use deadpool_redis::redis::{ServerError, Value, from_redis_value};

/// How many slots there are (Redis Cluster specification).
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: by what is between the first braces, if anything is.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
}

fn tag(key: &[u8]) -> &[u8] {
    let mut parts = key.splitn(2, |byte| *byte == b'{');
    let inner = parts.nth(1).and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..end)
    });
    inner.filter(|inner| !inner.is_empty()).unwrap_or(key)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// A server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

impl Node {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Which primary has which slot.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Slots {
    /// First and last slot of each range, in order.
    ranges: Vec<(u16, u16, Node)>,
    /// What redirections said since.
    moved: HashMap<u16, Node>,
}

impl Slots {
    /// The map in the answer of the node at `asked` to `CLUSTER SLOTS`.
    pub(super) fn read(answer: Value, asked: &Node) -> Option<Self> {
        let rows: Vec<Vec<Value>> = from_redis_value(answer).ok()?;
        let mut ranges: Vec<_> = rows.iter().filter_map(|row| range(row, asked)).collect();
        ranges.sort_unstable();
        (!ranges.is_empty()).then(|| Self { ranges, moved: HashMap::new() })
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Node> {
        if let Some(node) = self.moved.get(&slot) {
            return Some(node);
        }
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, node) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(node)
    }

    pub(super) fn learn(&mut self, slot: u16, node: Node) {
        self.moved.insert(slot, node);
    }

    pub(super) fn nodes(&self) -> BTreeSet<&Node> {
        self.ranges.iter().map(|(.., node)| node).chain(self.moved.values()).collect()
    }

    /// For each node a key that it has, of those that `name` gives to numbers.
    pub(super) fn a_key_each(&self, name: impl Fn(u32) -> String) -> Vec<(Node, String)> {
        let mut wanted = self.nodes();
        let mut keys = Vec::with_capacity(wanted.len());
        for number in 0..u32::from(SLOTS) * 4 {
            if wanted.is_empty() {
                break;
            }
            let key = name(number);
            let owner = self.owner(slot_of(key.as_bytes()));
            if let Some(node) = owner.and_then(|owner| wanted.take(owner)) {
                keys.push((node.clone(), key));
            }
        }
        keys
    }
}

/// First slot, last slot, and the primary: host (empty or `?` for the one that was asked), port, and more.
fn range(row: &[Value], asked: &Node) -> Option<(u16, u16, Node)> {
    let [first, last, primary, ..] = row else { return None };
    let number = |value: &Value| from_redis_value::<u16>(value.clone()).ok();
    let fields: Vec<Value> = from_redis_value(primary.clone()).ok()?;
    let [host, port, ..] = fields.as_slice() else { return None };
    let host: Option<String> = from_redis_value(host.clone()).ok()?;
    let host = host.filter(|host| !host.is_empty() && host != "?");
    let node = Node::new(host.as_deref().unwrap_or(&asked.host), number(port)?);
    Some((number(first)?, number(last)?.min(SLOTS - 1), node))
}

/// Where a node sends a command on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// For good.
    Moved { slot: u16, to: Node },
    /// This once: the slot is on its way.
    Ask { to: Node },
}

impl Redirect {
    /// The redirection in an error answer of the node at `asked`.
    pub(super) fn read(error: &ServerError, asked: &Node) -> Option<Self> {
        let moved = match error.code() {
            "MOVED" => true,
            "ASK" => false,
            _ => return None,
        };
        let (slot, address) = error.details()?.split_once(' ')?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() || host == "?" { &asked.host } else { host };
        let to = Node::new(host, port.parse().ok()?);
        let slot = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
        Some(if moved { Self::Moved { slot, to } } else { Self::Ask { to } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadpool_redis::redis::parse_redis_value;

    /// As `CLUSTER KEYSLOT` of Redis 7 says.
    #[test]
    fn a_key_has_the_slot_that_redis_gives_it() {
        for (key, slot) in [
            ("", 0),
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("x{foo}{bar}", 12_182),
            ("bar", 5_061),
            ("foo{}bar", 14_292),
            ("foo{bar", 15_278),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
    }

    fn node(port: u16) -> Node {
        Node::new("10.0.0.1", port)
    }

    fn slots() -> Slots {
        let answer = b"*3\r\n*3\r\n:10\r\n:20\r\n*3\r\n$8\r\n10.0.0.1\r\n:2\r\n$1\r\nb\r\n\
            *3\r\n:0\r\n:9\r\n*2\r\n$0\r\n\r\n:1\r\n*4\r\n:22\r\n:16383\r\n*2\r\n$-1\r\n:3\r\n\
            *2\r\n$1\r\nr\r\n:4\r\n";
        Slots::read(parse_redis_value(answer).unwrap(), &node(7)).unwrap()
    }

    #[test]
    fn the_map_of_a_cluster_is_read() {
        let mut slots = slots();
        let owner = |slots: &Slots, slot| slots.owner(slot).map(|node| node.port);
        for (slot, port) in [
            (0, Some(1)),
            (9, Some(1)),
            (10, Some(2)),
            (20, Some(2)),
            (21, None),
            (16_383, Some(3)),
        ] {
            assert_eq!(owner(&slots, slot), port, "{slot}");
        }
        slots.learn(9, node(4));
        assert_eq!((owner(&slots, 9), owner(&slots, 8)), (Some(4), Some(1)));
        assert_eq!(slots.nodes().len(), 4);
        for nonsense in [&b"*0\r\n"[..], b"+OK\r\n", b"*1\r\n*1\r\n:1\r\n", b":7\r\n"] {
            assert_eq!(Slots::read(parse_redis_value(nonsense).unwrap(), &node(7)), None);
        }
    }

    #[test]
    fn every_node_gets_a_key_of_its_own() {
        let slots = slots();
        let keys = slots.a_key_each(|number| format!("alive:{number}"));
        assert_eq!(keys.len(), 3);
        for (node, key) in keys {
            assert_eq!(slots.owner(slot_of(key.as_bytes())), Some(&node));
        }
    }

    #[test]
    fn a_redirection_is_read_and_nonsense_is_none() {
        let read = |wire: &str| {
            let value = parse_redis_value(wire.as_bytes()).unwrap();
            let Value::ServerError(error) = value else { panic!("{value:?} is no error") };
            Redirect::read(&error, &node(7))
        };
        let moved = |slot, to| Some(Redirect::Moved { slot, to });
        assert_eq!(read("-MOVED 866 10.0.0.2:1\r\n"), moved(866, Node::new("10.0.0.2", 1)));
        assert_eq!(read("-MOVED 866 :1\r\n"), moved(866, node(1)));
        assert_eq!(read("-MOVED 866 [::1]:1\r\n"), moved(866, Node::new("::1", 1)));
        assert_eq!(
            read("-ASK 866 10.0.0.2:1\r\n"),
            Some(Redirect::Ask { to: Node::new("10.0.0.2", 1) })
        );
        for nonsense in ["-MOVED\r\n", "-MOVED x y\r\n", "-MOVED 99999 h:1\r\n", "-ERR no\r\n"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
