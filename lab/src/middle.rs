//! The man in the middle: a proxy between the program under test and an honest mail host.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::LabError;
use crate::listening::Listening;

/// A proxy that passes everything on to an honest host, with one change; stops when dropped.
///
/// It is put in the place of the honest host by giving it the address that the DNS names, while the
/// honest host listens where only the proxy knows. So a client that is fooled does get its mail
/// delivered, through the attacker: exactly what must not happen.
#[derive(Debug)]
pub struct Middle {
    /// Where clients find it.
    pub address: SocketAddr,
    /// Its accept loop.
    _listening: Listening,
}

/// What the man in the middle changes.
#[derive(Clone)]
pub enum Tampering {
    /// Cuts the offer of STARTTLS out of the reply to EHLO.
    StripStarttls,
    /// Does the handshake itself, with a certificate of its own, and talks on in clear text.
    ReplaceCertificate(TlsAcceptor),
}

impl std::fmt::Debug for Tampering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StripStarttls => "StripStarttls",
            Self::ReplaceCertificate(_) => "ReplaceCertificate",
        })
    }
}

impl Middle {
    /// Places it at `address`, in front of `honest`.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start(
        address: SocketAddr,
        honest: SocketAddr,
        tampering: Tampering,
    ) -> Result<Self, LabError> {
        let serve = move |client| {
            let tampering = tampering.clone();
            async move {
                // A broken connection on either side ends both.
                let _ = relay(client, honest, tampering).await;
            }
        };
        let listening = Listening::start(address, "the man in the middle", serve).await?;
        Ok(Self {
            address,
            _listening: listening,
        })
    }
}

/// Relays one connection.
async fn relay(mut client: TcpStream, honest: SocketAddr, tampering: Tampering) -> io::Result<()> {
    let mut server = BufReader::new(TcpStream::connect(honest).await?);
    match tampering {
        Tampering::StripStarttls => strip(&mut client, &mut server).await,
        Tampering::ReplaceCertificate(acceptor) => {
            if !replace(&mut client, &mut server).await? {
                return Ok(());
            }
            let mut client = acceptor.accept(client).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
            Ok(())
        }
    }
}

/// Passes everything on, without the lines that offer STARTTLS.
async fn strip(client: &mut TcpStream, server: &mut BufReader<TcpStream>) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    // Lives across rounds, as half a line may have been read when the other side speaks.
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        tokio::select! {
            read = read_line(server, &mut line) => {
                if read? == 0 {
                    return Ok(());
                }
                let line = std::mem::take(&mut line);
                if !line.starts_with(b"250-STARTTLS") {
                    to_client.write_all(&line).await?;
                }
            }
            read = from_client.read(&mut chunk) => {
                let octets = chunk.get(..read?).unwrap_or_default();
                if octets.is_empty() {
                    return Ok(());
                }
                server.write_all(octets).await?;
            }
        }
    }
}

/// Passes commands and replies on until the client asks for TLS; false if it never does.
async fn replace<C, S>(client: &mut C, server: &mut BufReader<S>) -> io::Result<bool>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut client = BufReader::new(client);
    copy_reply(server, &mut client).await?;
    loop {
        let mut line = Vec::new();
        if read_line(&mut client, &mut line).await? == 0 {
            return Ok(false);
        }
        if line.eq_ignore_ascii_case(b"STARTTLS\r\n") {
            client.write_all(b"220 2.0.0 ready\r\n").await?;
            return Ok(true);
        }
        server.write_all(&line).await?;
        copy_reply(server, &mut client).await?;
    }
}

/// Passes one reply on, however many lines it has.
async fn copy_reply<S, C>(server: &mut BufReader<S>, client: &mut C) -> io::Result<()>
where
    S: AsyncRead + Unpin,
    C: AsyncWrite + Unpin,
{
    loop {
        let mut line = Vec::new();
        if read_line(server, &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        client.write_all(&line).await?;
        if line.get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// One line with its end, of bounded length.
async fn read_line<S: AsyncRead + Unpin>(
    stream: &mut BufReader<S>,
    line: &mut Vec<u8>,
) -> io::Result<usize> {
    stream.take(LINE_OCTETS_MAX).read_until(b'\n', line).await
}

/// Octets of a line with its end.
const LINE_OCTETS_MAX: u64 = 64 * 1024;
