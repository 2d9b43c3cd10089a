//! Addresses and ports: a private block of the loopback network for each lab.
//!
//! Linux lets anybody bind any address in 127.0.0.0/8, so each host of the miniature internet has
//! an address of its own and all mail hosts share one port, as on the real internet. The block and
//! the ports are drawn at random, so that many labs can live on one machine at the same time.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;

use crate::LabError;

/// Draws of a port before the lab gives up.
pub const PORT_ATTEMPTS_MAX: u32 = 50;

/// Gives out addresses one after the other.
#[derive(Debug)]
pub struct AddressPlan {
    /// The first address of the block, itself given to the resolver.
    base: u32,
    /// How many are given out.
    used: u32,
    /// Where every mail host listens.
    pub mx_port: u16,
    /// Where every policy host listens.
    pub https_port: u16,
    /// Where the resolver listens.
    pub dns_port: u16,
}

impl AddressPlan {
    /// Draws a block and three ports that are free in it.
    ///
    /// # Errors
    /// No free port was found.
    pub fn draw() -> Result<Self, LabError> {
        // 127.1.0.0 to 127.254.252.0 in steps of BLOCK_SIZE: 127.0.x.y belongs to everybody.
        let block = fastrand::u32(0..(254 << 16) / BLOCK_SIZE);
        let base = u32::from(Ipv4Addr::new(127, 1, 0, 0)) + block * BLOCK_SIZE;
        let mut plan = Self {
            base,
            used: 0,
            mx_port: 0,
            https_port: 0,
            dns_port: 0,
        };
        let probe = plan.draw_address()?;
        let mx_port = free_port(probe, &[])?;
        let https_port = free_port(probe, &[mx_port])?;
        let dns_port = free_port(probe, &[mx_port, https_port])?;
        plan = Self {
            mx_port,
            https_port,
            dns_port,
            ..plan
        };
        Ok(plan)
    }

    /// The next address that nobody has.
    ///
    /// # Errors
    /// The block is used up.
    pub fn draw_address(&mut self) -> Result<Ipv4Addr, LabError> {
        // The last part is never 0 or 255, which look like mistakes in a log.
        loop {
            self.used += 1;
            if self.used >= BLOCK_SIZE {
                return Err(LabError::OutOfAddresses);
            }
            let address = Ipv4Addr::from(self.base + self.used);
            if !matches!(address.octets(), [.., 0 | 255]) {
                return Ok(address);
            }
        }
    }
}

/// How many addresses a lab has.
const BLOCK_SIZE: u32 = 1024;

/// A port that nobody listens on, neither TCP nor UDP, outside the range that the system gives to
/// clients (32768 and up).
fn free_port(address: Ipv4Addr, taken: &[u16]) -> Result<u16, LabError> {
    for _ in 0..PORT_ATTEMPTS_MAX {
        let port = fastrand::u16(10_000..32_000);
        let socket = SocketAddr::from((address, port));
        if !taken.contains(&port)
            && TcpListener::bind(socket).is_ok()
            && UdpSocket::bind(socket).is_ok()
        {
            return Ok(port);
        }
    }
    Err(LabError::NoFreePort)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_are_distinct_and_lie_in_the_loopback_network() {
        let mut plan = AddressPlan::draw().unwrap();
        let mut seen = BTreeSet::new();
        while let Ok(address) = plan.draw_address() {
            assert!(address.is_loopback(), "{address}");
            assert!(seen.insert(address), "{address} was given out twice");
        }
        assert!(seen.len() > 1000);
    }

    #[test]
    fn the_three_ports_differ() {
        let plan = AddressPlan::draw().unwrap();
        let ports = BTreeSet::from([plan.mx_port, plan.https_port, plan.dns_port]);
        assert_eq!(ports.len(), 3);
    }
}
