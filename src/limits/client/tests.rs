//! The walk: what is believed, where it stops, and what cannot be forged; and principals.

use proptest::prelude::*;

use super::*;

const PROXIES: [&str; 3] = ["10.0.0.0/8", "192.168.1.1/32", "fd00::/8"];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trusted() -> Vec<IpNet> {
    PROXIES.iter().map(|network| network.parse().unwrap()).collect()
}

fn located(peer: &str, forwarded: &[&str], x_forwarded_for: &[&str]) -> ClientAddress {
    let headers = ForwardingHeaders {
        forwarded: forwarded.iter().map(|line| line.as_bytes()).collect(),
        x_forwarded_for: x_forwarded_for.iter().map(|line| line.as_bytes()).collect(),
    };
    client_address(address(peer), &headers, &trusted())
}

/// The address a request is counted under.
fn client(peer: &str, forwarded: &[&str], x_forwarded_for: &[&str]) -> String {
    located(peer, forwarded, x_forwarded_for).counted.to_string()
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

#[test]
fn what_is_named_in_doubt_is_told_and_nothing_else_is_in_doubt() {
    for (forwarded, plain, suspects) in [
        // A proxy that writes X-Forwarded-For and passes Forwarded on, and the other way round.
        (vec!["for=x"], vec!["203.0.113.7"], vec!["203.0.113.7"]),
        (vec!["for=198.51.100.1"], vec!["203.0.113.7"], vec!["198.51.100.1", "203.0.113.7"]),
        (vec!["for=10.0.0.9"], vec!["1.1.1.1, 203.0.113.7"], vec!["10.0.0.9", "203.0.113.7"]),
        (vec!["for=203.0.113.7"], vec!["rubbish"], vec!["203.0.113.7"]),
        // Lines of the client's before and after the one that the proxy wrote.
        (vec!["for=x", "for=y"], vec!["1.1.1.1", "203.0.113.7"], vec!["203.0.113.7"]),
        // The proxy itself names nobody.
        (vec!["for=unknown"], vec![], vec![]),
        (vec![], vec!["203.0.113.7, rubbish"], vec![]),
    ] {
        let located = located("10.0.0.1", &forwarded, &plain);
        assert_eq!((located.counted, located.is_sure()), (address("10.0.0.1"), false));
        let told: Vec<_> = located.suspects().map(|one| one.to_string()).collect();
        assert_eq!(told, suspects, "{forwarded:?} {plain:?}");
    }
    for (peer, forwarded, plain) in [
        ("203.0.113.7", vec!["for=x"], vec!["rubbish"]),
        ("10.0.0.1", vec![], vec![]),
        ("10.0.0.1", vec![], vec!["rubbish, 203.0.113.7"]),
        ("10.0.0.1", vec!["for=203.0.113.7"], vec!["203.0.113.7"]),
        ("10.0.0.1", vec![], vec!["10.0.0.3"]),
    ] {
        let located = located(peer, &forwarded, &plain);
        assert!(
            located.is_sure() && located.suspects().next().is_none(),
            "{forwarded:?} {plain:?}"
        );
    }
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
        prop_assert_eq!(client_address(stranger, &headers, &trusted()), ClientAddress::sure(stranger));
        let behind_a_proxy = client_address(address("10.0.0.1"), &headers, &trusted()).counted;
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
        let real = IpAddr::V4(real);
        prop_assert_eq!(client_address(peer, &by_forwarded, &trusted()), ClientAddress::sure(real));
        let by_plain = headers(&[], &plain);
        prop_assert_eq!(client_address(peer, &by_plain, &trusted()), ClientAddress::sure(real));
        // With a header the proxy does not know, only the peer itself is left to be counted; the
        // client is among the suspects all the same.
        let mixed = client_address(peer, &headers(&forged, &plain), &trusted());
        prop_assert!(mixed == ClientAddress::sure(real)
            || mixed.counted == peer && mixed.suspects().any(|one| one == real), "{:?}", mixed);
    }
}

fn of(address: &str, prefix: u8) -> String {
    Principal::of_address(address.parse().unwrap(), prefix).to_string()
}

#[test]
fn ipv6_is_cut_to_its_prefix_and_ipv4_is_not() {
    assert_eq!(of("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::/64");
    assert_eq!(of("2001:db8:1:2:3:4:5:6", 56), "2001:db8:1::/56");
    assert_eq!(of("2001:db8::1", 128), "2001:db8::1/128");
    assert_eq!(of("2001:db8::1", 0), "::/0");
    assert_eq!(of("2001:db8::1", 200), "2001:db8::1/128");
    assert_eq!(of("203.0.113.7", 1), "203.0.113.7");
    assert_eq!(of("::ffff:203.0.113.7", 64), "203.0.113.7");
}

#[test]
fn names_are_fit_for_logs() {
    assert_eq!(Principal::Key(KeyId::INTERNAL).to_string(), "key:internal");
    assert_eq!(Principal::Key(KeyId::new(17)).to_string(), "key:000000000011");
}

#[test]
fn a_keys_id_is_read_back_and_nothing_else_is_one() {
    for id in [KeyId::INTERNAL, KeyId::new(1), KeyId::new(u64::MAX)] {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    for text in ["", "1", "000000000000", "0000000000G1", "0000000000A1", "+00000000001"] {
        assert_eq!(text.parse::<KeyId>(), Err(NotAKeyId), "{text}");
    }
}

#[test]
fn a_stable_number_never_changes() {
    let numbers = [Principal::Key(KeyId::new(17)), at([203, 0, 113, 7])];
    assert_eq!(numbers.map(|one| one.stable_number()), [420_231_896, 675_834_639]);
}

#[test]
fn neighbours_are_spread_evenly_over_a_rollout() {
    let all = (0..10_000_u16).map(|n| at([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]));
    let mut places = [0; 100];
    all.for_each(|one| places[usize::try_from(one.stable_number() % 100).unwrap()] += 1);
    assert!(places.iter().all(|count| (50..=150).contains(count)), "{places:?}");
}

fn at(octets: [u8; 4]) -> Principal {
    Principal::of_address(Ipv4Addr::from(octets).into(), 64)
}

#[test]
fn a_principal_is_small() {
    assert!(size_of::<Principal>() <= 24);
}

proptest! {
    #[test]
    fn all_addresses_of_a_prefix_are_one(bits: u128, other: u128, prefix in 1..=128_u8) {
        let mask = u128::MAX << (128 - u32::from(prefix));
        let first = Ipv6Addr::from_bits(bits);
        let second = Ipv6Addr::from_bits((bits & mask) | (other & !mask));
        prop_assume!(first.to_ipv4_mapped().is_none() && second.to_ipv4_mapped().is_none());
        prop_assert_eq!(
            Network::of(IpAddr::V6(first), prefix),
            Network::of(IpAddr::V6(second), prefix)
        );
    }
}
