//! How many connections there are: in all, from one client, and from one network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// How many connections there are, within their bounds.
#[derive(Debug, Default)]
pub(crate) struct Occupancy {
    /// How many there are.
    taken: Mutex<Taken>,
}

/// How many connections there may be at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionLimits {
    /// In all. Default: 5,000.
    pub in_all: usize,
    /// From one client address, or one IPv6 network of 64 bits. Default: 500.
    pub per_client: usize,
    /// From one IPv4 network of 24 bits, or one IPv6 network of 48 bits. Default: 5,000.
    pub per_network: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            in_all: 5_000,
            per_client: 500,
            per_network: 5_000,
        }
    }
}

/// The connections that there are.
#[derive(Debug, Default)]
struct Taken {
    /// How many in all.
    in_all: usize,
    /// How many each client holds, and each network; those that hold none are not in it.
    by_holder: HashMap<Holder, usize>,
}

/// Who holds connections.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Holder {
    /// One client.
    Client(IpAddr),
    /// One network.
    Network(IpAddr),
}

impl Occupancy {
    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.lock().in_all
    }

    /// Takes a place for a client, until it is dropped.
    pub(crate) fn enter(
        occupancy: &Arc<Self>,
        allowed: ConnectionLimits,
        address: IpAddr,
    ) -> Result<Place, Refusal> {
        let holders = [
            Holder::Client(client(address)),
            Holder::Network(network(address)),
        ];
        let mut taken = occupancy.lock();
        let [of_client, of_network] =
            holders.map(|holder| taken.by_holder.get(&holder).copied().unwrap_or_default());
        if taken.in_all >= allowed.in_all {
            return Err(Refusal::Full);
        }
        if of_client >= allowed.per_client {
            return Err(Refusal::ClientFull);
        }
        if of_network >= allowed.per_network {
            return Err(Refusal::NetworkFull);
        }
        taken.in_all += 1;
        for holder in holders {
            *taken.by_holder.entry(holder).or_default() += 1;
        }
        Ok(Place {
            occupancy: Arc::clone(occupancy),
            holders,
        })
    }

    /// The connections that there are.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// There are too many connections.
    Full,
    /// There are too many connections from this client.
    ClientFull,
    /// There are too many connections from this client's network.
    NetworkFull,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where it is given back.
    occupancy: Arc<Occupancy>,
    /// Who hold it.
    holders: [Holder; 2],
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.occupancy.lock();
        taken.in_all = taken.in_all.saturating_sub(1);
        for holder in self.holders {
            if let Some(held) = taken.by_holder.get_mut(&holder) {
                *held = held.saturating_sub(1);
                if *held == 0 {
                    taken.by_holder.remove(&holder);
                }
            }
        }
    }
}

/// Who a client is: its address, or its IPv6 network of 64 bits, of which it holds all addresses.
pub(crate) fn client(address: IpAddr) -> IpAddr {
    cut(address, 32, 64)
}

/// Which network a client is in, as networks are given out: 24 bits of IPv4, 48 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    cut(address, 24, 48)
}

/// The first bits of an address.
fn cut(address: IpAddr, bits_of_4: u32, bits_of_6: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let rest = u32::MAX.checked_shr(bits_of_4).unwrap_or_default();
            IpAddr::V4(Ipv4Addr::from(u32::from(address) & !rest))
        }
        IpAddr::V6(address) => {
            let rest = u128::MAX.checked_shr(bits_of_6).unwrap_or_default();
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & !rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_for_each_client_and_for_each_network() {
        let occupancy = Arc::new(Occupancy::default());
        let allowed = ConnectionLimits {
            in_all: 5,
            per_client: 2,
            per_network: 3,
        };
        let enter = |address: &str| Occupancy::enter(&occupancy, allowed, address.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let second = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").err(), Some(Refusal::ClientFull));
        let third = enter("192.0.2.255").unwrap();
        assert_eq!(enter("192.0.2.9").err(), Some(Refusal::NetworkFull));
        let fourth = enter("192.0.3.1").unwrap();
        let fifth = enter("2001:db8::1").unwrap();
        assert_eq!(enter("192.0.4.1").err(), Some(Refusal::Full));
        assert_eq!(occupancy.connections(), 5);
        drop(first);
        let sixth = enter("2001:db8::2").unwrap();
        drop((second, third, fourth, fifth, sixth));
        let taken = occupancy.lock();
        assert_eq!((taken.in_all, taken.by_holder.len()), (0, 0));
    }

    #[test]
    fn addresses_are_cut_as_networks_are_given_out() {
        for (address, of_client, of_network) in [
            ("192.0.2.77", "192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::", "2001:db8:1::"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(client(address).to_string(), of_client);
            assert_eq!(network(address).to_string(), of_network);
        }
    }
}
