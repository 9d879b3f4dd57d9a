//! The kinds of addresses that a setting can be: interfaces, networks, origins, servers.
//!
//! Owns: their form, and what of them people may see. Refuses: whatever could not work later, with
//! a sentence that says why. Opens nothing: whether an address answers is found out elsewhere.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use url::Url;

use super::{Kind, Refusal, quoted};
use crate::config::redact::HIDDEN;

/// Bits before an IPv4 address in IPv6.
const MAPPED_BITS: u8 = 96;

/// The address of a network interface.
pub struct Interface;

impl Kind for Interface {
    type Value = IpAddr;

    fn expected(&self) -> String {
        "an IP address such as 127.0.0.1, 0.0.0.0 or ::1, or localhost".to_owned()
    }

    fn read(&self, text: &str) -> Result<IpAddr, Refusal> {
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        text.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| None)
    }

    fn show(&self, value: &IpAddr) -> Option<String> {
        Some(value.to_string())
    }
}

/// A network, or one address.
pub struct Network;

impl Kind for Network {
    type Value = IpNet;

    fn expected(&self) -> String {
        "networks or addresses such as 10.0.0.0/8 or ::1".to_owned()
    }

    fn read(&self, text: &str) -> Result<IpNet, Refusal> {
        let network = text
            .parse()
            .or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)))
            .map_err(|_| None)?;
        canonical(network)
    }

    fn show(&self, value: &IpNet) -> Option<String> {
        Some(value.to_string())
    }
}

/// IPv4 in IPv6 is IPv4: that is how addresses are compared.
fn canonical(network: IpNet) -> Result<IpNet, Refusal> {
    let mapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().map(|address| (address, v6.prefix_len())),
    };
    let Some((address, length)) = mapped else { return Ok(network.trunc()) };
    let network = length.checked_sub(MAPPED_BITS).and_then(|bits| Ipv4Net::new(address, bits).ok());
    let network = network.ok_or_else(|| {
        Some("an IPv4 network written as IPv6 has a prefix of 96 bits at least".to_owned())
    })?;
    Ok(IpNet::V4(network.trunc()))
}

/// A web origin, as a browser sends it: scheme, host and port, nothing else.
pub struct WebOrigin;

impl Kind for WebOrigin {
    type Value = String;

    fn expected(&self) -> String {
        "origins such as https://chatgpt.com or http://localhost:3000".to_owned()
    }

    fn read(&self, text: &str) -> Result<String, Refusal> {
        if text == "*" {
            return Err(Some("origins are compared exactly, so * would match none".to_owned()));
        }
        let text = text.to_ascii_lowercase();
        let url = Url::parse(&text).map_err(|_| None)?;
        let origin = url.origin().ascii_serialization();
        if url.has_host() && origin == text {
            Ok(origin)
        } else {
            Err(Some("no path, no slash at the end, no standard port".to_owned()))
        }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// The address of a server that is called.
pub struct WebAddress;

impl Kind for WebAddress {
    type Value = String;

    fn expected(&self) -> String {
        "an http or https address such as https://api-sg.aliexpress.com/sync".to_owned()
    }

    fn read(&self, text: &str) -> Result<String, Refusal> {
        let url = Url::parse(text).map_err(|_| None)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(None);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Some("without user name and password".to_owned()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Some("without ? and #".to_owned()));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn quote(&self, text: &str) -> String {
        quoted_address(text)
    }
}

/// An address that could not be read may hold a password anywhere before its last `@`, and in its
/// parameters.
pub fn quoted_address(text: &str) -> String {
    if text.contains(['@', '?']) { HIDDEN.to_owned() } else { quoted(text) }
}
