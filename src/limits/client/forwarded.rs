//! The grammar of `Forwarded` (RFC 7239), read from the right.
//!
//! Owns: splitting a line into its elements backwards, so that an unbalanced quote on the left,
//! where a stranger writes, cannot swallow what a proxy appended; and the address in an element.
//! Refuses: an element without exactly one `for`, an `unknown` or obfuscated node, anything that
//! is not in the grammar. Unquoted IPv6 and ports, which common proxies write, are accepted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The hops of one line, last first; `None` for one that names no address.
pub(super) fn hops(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let (left, element) = split_last(rest?);
        rest = left;
        Some(element.trim_ascii())
    })
    .filter(|element| !element.is_empty())
    .map(element_address)
}

/// The part left of the last comma outside quotes, if there is one, and the part right of it.
fn split_last(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    for (index, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' if !(quoted && is_escaped(line, index)) => quoted = !quoted,
            b',' if !quoted => {
                let (left, right) = line.split_at_checked(index).unwrap_or((line, &[]));
                return (Some(left), right.split_first().map_or(right, |(_, element)| element));
            }
            _ => {}
        }
    }
    (None, line)
}

/// Whether an odd number of backslashes stands before `index`.
fn is_escaped(line: &[u8], index: usize) -> bool {
    let before = line.iter().take(index).rev();
    before.take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The address after `for=`; the other parameters must only be well formed.
fn element_address(element: &[u8]) -> Option<IpAddr> {
    let mut node = None;
    let mut rest = element;
    while !rest.is_empty() {
        let (name, value, after) = parameter(rest)?;
        if name.eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
            return None;
        }
        rest = after;
    }
    node_address(node?)
}

/// One `name=value` or `name="value"`, and what follows its semicolon.
fn parameter(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = text.split_at_checked(equals)?;
    let name = name.trim_ascii_start();
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return None;
    }
    let value = value.get(1..)?;
    let (value, after) = match value.strip_prefix(b"\"") {
        Some(quoted) => {
            let end = quoted.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            // No address needs an escape, so whoever writes one is not understood.
            let (value, after) = quoted.split_at_checked(end)?;
            (value, after.strip_prefix(b"\"")?)
        }
        None => {
            let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
            let (value, after) = value.split_at_checked(end)?;
            (value.trim_ascii_end(), after)
        }
    };
    match after.trim_ascii_start().split_first() {
        None => Some((name, value, &[])),
        Some((b';', after)) => Some((name, value, after)),
        Some(_) => None,
    }
}

/// The token characters of RFC 9110.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or
/// `[2001:db8::1]:80`; IPv4 in IPv6 comes out as IPv4.
pub(super) fn node_address(node: &[u8]) -> Option<IpAddr> {
    let node = str::from_utf8(node).ok()?;
    let address = if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = node.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = node.split_once(':')?;
        if !is_port(port) {
            return None;
        }
        IpAddr::V4(address.parse::<Ipv4Addr>().ok()?)
    };
    Some(address.to_canonical())
}

/// One to five digits, or an obfuscated port: an underscore and a name.
fn is_port(port: &str) -> bool {
    if let Some(name) = port.strip_prefix('_') {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        return !name.is_empty() && name.bytes().all(allowed);
    }
    (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<Option<String>> {
        let hops = hops(line.as_bytes());
        hops.map(|hop| hop.map(|address| address.to_string())).collect()
    }

    fn one(line: &str) -> Option<String> {
        let read = read(line);
        assert_eq!(read.len(), 1, "{line}");
        read.into_iter().next().flatten()
    }

    #[test]
    fn the_examples_of_the_standard() {
        let is = |line: &str, address: &str| assert_eq!(one(line).as_deref(), Some(address));
        is("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17");
        is("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60");
        is("for=192.0.2.43", "192.0.2.43");
        assert_eq!(one("for=\"_gazonk\""), None);
        assert_eq!(one("for=unknown"), None);
        assert_eq!(one("for=_SEVKISEK"), None);
        assert_eq!(
            read("for=192.0.2.43, for=198.51.100.17"),
            [Some("198.51.100.17".to_owned()), Some("192.0.2.43".to_owned())]
        );
    }

    #[test]
    fn spaces_ports_and_case_do_not_matter() {
        for line in [
            "FOR=192.0.2.1",
            " for=192.0.2.1 ",
            "proto=https ; for=192.0.2.1",
            "proto=https;for=\"192.0.2.1\";host=\"a,b;c\"",
            "for=192.0.2.1:80",
            "for=\"192.0.2.1:_hidden\"",
            "for=\"::ffff:192.0.2.1\"",
            ",, for=192.0.2.1,",
        ] {
            assert_eq!(one(line).as_deref(), Some("192.0.2.1"), "{line}");
        }
    }

    #[test]
    fn what_is_not_in_the_grammar_names_nobody() {
        for line in [
            "for",
            "for=",
            "for=\"",
            "for=\"192.0.2.1",
            "192.0.2.1",
            "by=192.0.2.1",
            "for=192.0.2.1;for=192.0.2.2",
            "for=\"192.0.2.1\"x",
            "for=\"192\\.0.2.1\"",
            "fo r=192.0.2.1",
            "=192.0.2.1",
            "for=192.0.2.1:",
            "for=192.0.2.1:123456",
            "for=192.0.2.1:+80",
            "for=[2001:db8::1",
            "for=\"[2001:db8::1]80\"",
            "for=\"[192.0.2.1]\"",
            "for=\"fe80::1%eth0\"",
            "for=192.0.2.256",
            "for=0300.0.2.1",
            "for=\u{661}92.0.2.1",
        ] {
            assert_eq!(one(line), None, "{line}");
        }
    }

    #[test]
    fn an_open_quote_on_the_left_swallows_nothing_on_the_right() {
        let read = read("for=\"evil, for=203.0.113.9, for=\"[2001:db8::1]:1\"");
        assert_eq!(read.first().cloned().flatten().as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn a_comma_inside_quotes_separates_nothing() {
        let read = read("for=192.0.2.1;host=\"a\\\", b\", for=192.0.2.2");
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].as_deref(), Some("192.0.2.2"));
    }
}
