//! The walk: what is believed, where it stops, and what cannot be forged.

use proptest::prelude::*;

use super::*;

const PROXIES: [&str; 3] = ["10.0.0.0/8", "192.168.1.1/32", "fd00::/8"];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trusted() -> Vec<IpNet> {
    PROXIES.iter().map(|network| network.parse().unwrap()).collect()
}

fn client(peer: &str, forwarded: &[&str], x_forwarded_for: &[&str]) -> String {
    let headers = ForwardingHeaders {
        forwarded: forwarded.iter().map(|line| line.as_bytes()).collect(),
        x_forwarded_for: x_forwarded_for.iter().map(|line| line.as_bytes()).collect(),
    };
    client_address(address(peer), &headers, &trusted()).to_string()
}

#[test]
fn a_stranger_is_itself_whatever_it_sends() {
    assert_eq!(client("203.0.113.7", &[], &["198.51.100.1"]), "203.0.113.7");
    assert_eq!(client("203.0.113.7", &["for=198.51.100.1"], &[]), "203.0.113.7");
    assert_eq!(client("203.0.113.7", &[], &["10.0.0.1, 10.0.0.2"]), "203.0.113.7");
    assert_eq!(client("2001:db8::7", &["for=10.0.0.1"], &["10.0.0.1"]), "2001:db8::7");
}

#[test]
fn without_headers_the_proxy_is_the_client() {
    assert_eq!(client("10.0.0.1", &[], &[]), "10.0.0.1");
    assert_eq!(client("10.0.0.1", &[""], &["", " , "]), "10.0.0.1");
}

#[test]
fn the_walk_stops_at_the_first_hop_that_is_not_ours() {
    assert_eq!(client("10.0.0.1", &[], &["203.0.113.7"]), "203.0.113.7");
    assert_eq!(client("10.0.0.1", &[], &["198.51.100.1, 203.0.113.7"]), "203.0.113.7");
    assert_eq!(client("10.0.0.1", &[], &["198.51.100.1, 203.0.113.7, 10.9.9.9"]), "203.0.113.7");
    assert_eq!(
        client("10.0.0.1", &["for=198.51.100.1, for=203.0.113.7, for=10.2.3.4"], &[]),
        "203.0.113.7"
    );
    assert_eq!(client("fd00::1", &[], &["203.0.113.7, fd00::2, 192.168.1.1"]), "203.0.113.7");
}

#[test]
fn where_all_are_ours_the_farthest_is_the_client() {
    assert_eq!(client("10.0.0.1", &[], &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    assert_eq!(client("10.0.0.1", &["for=10.0.0.3"], &[]), "10.0.0.3");
}

#[test]
fn lines_are_read_as_one_list() {
    assert_eq!(
        client("10.0.0.1", &[], &["198.51.100.1", "203.0.113.7", "10.0.0.2"]),
        "203.0.113.7"
    );
    assert_eq!(client("10.0.0.1", &["for=203.0.113.7", "for=10.0.0.2"], &[]), "203.0.113.7");
}

#[test]
fn a_malformed_hop_means_the_peer_unless_nobody_needs_to_read_it() {
    assert_eq!(client("10.0.0.1", &[], &["203.0.113.7, rubbish"]), "10.0.0.1");
    assert_eq!(client("10.0.0.1", &[], &["rubbish, 203.0.113.7"]), "203.0.113.7");
    assert_eq!(client("10.0.0.1", &[], &["rubbish, 10.0.0.2"]), "10.0.0.1");
    assert_eq!(client("10.0.0.1", &["for=unknown"], &[]), "10.0.0.1");
    assert_eq!(client("10.0.0.1", &["for=_hidden, for=10.0.0.2"], &[]), "10.0.0.1");
}

#[test]
fn addresses_come_out_in_one_form() {
    assert_eq!(client("::ffff:10.0.0.1", &[], &["::ffff:203.0.113.7"]), "203.0.113.7");
    assert_eq!(client("::ffff:203.0.113.9", &[], &["198.51.100.1"]), "203.0.113.9");
    assert_eq!(client("10.0.0.1", &[], &["[2001:DB8::7]:443"]), "2001:db8::7");
    assert_eq!(client("10.0.0.1", &[], &["203.0.113.7:5000"]), "203.0.113.7");
    assert_eq!(client("10.0.0.1", &[], &["203.0.113.7, ::ffff:10.0.0.2"]), "203.0.113.7");
}

#[test]
fn two_headers_are_believed_only_when_they_agree() {
    let agreed = client("10.0.0.1", &["for=\"203.0.113.7:1\""], &["203.0.113.7, 10.0.0.2"]);
    assert_eq!(agreed, "203.0.113.7");
    // The proxy wrote one of them; which one, it does not say.
    assert_eq!(client("10.0.0.1", &["for=198.51.100.1"], &["203.0.113.7"]), "10.0.0.1");
    assert_eq!(client("10.0.0.1", &["rubbish"], &["203.0.113.7"]), "10.0.0.1");
    assert_eq!(client("10.0.0.1", &["for=203.0.113.7"], &["rubbish"]), "10.0.0.1");
}

fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "(for=|by=|\"|\\\\|,|;|\\[|\\]|:|_|=| |unknown|10\\.0\\.0\\.1|203\\.0\\.113\\.9|fd00::1)"
            .prop_map(String::into_bytes),
    ];
    let line = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    prop::collection::vec(line, 0..4)
}

