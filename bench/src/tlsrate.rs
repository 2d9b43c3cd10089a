//! `smtpbench tlsrate`: TLS handshakes in memory, on one thread, without sockets.
//!
//! Processor time is told apart by side: `server_per_s` is what one core could do if it ran the server's
//! side alone, `client_per_s` likewise.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rcgen::CertifiedKey;
use rcgen::generate_simple_self_signed;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::ConnectionCommon;
use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::ServerName;
use serde_json::Value;
use serde_json::json;

use crate::failure::Failure;
use crate::stats::per_second;
use crate::stats::thread_cpu;
use crate::tls;
use crate::tls::Sessions;

/// The name in the certificate.
const NAME: &str = "mx.bench.test";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Key exchange
    #[arg(long, value_enum, default_value_t = Exchange::X25519)]
    kx: Exchange,
}

/// A key exchange.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Exchange {
    /// X25519 alone.
    X25519,
    /// X25519 with ML-KEM-768.
    X25519mlkem768,
}

impl Exchange {
    /// As the library has it.
    fn group(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519 => kx_group::X25519,
            Self::X25519mlkem768 => kx_group::X25519MLKEM768,
        }
    }
}

/// Measures full and resumed handshakes.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let budget = Duration::from_secs_f64(options.seconds);
    let group = options.kx.group();
    let row = json!({
        "kx": format!("{:?}", group.name()),
        "full": measure(group, Sessions::Full, budget)?,
        "resumed": measure(group, Sessions::Resumable, budget)?,
    });
    println!("{row}");
    Ok(())
}

/// Handshakes for as long as the budget lasts.
fn measure(
    group: &'static dyn SupportedKxGroup,
    sessions: Sessions,
    budget: Duration,
) -> Result<Value, Failure> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![NAME.into()])?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = tls::provider_with(group);
    let server = tls::server(Arc::clone(&provider), vec![cert.into()], key, sessions)?;
    let mut pair = Pair {
        server: Arc::new(server),
        client: Arc::new(tls::client(provider, sessions)?),
        server_cpu: Duration::ZERO,
        client_cpu: Duration::ZERO,
    };
    let (mut count, mut resumed) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < budget {
        count += 1;
        resumed += u64::from(pair.shake_hands()? == Some(HandshakeKind::Resumed));
    }
    Ok(json!({
        "handshakes": count,
        "resumed": resumed,
        "both_per_s": per_second(count, pair.server_cpu + pair.client_cpu),
        "client_per_s": per_second(count, pair.client_cpu),
        "server_per_s": per_second(count, pair.server_cpu),
    }))
}

/// Both ends, and the processor time that each has taken.
struct Pair {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    server_cpu: Duration,
    client_cpu: Duration,
}

impl Pair {
    /// One handshake with all that follows it, such as tickets.
    fn shake_hands(&mut self) -> Result<Option<HandshakeKind>, Failure> {
        let begun = thread_cpu();
        let mut client =
            ClientConnection::new(Arc::clone(&self.client), ServerName::try_from(NAME)?)?;
        let middle = thread_cpu();
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        self.client_cpu += middle - begun;
        self.server_cpu += thread_cpu() - middle;
        let mut wire = Vec::with_capacity(4096);
        loop {
            let begun = thread_cpu();
            pump(&mut client, &mut wire)?;
            let middle = thread_cpu();
            let silent = wire.is_empty();
            feed(&mut server, &mut wire)?;
            pump(&mut server, &mut wire)?;
            let end = thread_cpu();
            self.client_cpu += middle - begun;
            self.server_cpu += end - middle;
            if silent && wire.is_empty() {
                return Ok(server.handshake_kind());
            }
            feed(&mut client, &mut wire)?;
            self.client_cpu += thread_cpu() - end;
        }
    }
}

/// Takes what one end has to say.
fn pump<Data>(from: &mut ConnectionCommon<Data>, wire: &mut Vec<u8>) -> Result<(), Failure> {
    while from.wants_write() {
        from.write_tls(wire)?;
    }
    Ok(())
}

/// Tells it the other end.
fn feed<Data>(to: &mut ConnectionCommon<Data>, wire: &mut Vec<u8>) -> Result<(), Failure> {
    let mut rest: &[u8] = wire;
    while !rest.is_empty() {
        to.read_tls(&mut rest)?;
        to.process_new_packets()?;
    }
    wire.clear();
    Ok(())
}
