//! Declarations: keys and limits on clients. Owns no logic and refuses nothing; see the parent.

use std::num::NonZeroU32;

use super::{Declaration, setting};
use crate::config::addresses::Network;
use crate::config::kinds::{Detection, Kind, Limit, NamingHeader, Switch, Whole};
use crate::config::texts::{List, Optional, SecretWord};

/// More than any client asks for; beyond it a figure is a slip of the hand.
const COUNT: Limit<u32> = Limit(1_000_000_000);

/// With more, a share of most limits would be a single request.
const MOST_INSTANCES: NonZeroU32 = NonZeroU32::new(1_000).unwrap();

pub(super) const SETTINGS: &[Declaration] = &[
    setting!("ADMIN_API_KEY", "access", "admin_key", in settings.access.admin_key,
        Optional(SecretWord), "opens the admin endpoints; without it they are closed"),
    setting!("INTERNAL_API_KEY", "access", "internal_key", in settings.access.internal_key,
        Optional(SecretWord), "a client key; more of them through the admin endpoints"),
    setting!("REQUIRE_API_KEY", "access", "require_key", in settings.access.require_key, Switch,
        "refuses clients without a key"),
    setting!("RATE_LIMIT_ENABLED", "limits", "enabled", in settings.limits.enabled, Switch,
        "limits clients at all"),
    setting!("MAX_REQUESTS_PER_SECOND", "limits", "per_second", in settings.limits.per_second,
        COUNT, "per address, on routes without limits of their own"),
    setting!("RATE_LIMIT_BURST", "limits", "burst", in settings.limits.burst, COUNT,
        "requests that may come at once, on the same routes"),
    setting!("MAX_REQUESTS_PER_MINUTE", "limits", "per_minute", in settings.limits.per_minute,
        COUNT, "per address, on the same routes"),
    setting!("RATE_LIMIT_SEARCH_PER_MINUTE", "limits", "search_per_minute",
        in settings.limits.search_per_minute, COUNT, "searches per address"),
    setting!("RATE_LIMIT_SEARCH_BURST", "limits", "search_burst", in settings.limits.search_burst,
        COUNT, "searches that may come at once"),
    setting!("RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE", "limits", "search_per_key_per_minute",
        in settings.limits.search_per_key_per_minute, COUNT, "searches per client key"),
    setting!("RATE_LIMIT_SHARED", "limits", "shared", in settings.limits.shared, Switch,
        "keeps limits together with other instances, through Redis where one is set"),
    setting!("RATE_LIMIT_INSTANCES", "limits", "instances", in settings.limits.instances,
        Whole(NonZeroU32::MIN, MOST_INSTANCES), "instances that share the limits; while Redis is away each admits one of so \
         many parts of every limit, rounded up"),
    setting!("TRUSTED_PROXIES", "limits", "trusted_proxies", in settings.limits.trusted_proxies,
        List(Network), "peers whose forwarding headers are believed"),
    setting!("CLIENT_ADDRESS_HEADER", "limits", "client_address_header",
        in settings.limits.client_address_header, NamingHeader,
        "the header in which those peers name the client; the other one is not read then"),
    setting!("IPV6_PREFIX", "limits", "ipv6_prefix", in settings.limits.ipv6_prefix,
        Whole(1, 128), "bits of an IPv6 address that count as one client"),
    setting!("ABUSE_DETECTION", "limits", "abuse_detection", in settings.limits.abuse.mode,
        Detection, "throttles clients that repeat, count up or scan; shadow only logs and counts",
        default "on, or off with RATE_LIMIT_ENABLED=false"),
    setting!("ABUSE_REPEATS_PER_MINUTE", "limits", "abuse_repeats_per_minute",
        in settings.limits.abuse.repeats_per_minute, COUNT,
        "times that a client may ask the same in a minute"),
];
