//! The settings of limits, of abuse, and of how a client is told apart.
//!
//! Owns: their declaration. Every 0 means no bound.

use std::num::NonZeroU32;

use ipnet::IpNet;

use crate::config::Section;
use crate::config::kinds::{Choice, List, NETWORK, Optional, SWITCH, Whole};
use crate::settings;

/// More than any client asks for; beyond it a figure is a slip of the hand.
const COUNT: Whole<u32> = Whole(0, 1_000_000_000);
/// With more, a share of most limits would be a single request.
const MOST_INSTANCES: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
const INSTANCES: NonZeroU32 = NonZeroU32::new(2).unwrap();

const HEADERS: Choice<AddressHeader> = Choice(&[
    ("forwarded", AddressHeader::Forwarded),
    ("x-forwarded-for", AddressHeader::XForwardedFor),
    ("both", AddressHeader::Both),
]);
const MODES: Choice<AbuseMode> =
    Choice(&[("on", AbuseMode::On), ("shadow", AbuseMode::Shadow), ("off", AbuseMode::Off)]);

settings! {
    pub struct Limits in "limits" {
        enabled: bool = true, "RATE_LIMIT_ENABLED", "enabled", SWITCH, "limits clients at all", live();
        per_second: u32 = 5, "MAX_REQUESTS_PER_SECOND", "per_second", COUNT,
            "per address, on routes without limits of their own; 0: any", live();
        burst: u32 = 10, "RATE_LIMIT_BURST", "burst", COUNT,
            "requests that may come at once, on the same routes; 0: any", live();
        per_minute: u32 = 60, "MAX_REQUESTS_PER_MINUTE", "per_minute", COUNT,
            "per address, on the same routes; 0: any", live();
        search_per_minute: u32 = 100, "RATE_LIMIT_SEARCH_PER_MINUTE", "search_per_minute", COUNT,
            "searches per address; 0: any", live();
        search_burst: u32 = 150, "RATE_LIMIT_SEARCH_BURST", "search_burst", COUNT,
            "searches that may come at once; 0: any", live();
        search_per_key_per_minute: u32 = 1_000, "RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE",
            "search_per_key_per_minute", COUNT, "searches per client key; 0: any", live();
        instances: NonZeroU32 = INSTANCES, "RATE_LIMIT_INSTANCES", "instances",
            Whole(NonZeroU32::MIN, MOST_INSTANCES),
            "instances that share limits and the upstream's pace and budget through Redis; while Redis is away each takes one of so many parts of them, rounded up";
        trusted_proxies: Vec<IpNet> = Vec::new(), "TRUSTED_PROXIES", "trusted_proxies",
            List(NETWORK), "peers whose forwarding headers are believed";
        client_address_header: AddressHeader = AddressHeader::Both, "CLIENT_ADDRESS_HEADER",
            "client_address_header", HEADERS,
            "the header in which those peers name the client; the other one is not read then";
        ipv6_prefix: u8 = 64, "IPV6_PREFIX", "ipv6_prefix", Whole(1, 128),
            "bits of an IPv6 address that count as one client";
        abuse_detection: Option<AbuseMode> = None, "ABUSE_DETECTION", "abuse_detection",
            Optional(MODES), "throttles clients that repeat, count up or scan; shadow only logs and counts",
            words("on, or off with RATE_LIMIT_ENABLED=false"), live();
    }
}

/// Networks with fewer bits are more than anybody has proxies in.
const NARROWEST: u8 = 8;

impl Section for Limits {
    fn caution(&self) -> Option<String> {
        let wide = self.trusted_proxies.iter().find(|network| network.prefix_len() < NARROWEST)?;
        Some(format!(
            "TRUSTED_PROXIES holds {wide}: whoever connects from there may say that it is somebody else"
        ))
    }
}

impl Limits {
    /// Who wants no limits on clients does not want them throttled either, unless it is set.
    #[must_use]
    pub fn abuse_mode(&self) -> AbuseMode {
        let unset = if self.enabled { AbuseMode::On } else { AbuseMode::Off };
        self.abuse_detection.unwrap_or(unset)
    }
}

/// The header in which our proxies name the client. The other one is the client's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressHeader {
    Forwarded,
    XForwardedFor,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbuseMode {
    /// Abusive clients are throttled, logged and counted.
    On,
    /// Logged and counted only.
    Shadow,
    /// Nobody is watched.
    Off,
}

impl AbuseMode {
    /// To be kept in an atomic.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::On => 0,
            Self::Shadow => 1,
            Self::Off => 2,
        }
    }

    pub(super) const fn numbered(number: u8) -> Self {
        match number {
            0 => Self::On,
            1 => Self::Shadow,
            _ => Self::Off,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_trusts_half_the_internet_is_told() {
        let caution = |networks: &[&str]| {
            let trusted_proxies = networks.iter().map(|text| text.parse().unwrap()).collect();
            Limits { trusted_proxies, ..Limits::default() }.caution()
        };
        assert_eq!(caution(&["10.0.0.0/8", "fd00::/8"]), None);
        for wide in ["0.0.0.0/0", "0.0.0.0/7", "::/0"] {
            let said = caution(&["10.0.0.0/8", wide]).unwrap();
            assert!(said.contains(&format!("TRUSTED_PROXIES holds {wide}")), "{said}");
        }
    }
}