fn headers<'a>(forwarded: &'a [Vec<u8>], plain: &'a [Vec<u8>]) -> ForwardingHeaders<'a> {
    ForwardingHeaders {
        forwarded: forwarded.iter().map(Vec::as_slice).collect(),
        x_forwarded_for: plain.iter().map(Vec::as_slice).collect(),
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_strangers_gain_nothing(
        forwarded in lines(),
        plain in lines(),
        peer: u32,
    ) {
        let headers = headers(&forwarded, &plain);
        let stranger = IpAddr::V4(std::net::Ipv4Addr::from_bits(peer));
        prop_assume!(!is_trusted(stranger, &trusted()));
        prop_assert_eq!(client_address(stranger, &headers, &trusted()), stranger);
        let behind_a_proxy = client_address(address("10.0.0.1"), &headers, &trusted());
        prop_assert_eq!(behind_a_proxy, behind_a_proxy.to_canonical());
    }

    #[test]
    fn nothing_a_client_writes_hides_what_the_proxy_appends(
        forged in lines(),
        real: u32,
        appended_to_the_line: bool,
    ) {
        let real = std::net::Ipv4Addr::from_bits(real);
        prop_assume!(!is_trusted(IpAddr::V4(real), &trusted()));
        let append = |element: String| {
            let mut lines = forged.clone();
            match lines.last_mut() {
                Some(line) if appended_to_the_line => {
                    line.extend_from_slice(b", ");
                    line.extend_from_slice(element.as_bytes());
                }
                Some(_) | None => lines.push(element.into_bytes()),
            }
            lines
        };
        let (quoted, plain) = (append(format!("for=\"{real}:99\"")), append(real.to_string()));
        let peer = address("10.0.0.1");
        let by_forwarded = headers(&quoted, &[]);
        prop_assert_eq!(client_address(peer, &by_forwarded, &trusted()), IpAddr::V4(real));
        let by_plain = headers(&[], &plain);
        prop_assert_eq!(client_address(peer, &by_plain, &trusted()), IpAddr::V4(real));
        // With a header the proxy does not know, only the peer itself is left to be counted.
        let mut mixed = forged.clone();
        mixed.push(b"for=198.51.100.1".to_vec());
        let mixed = headers(&mixed, &plain);
        let counted = client_address(peer, &mixed, &trusted());
        prop_assert!(counted == peer || counted == IpAddr::V4(real));
    }
}
