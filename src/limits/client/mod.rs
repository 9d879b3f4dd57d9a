//! Whose request it is: the address of the client behind the proxies that are trusted, and the
//! principal that it is counted under, a key or a network.
//!
//! Owns: the compact names that limits are kept under. An IPv6 client owns a whole prefix and could
//! change its address with every request, so it is counted by that prefix; an IPv4 address, also one
//! wrapped in IPv6, by itself.
//!
//! Owns, too: the walk through `Forwarded` (RFC 7239) and `X-Forwarded-For`, from the right, to the first hop
//! that is not a trusted proxy: what stands left of it was written by a stranger and is never read.
//! Refuses to guess: a malformed hop means the peer, and so do two headers that disagree (a proxy that
//! knows one of them passes the other on as the client wrote it). Such a request is in doubt: it is
//! counted with all others in doubt behind that proxy, never under the proxy itself (its own host calls,
//! too) nor under an address that anybody could have written. What the headers named is told, too, so
//! that nobody gets past a list by a header that nobody understands.

mod forwarded;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// The forwarding headers of a request, each as its lines in the order received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardingHeaders<'a> {
    /// Values of `Forwarded`.
    pub forwarded: Vec<&'a [u8]>,
    /// Values of `X-Forwarded-For`.
    pub x_forwarded_for: Vec<&'a [u8]>,
}

/// Whether `address` is one of our proxies. Ask this before collecting any header.
#[must_use]
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The address of a client, as far as it is known. IPv4 wrapped in IPv6 is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The client's, or where that is in doubt the peer's. What is counted goes to [`Self::principal`].
    pub counted: IpAddr,
    /// What each header named, where they do not tell.
    doubt: Option<[Option<IpAddr>; 2]>,
}

impl ClientAddress {
    #[must_use]
    pub const fn sure(address: IpAddr) -> Self {
        Self { counted: address.to_canonical(), doubt: None }
    }

    const fn doubtful(peer: IpAddr, named: [Option<IpAddr>; 2]) -> Self {
        Self { counted: peer, doubt: Some(named) }
    }

    /// Whether the client's address is known. Where it is not, nothing good may be concluded from
    /// the address it is counted under: that is our own proxy's.
    #[must_use]
    pub const fn is_sure(&self) -> bool {
        self.doubt.is_none()
    }

    /// Who a request without a known key is counted under.
    #[must_use]
    pub fn principal(&self, ipv6_prefix: u8) -> Principal {
        let network = Network::of(self.counted, ipv6_prefix);
        if self.is_sure() { Principal::Network(network) } else { Principal::InDoubt(network) }
    }

    /// The addresses that were named and not believed; one of them is the client's if a proxy wrote
    /// the header.
    pub fn suspects(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.doubt.into_iter().flatten().flatten()
    }
}

/// The client of a request that `peer` sent.
#[must_use]
pub fn client_address(
    peer: IpAddr,
    headers: &ForwardingHeaders<'_>,
    trusted: &[IpNet],
) -> ClientAddress {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return ClientAddress::sure(peer);
    }
    let forwarded = headers.forwarded.iter().rev().copied().flat_map(forwarded::hops);
    let plain = headers.x_forwarded_for.iter().rev().copied().flat_map(plain_hops);
    match (walk(forwarded, trusted), walk(plain, trusted)) {
        (Walk::Absent, Walk::Absent) => ClientAddress::sure(peer),
        (Walk::Found(client), Walk::Absent) | (Walk::Absent, Walk::Found(client)) => {
            ClientAddress::sure(client)
        }
        (Walk::Found(one), Walk::Found(other)) if one == other => ClientAddress::sure(one),
        (one @ (Walk::Absent | Walk::Found(_) | Walk::Malformed), other) => {
            ClientAddress::doubtful(peer, [one.found(), other.found()])
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// The header is not there or names nobody.
    Absent,
    /// The first hop that is not trusted, or the farthest if all are.
    Found(IpAddr),
    /// A hop that names no address came before any such.
    Malformed,
}

impl Walk {
    const fn found(self) -> Option<IpAddr> {
        match self {
            Self::Found(address) => Some(address),
            Self::Absent | Self::Malformed => None,
        }
    }
}

fn walk(hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> Walk {
    let mut farthest = Walk::Absent;
    for hop in hops {
        let Some(address) = hop else { return Walk::Malformed };
        farthest = Walk::Found(address);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    farthest
}

/// The hops of one line of `X-Forwarded-For`, last first; `None` for one that is no address.
fn plain_hops(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    line.rsplit(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(forwarded::node_address)
}

/// An access key's name; says nothing about its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

impl KeyId {
    /// The key from the settings (`INTERNAL_API_KEY`).
    pub const INTERNAL: Self = Self(0);

    /// A stored key's number; 48 bits of it count.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number & ((1 << 48) - 1))
    }
}

/// `internal`, or twelve hexadecimal digits.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::INTERNAL { f.write_str("internal") } else { write!(f, "{:012x}", self.0) }
    }
}

/// A text that is no key's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKeyId;

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        if text == "internal" {
            return Ok(Self::INTERNAL);
        }
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 12 || !text.bytes().all(digit) {
            return Err(NotAKeyId);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| NotAKeyId)?;
        // Nought is the internal key's, and has a name.
        if number == 0 { Err(NotAKeyId) } else { Ok(Self(number)) }
    }
}

/// The addresses that share one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// All IPv6 addresses that begin alike.
    V6 {
        /// The first of them: all bits after the prefix are zero.
        base: Ipv6Addr,
        /// How many bits they share, at most 128.
        prefix: u8,
    },
}

impl Network {
    /// The network `address` is counted under; `ipv6_prefix` above 128 is 128.
    #[must_use]
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => {
                let prefix = ipv6_prefix.min(128);
                let host_bits = 128 - u32::from(prefix);
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                Self::V6 { base: Ipv6Addr::from_bits(v6.to_bits() & mask), prefix }
            }
        }
    }
}

impl Network {
    fn add_to(&self, sum: &mut crc32fast::Hasher) {
        match self {
            Self::V4(address) => sum.update(&address.octets()),
            Self::V6 { base, prefix } => {
                sum.update(&base.octets());
                sum.update(&[*prefix]);
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => write!(f, "{address}"),
            Self::V6 { base, prefix } => write!(f, "{base}/{prefix}"),
        }
    }
}

/// Who a request is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// The holder of a known key.
    Key(KeyId),
    /// Anybody at these addresses.
    Network(Network),
    /// Anybody behind the proxy here of whom it is not known where they are.
    InDoubt(Network),
}

impl Principal {
    /// The principal of a request without a known key.
    #[must_use]
    pub fn of_address(address: IpAddr, ipv6_prefix: u8) -> Self {
        Self::Network(Network::of(address, ipv6_prefix))
    }

    /// Whether this is a key.
    #[must_use]
    pub const fn is_key(&self) -> bool {
        matches!(self, Self::Key(_))
    }

    /// A number that is the same for every request of a principal, on every instance and after
    /// every restart, and spread evenly over all of them: places it in percentage rollouts.
    #[must_use]
    pub fn stable_number(&self) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        match self {
            Self::Key(KeyId(number)) => {
                sum.update(b"key");
                sum.update(&number.to_be_bytes());
            }
            Self::Network(network) => network.add_to(&mut sum),
            Self::InDoubt(proxy) => {
                sum.update(b"doubt");
                proxy.add_to(&mut sum);
            }
        }
        sum.finalize()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Network(network) => write!(f, "{network}"),
            Self::InDoubt(proxy) => write!(f, "behind:{proxy}"),
        }
    }
}
