//! `smtpbench silent`: addresses that never answer a connection attempt, as if a firewall dropped it.
//!
//! Linux drops what asks for a connection where the queue of those that wait to be accepted is full. So
//! each address listens with the shortest queue, is connected to once, and accepts nothing.

use std::io;
use std::net::SocketAddrV4;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socket2::Domain;
use socket2::Socket;
use socket2::Type;

use crate::failure::Failure;
use crate::sink::consecutive;

/// Longest wait for the connection that fills a queue.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to be silent.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// First address and port
    #[arg(long)]
    listen: SocketAddrV4,
    /// How many addresses in a row
    #[arg(long, default_value_t = 1)]
    hosts: u32,
}

/// Prints a line once all are silent, and goes on until it is ended.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut held = Vec::new();
    for address in consecutive(options.listen, options.hosts) {
        let filled = fill(address).map_err(|e| Failure::new(format!("{address}: {e}")))?;
        held.push(filled);
    }
    println!("{{\"event\":\"silent\",\"addresses\":{}}}", held.len());
    loop {
        thread::park();
    }
}

/// Listens at `address`, and fills the queue there.
fn fill(address: SocketAddrV4) -> io::Result<(Socket, TcpStream)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(0)?;
    let first = TcpStream::connect_timeout(&address.into(), CONNECT_TIMEOUT)?;
    Ok((socket, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_answers_nobody() {
        // Addresses of its own; nothing else binds this one.
        let address = "127.91.7.3:20491".parse().unwrap();
        let _held = fill(address).unwrap();
        let outcome = TcpStream::connect_timeout(&address.into(), Duration::from_millis(200));
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
