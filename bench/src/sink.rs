//! `smtpbench sink`: an SMTP server that checks, counts and discards messages.
//!
//! Messages of `smtpbench load` are told apart by their number and compared with what was sent; others are
//! only counted. Runs until SIGTERM. SIGUSR1 opens a sink that was started closed.

use std::future::pending;
use std::io;
use std::iter::Iterator;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use rustls::HandshakeKind;
use serde::Serialize;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time;
use tokio_rustls::TlsAcceptor;

use crate::failure::Failure;
use crate::message::Messages;
use crate::message::Recognized;
use crate::session::Session;
use crate::session::Turn;
use crate::stats::now_ns;
use crate::tls;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// How to receive.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// First address and port to listen on
    #[arg(long)]
    listen: SocketAddrV4,
    /// How many addresses in a row
    #[arg(long, default_value_t = 1)]
    hosts: u32,
    /// Print a line when so many different messages of the load generator are in
    #[arg(long)]
    expect: u64,
    /// The messages' numbers are below this one
    #[arg(long)]
    ids: usize,
    /// Certificate in PEM; offers STARTTLS, and refuses mail without it
    #[arg(long, requires = "key")]
    certificate: Option<String>,
    /// Its key in PEM
    #[arg(long, requires = "certificate")]
    key: Option<String>,
    /// Take connections but say nothing, not even the greeting, before SIGUSR1
    #[arg(long)]
    closed: bool,
    /// Print a line each second
    #[arg(long)]
    progress: bool,
}

/// What all connections share.
pub(crate) struct Sink {
    /// For STARTTLS.
    acceptor: Option<TlsAcceptor>,
    /// Whether the sink is open.
    open: watch::Receiver<bool>,
    /// Told once all expected messages are in.
    complete: Notify,
    /// What came in.
    tally: Mutex<Tally>,
}

/// What came in.
struct Tally {
    expect: u64,
    /// By number.
    seen: Vec<bool>,
    messages: Messages,
    count: Count,
}

/// What is printed.
#[derive(Clone, Default, Serialize)]
struct Count {
    connections: u64,
    open: u64,
    open_max: u64,
    tls_full: u64,
    tls_resumed: u64,
    tls_failed: u64,
    messages: u64,
    distinct: u64,
    duplicates: u64,
    altered: u64,
    foreign: u64,
    bytes: u64,
    last_ns: u64,
}

/// Receives until SIGTERM.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let acceptor = match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            Some(Arc::new(tls::server_from_files(certificate, key)?).into())
        }
        _ => None,
    };
    let (gate, open) = watch::channel(!options.closed);
    let sink = Arc::new(Sink {
        acceptor,
        open,
        complete: Notify::new(),
        tally: Mutex::new(Tally {
            expect: options.expect,
            seen: vec![false; options.ids],
            messages: Messages::new(),
            count: Count::default(),
        }),
    });
    for address in consecutive(options.listen, options.hosts) {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|e| Failure::new(format!("{address}: {e}")))?;
        tokio::spawn(accept(Arc::clone(&sink), listener));
    }
    report(&sink, &gate, options.progress).await
}

/// So many addresses in a row, with the same port.
pub(crate) fn consecutive(first: SocketAddrV4, count: u32) -> impl Iterator<Item = SocketAddrV4> {
    (0..count).map(move |n| {
        let address = Ipv4Addr::from_bits(first.ip().to_bits().wrapping_add(n));
        SocketAddrV4::new(address, first.port())
    })
}

/// Prints what is of interest when it happens.
async fn report(sink: &Sink, gate: &watch::Sender<bool>, progress: bool) -> Result<(), Failure> {
    let mut end = signal(SignalKind::terminate())?;
    let mut open = signal(SignalKind::user_defined1())?;
    let mut tick = time::interval(PROGRESS);
    let mut each_second = async || match progress {
        true => drop(tick.tick().await),
        false => pending().await,
    };
    loop {
        let event = tokio::select! {
            () = sink.complete.notified() => "complete",
            _ = open.recv() => {
                gate.send_replace(true);
                "opened"
            }
            () = each_second() => "progress",
            _ = end.recv() => "end",
        };
        let mut row = serde_json::to_value(sink.count(|count| count.clone()))?;
        row["event"] = event.into();
        row["now_ns"] = now_ns().into();
        println!("{row}");
        if event == "end" {
            return Ok(());
        }
    }
}

