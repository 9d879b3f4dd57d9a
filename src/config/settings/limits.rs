//! The settings of limits, of abuse, and of who the client is.
//!
//! Owns: the shape. Refuses nothing: the loader did. No neighbours.

use std::num::NonZeroU32;

/// Limits on clients. Every 0 means no bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// `RATE_LIMIT_ENABLED`.
    pub enabled: bool,
    /// `MAX_REQUESTS_PER_SECOND`.
    pub per_second: u32,
    /// `RATE_LIMIT_BURST`.
    pub burst: u32,
    /// `MAX_REQUESTS_PER_MINUTE`.
    pub per_minute: u32,
    /// `RATE_LIMIT_SEARCH_PER_MINUTE`.
    pub search_per_minute: u32,
    /// `RATE_LIMIT_SEARCH_BURST`.
    pub search_burst: u32,
    /// `RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE`.
    pub search_per_key_per_minute: u32,
    /// `RATE_LIMIT_SHARED`: kept together with other instances, where there is a Redis.
    pub shared: bool,
    /// `RATE_LIMIT_INSTANCES`: into so many shares each limit falls without Redis.
    pub instances: NonZeroU32,
    /// `TRUSTED_PROXIES`.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// `CLIENT_ADDRESS_HEADER`: what those proxies write.
    pub client_address_header: AddressHeader,
    /// `IPV6_PREFIX`, 1..=128.
    pub ipv6_prefix: u8,
    /// What counts as abuse.
    pub abuse: AbuseSettings,
}

/// The header in which our proxies name the client. The other one is the client's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// One or both of them; which, nobody said.
    Both,
}

impl AddressHeader {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::XForwardedFor => "x-forwarded-for",
            Self::Both => "both",
        }
    }
}

/// What counts as abuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbuseSettings {
    /// `ABUSE_DETECTION`; where it is not set, off with `RATE_LIMIT_ENABLED=false`.
    pub mode: AbuseMode,
    /// `ABUSE_REPEATS_PER_MINUTE`; 0: repeats are not looked for.
    pub repeats_per_minute: u32,
}

/// What is done about abuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbuseMode {
    /// Who is abusive is throttled, logged and counted.
    On,
    /// Logged and counted only.
    Shadow,
    /// Nobody is watched.
    Off,
}

impl AbuseMode {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}
