//! The address of the client behind the proxies that are trusted.
//!
//! Owns: the walk through `Forwarded` (RFC 7239) and `X-Forwarded-For`, from the right, to the first hop
//! that is not a trusted proxy: what stands left of it was written by a stranger and is never read.
//! Refuses to guess: a malformed hop means the peer, and so do two headers that disagree (a proxy that
//! knows one of them passes the other on as the client wrote it). Such a request is in doubt: it is
//! counted under the peer, and what the headers named is told, too, so that nobody gets past a list by
//! a header that nobody understands.

mod forwarded;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

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
    /// The address it is counted under: the client's, or where that is in doubt the peer's.
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
