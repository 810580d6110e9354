use std::{net::IpAddr, str::FromStr};

use keyfob_listen::{Head, Peer};

/// The peers that may ask: their fields are believed.
///
/// A peer over a Unix socket may ask, since it can open the socket; and one with a client certificate, since the
/// listener accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers(Vec<Network>);

impl Peers {
    /// The peers in these networks.
    pub fn of(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether the sender of a request may ask.
    pub fn trust(&self, head: &Head<'_>) -> bool {
        match head.peer {
            Some(Peer::Unix) => true,
            Some(Peer::Tcp(address)) => {
                let address = address.ip().to_canonical();
                self.0.iter().any(|network| network.contains(address)) || head.certificate.is_some()
            }
            _ => false,
        }
    }
}

/// Processes of this machine.
impl Default for Peers {
    fn default() -> Self {
        Self::of([
            Network::new([127, 0, 0, 0].into(), 8),
            Network::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 128),
        ])
    }
}

/// A network of addresses, as in `10.1.0.0/16`, `2001:db8::/32` or `192.0.2.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    const fn new(address: IpAddr, bits: u8) -> Self {
        Self { address, bits }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| NetworkError)?
            }
            Some(_) => return Err(NetworkError),
            None => most,
        };
        if bits > most {
            return Err(NetworkError);
        }
        Ok(Self { address, bits })
    }
}

/// A text is not a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be addresses or networks, as in 10.1.0.0/16")]
pub struct NetworkError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses() {
        for (network, address, contains) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
        ] {
            let parsed: Network = network.parse().unwrap();
            let address = address.parse().unwrap();
            assert_eq!(parsed.contains(address), contains, "{network} {address}");
        }
        for text in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "10/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }

    #[test]
    fn only_configured_peers_may_ask() {
        let request = axum::http::Request::new(());
        let may_ask = |peer| {
            let head = Head {
                peer,
                ..Head::of(&request)
            };
            Peers::default().trust(&head)
        };
        let tcp = |address: &str| Some(Peer::Tcp(address.parse().unwrap()));
        for local in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(may_ask(tcp(local)), "{local}");
        }
        assert!(!may_ask(tcp("192.0.2.1:1")) && !may_ask(tcp("[2001:db8::1]:1")));
        assert!(may_ask(Some(Peer::Unix)) && !may_ask(None));
    }
}
