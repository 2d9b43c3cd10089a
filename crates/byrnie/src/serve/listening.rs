//! Where services listen.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::failure::Failure;

/// Listens at every address.
pub(super) async fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(*address).await?);
    }
    Ok(listeners)
}

/// Listens at one address.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::runtime(format!("cannot listen at {address}: {error}"))
            .hint("is the address this machine's, free, and its port above 1023 or the user root?")
    })
}

/// Where listeners really listen, for the log.
pub(super) fn addresses(listeners: &[TcpListener]) -> String {
    let addresses = listeners.iter().filter_map(|at| at.local_addr().ok());
    let texts: Vec<String> = addresses.map(|address| address.to_string()).collect();
    texts.join(", ")
}
