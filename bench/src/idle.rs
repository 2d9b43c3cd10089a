//! `smtpbench idle`: many connections that greet and then say nothing.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::client::Client;
use crate::failure::Failure;
use crate::tls;
use crate::tls::Sessions;

/// First address that connections come from.
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// Addresses that connections come from, in turns: one has too few ports for all, and counts as one client.
const SOURCES: u32 = 256;

/// Connections that are being opened at once.
const OPENING_MAX: usize = 100;

/// What to open.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Server to connect to
    #[arg(long)]
    to: SocketAddr,
    /// How many connections
    #[arg(long)]
    connections: u32,
    /// Speak TLS on all of them
    #[arg(long)]
    starttls: bool,
}

/// Opens all, says so, holds them until SIGTERM, and says how many had been closed by then.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let connector: Option<TlsConnector> = match options.starttls {
        true => Some(Arc::new(tls::client(tls::provider(), Sessions::Full)?).into()),
        false => None,
    };
    let mut end = signal(SignalKind::terminate())?;
    let begun = Instant::now();
    let mut opening = JoinSet::new();
    let mut open = Vec::new();
    let mut refused = None;
    for n in 0..options.connections {
        if opening.len() == OPENING_MAX {
            keep(opening.join_next().await, &mut open, &mut refused)?;
        }
        let (to, connector) = (options.to, connector.clone());
        let from = IpAddr::V4(Ipv4Addr::from_bits(FIRST_SOURCE.to_bits() + n % SOURCES));
        opening.spawn(async move { Client::connect(to, Some(from), connector.as_ref()).await });
    }
    while !opening.is_empty() {
        keep(opening.join_next().await, &mut open, &mut refused)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let row =
        json!({ "event": "open", "open": open.len(), "seconds": seconds, "refused": refused });
    println!("{row}");
    let (closed, said) = hold(open, end.recv()).await;
    println!(
        "{}",
        json!({ "event": "end", "closed": closed, "said": said })
    );
    Ok(())
}

/// Notes what became of one connection that was being opened.
fn keep(
    outcome: Option<Result<Result<Client, Failure>, tokio::task::JoinError>>,
    open: &mut Vec<Client>,
    refused: &mut Option<String>,
) -> Result<(), Failure> {
    match outcome.transpose()? {
        Some(Ok(client)) => open.push(client),
        Some(Err(failure)) => *refused = Some(failure.to_string()),
        None => {}
    }
    Ok(())
}

/// How many servers have closed their connection before `end`, and what one of them said.
async fn hold(open: Vec<Client>, end: impl Future<Output = Option<()>>) -> (u32, Option<String>) {
    let mut held = JoinSet::new();
    for mut client in open {
        held.spawn(async move { client.overhear().await });
    }
    let mut end = std::pin::pin!(end);
    let (mut closed, mut said) = (0, None);
    loop {
        tokio::select! {
            _ = &mut end => return (closed, said),
            Some(outcome) = held.join_next() => {
                closed += 1;
                if let Ok(Ok(text)) = outcome {
                    said = Some(text);
                }
            }
        }
    }
}
