//! How many connections there are, in all and from one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// How many connections there are, within their bounds.
#[derive(Debug)]
pub(super) struct Occupancy {
    /// How many there may be.
    connections_max: usize,
    /// How many one client may hold.
    connections_per_client_max: usize,
    /// How many each client holds; those that hold none are not in it.
    clients: Mutex<Clients>,
}

/// The clients that are connected.
#[derive(Debug, Default)]
struct Clients {
    /// How many connections there are.
    connections: usize,
    /// How many each client holds.
    by_client: HashMap<IpAddr, usize>,
}

impl Occupancy {
    /// No connections.
    pub(super) fn new(connections_max: usize, connections_per_client_max: usize) -> Self {
        Self {
            connections_max,
            connections_per_client_max,
            clients: Mutex::new(Clients::default()),
        }
    }

    /// Takes a place for a client, until it is dropped.
    pub(super) fn enter(occupancy: &Arc<Self>, address: IpAddr) -> Result<Place, Refusal> {
        let client = client(address);
        let mut clients = occupancy
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if clients.connections >= occupancy.connections_max {
            return Err(Refusal::Full);
        }
        let held = clients.by_client.get(&client).copied().unwrap_or_default();
        if held >= occupancy.connections_per_client_max {
            return Err(Refusal::ClientFull);
        }
        clients.by_client.insert(client, held + 1);
        clients.connections += 1;
        Ok(Place {
            occupancy: Arc::clone(occupancy),
            client,
        })
    }

    /// Gives a place back.
    fn leave(&self, client: IpAddr) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.connections = clients.connections.saturating_sub(1);
        let held = clients.by_client.get(&client).copied().unwrap_or_default();
        if held > 1 {
            clients.by_client.insert(client, held - 1);
        } else {
            clients.by_client.remove(&client);
        }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// There are too many connections.
    Full,
    /// There are too many connections from this client.
    ClientFull,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Where it is given back.
    occupancy: Arc<Occupancy>,
    /// Who holds it.
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.occupancy.leave(self.client);
    }
}

/// Who a client is: its address, or its IPv6 network, of which it holds all addresses.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_client() {
        let occupancy = Arc::new(Occupancy::new(3, 2));
        let enter = |address: &str| Occupancy::enter(&occupancy, address.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let second = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").err(), Some(Refusal::ClientFull));
        let third = enter("2001:db8::1").unwrap();
        assert_eq!(enter("192.0.2.2").err(), Some(Refusal::Full));
        drop(first);
        let fourth = enter("2001:db8::2").unwrap();
        drop((second, third, fourth));
        assert!(occupancy.clients.lock().unwrap().by_client.is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        assert_eq!(
            client("2001:db8::1".parse().unwrap()),
            client("2001:db8::2".parse().unwrap())
        );
        assert_ne!(
            client("2001:db8::1".parse().unwrap()),
            client("2001:db8:0:1::1".parse().unwrap())
        );
    }
}