/// Takes connections at one address.
async fn accept(sink: Arc<Sink>, listener: TcpListener) {
    loop {
        if let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(Arc::clone(&sink), tcp));
        }
    }
}

/// One connection, from its first octet to its last.
async fn serve(sink: Arc<Sink>, tcp: TcpStream) {
    sink.count(|count| {
        count.connections += 1;
        count.open += 1;
        count.open_max = count.open_max.max(count.open);
    });
    // A client that goes away in the middle is its own business.
    drop(converse(&sink, tcp).await);
    sink.count(|count| count.open -= 1);
}

/// Talks in clear, and then over TLS if the client wants that.
async fn converse(sink: &Sink, mut tcp: TcpStream) -> io::Result<()> {
    // The sender of this is in `run`, and outlives all connections.
    drop(sink.open.clone().wait_for(|open| *open).await);
    tcp.set_nodelay(true)?;
    tcp.write_all(b"220 mx.bench.test ESMTP smtpbench\r\n")
        .await?;
    if talk(sink, &mut tcp, sink.acceptor.is_some()).await? == Turn::Quit {
        return Ok(());
    }
    let Some(acceptor) = &sink.acceptor else {
        return Ok(());
    };
    let mut tls = match acceptor.accept(tcp).await {
        Ok(tls) => tls,
        Err(failure) => {
            sink.count(|count| count.tls_failed += 1);
            return Err(failure);
        }
    };
    let resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    sink.count(|count| match resumed {
        true => count.tls_resumed += 1,
        false => count.tls_full += 1,
    });
    talk(sink, &mut tls, false).await?;
    tls.shutdown().await
}

/// Talks over one stream until the client leaves it.
async fn talk<S>(sink: &Sink, stream: &mut S, starttls: bool) -> io::Result<Turn>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session::new(starttls);
    loop {
        // All that has come is answered in one write.
        let turn = session.consume(|wire| sink.message(wire));
        if !session.replies.is_empty() {
            stream.write_all(&session.replies).await?;
            stream.flush().await?;
            session.replies.clear();
        }
        if turn != Turn::Listen {
            return Ok(turn);
        }
        if stream.read_buf(session.space()).await? == 0 {
            return Ok(Turn::Quit);
        }
    }
}

impl Sink {
    /// Looks at the counts, or changes them.
    fn count<T>(&self, look: impl FnOnce(&mut Count) -> T) -> T {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut tally.count)
    }

    /// Takes a message in.
    fn message(&self, wire: &[u8]) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if tally.take(wire) {
            self.complete.notify_one();
        }
    }
}

impl Tally {
    /// Counts a message; true if it is the last that was expected.
    fn take(&mut self, wire: &[u8]) -> bool {
        let count = &mut self.count;
        count.messages += 1;
        count.bytes += wire.len() as u64;
        let id = match self.messages.recognize(wire) {
            Recognized::Intact(id) => id,
            Recognized::Altered(id) => {
                count.altered += 1;
                id
            }
            Recognized::Foreign => {
                count.foreign += 1;
                return false;
            }
        };
        match self.seen.get_mut(id as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => {
                count.duplicates += 1;
                return false;
            }
            None => {
                count.foreign += 1;
                return false;
            }
        }
        count.last_ns = now_ns();
        count.distinct += 1;
        count.distinct == self.expect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_counts_once() {
        let mut tally = Tally {
            expect: 2,
            seen: vec![false; 3],
            messages: Messages::new(),
            count: Count::default(),
        };
        let mut wire = Vec::new();
        let mut took = |id| {
            Messages::new().compose(id, 100, b"user@bench.test", &mut wire);
            tally.take(&wire)
        };
        assert_eq!(
            [took(2), took(2), took(9), took(0)],
            [false, false, false, true]
        );
        assert!(!tally.take(b"Subject: hello\r\n\r\n.\r\n"));
        let count = tally.count;
        assert_eq!((count.messages, count.distinct), (5, 2));
        assert_eq!((count.duplicates, count.foreign), (1, 2));
    }

    #[test]
    fn addresses_in_a_row_cross_octets() {
        let all: Vec<_> = consecutive("127.16.0.254:25".parse().unwrap(), 3).collect();
        assert_eq!(all[2], "127.16.1.0:25".parse().unwrap());
    }
}
