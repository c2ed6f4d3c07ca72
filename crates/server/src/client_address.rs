//! Whose request it is, as far as the network can tell: the address of the client, for the audit trail and for limits.
//!
//! A reverse proxy hides the client behind its own address and names it in `X-Forwarded-For`. Anybody can write that
//! header, so it is believed only as far as it was written by proxies that the operator named.

use axum::http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Proxies looked behind in one request. More hops than this are nobody's set-up.
const HOPS_MAX: usize = 16;

/// The address a request comes from. Every request carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub IpAddr);

/// The proxies whose word on the client's address is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// A text that names no proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected addresses or networks separated by commas, such as 127.0.0.1,10.0.0.0/8")]
pub struct NotProxies;

impl FromStr for TrustedProxies {
    type Err = NotProxies;

    fn from_str(text: &str) -> Result<Self, NotProxies> {
        let one = |item: &str| match item.trim().parse::<IpNet>() {
            Ok(network) => Ok(network),
            Err(_) => item.trim().parse::<IpAddr>().map(IpNet::from).map_err(|_| NotProxies),
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The client of a request that arrived from `peer`.
///
/// `X-Forwarded-For` is read from its end, where our own proxy wrote: as long as an address is that of a trusted proxy,
/// the one before it counts. What comes before the first stranger was written by the stranger.
#[must_use]
pub fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted: &TrustedProxies) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    for hop in hops.take(HOPS_MAX) {
        if !trusted.contains(client) {
            break;
        }
        let Some(address) = hop_address(hop.trim()) else { break };
        client = address;
    }
    client
}

/// One entry of the header; some proxies add the port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().ok().or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::http::HeaderValue;

    fn client(lines: &[&'static str], peer: &str, trusted: &str) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let trusted = if trusted.is_empty() { TrustedProxies::default() } else { trusted.parse().unwrap() };
        client_ip(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_named() {
        assert_eq!(client(&["203.0.113.9"], "198.51.100.1", ""), "198.51.100.1");
        assert_eq!(client(&["203.0.113.9"], "198.51.100.1", "10.0.0.0/8"), "198.51.100.1");
        assert_eq!(client(&["203.0.113.9"], "127.0.0.1", ""), "127.0.0.1");
    }

    #[test]
    fn a_forged_beginning_is_not_reached() {
        // The client claimed to be 192.0.2.1; our proxy added where the request really came from.
        assert_eq!(client(&["192.0.2.1, 203.0.113.9"], "10.0.0.2", "10.0.0.0/8"), "203.0.113.9");
        assert_eq!(client(&["192.0.2.1", "203.0.113.9"], "10.0.0.2", "10.0.0.0/8"), "203.0.113.9");
        // Not even when it claims to be one of our proxies.
        assert_eq!(client(&["10.0.0.7, 203.0.113.9"], "10.0.0.2", "10.0.0.0/8"), "203.0.113.9");
    }

    #[test]
    fn chains_of_proxies_are_followed() {
        assert_eq!(client(&["203.0.113.9, 10.0.0.3"], "10.0.0.2", "10.0.0.0/8"), "203.0.113.9");
        assert_eq!(client(&["203.0.113.9:51234"], "::ffff:10.0.0.2", "10.0.0.2"), "203.0.113.9");
        assert_eq!(client(&["[2001:db8::1]:443"], "::1", "::1, 10.0.0.0/8"), "2001:db8::1");
    }

    #[test]
    fn nonsense_ends_the_search_where_it_stands() {
        for nonsense in ["unknown", "", "999.1.1.1", "203.0.113.9, _hidden", "a,b,c"] {
            assert_eq!(client(&[nonsense], "10.0.0.2", "10.0.0.0/8"), "10.0.0.2", "{nonsense}");
        }
        let long: &'static str = Box::leak(vec!["10.0.0.3"; 5_000].join(",").into_boxed_str());
        assert_eq!(client(&[long], "10.0.0.2", "10.0.0.0/8"), "10.0.0.3");
        assert!("10.0.0.0/40".parse::<TrustedProxies>().is_err() && "".parse::<TrustedProxies>().is_err());
    }
}
