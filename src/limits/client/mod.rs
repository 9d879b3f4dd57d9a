//! Whose request this is: the address of the client behind the proxies that are trusted.
//!
//! Owns: the walk through `Forwarded` (RFC 7239) and `X-Forwarded-For`, from the right, stopping at
//! the first hop that is not a trusted proxy: what stands left of it was written by a stranger and
//! is never read. Refuses to guess: a peer that is not trusted is the client whatever it sends, a
//! malformed hop means the peer, and so do two headers that disagree (a proxy that knows one of
//! them passes the other on as the client wrote it). A plain function; it has no neighbours.

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

/// The client's address; an IPv4 address wrapped in IPv6 comes out as IPv4.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &ForwardingHeaders<'_>, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = headers.forwarded.iter().rev().copied().flat_map(forwarded::hops);
    let plain = headers.x_forwarded_for.iter().rev().copied().flat_map(plain_hops);
    match (walk(forwarded, trusted), walk(plain, trusted)) {
        (Walk::Found(client), Walk::Absent) | (Walk::Absent, Walk::Found(client)) => client,
        (Walk::Found(one), Walk::Found(other)) if one == other => one,
        (Walk::Absent | Walk::Found(_) | Walk::Malformed, _) => peer,
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
