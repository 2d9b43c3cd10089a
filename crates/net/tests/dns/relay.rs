//! An upstream that puts the octets of an honest one on the wire in its own way.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::bed::Bed;

/// The honest answer to a question that came.
pub(crate) struct Exchange {
    /// Whole, however large.
    pub(crate) answer: Vec<u8>,
    /// How often this question has come from this port or over this connection, this time included.
    pub(crate) times: usize,
}

/// What is sent for a datagram.
pub(crate) enum Datagram {
    /// From the address that was asked.
    Sent(Vec<u8>),
    /// From another port.
    FromElsewhere(Vec<u8>),
}

/// What is sent over a connection.
pub(crate) enum Octets {
    /// These, and the connection goes on.
    Sent(Vec<u8>),
    /// These one by one, and the connection goes on.
    Trickled(Vec<u8>),
    /// These, and the connection ends.
    SentLast(Vec<u8>),
    /// These, and nothing more, though the connection stays.
    Stuck(Vec<u8>),
}

/// What is done to datagrams.
trait Udp: Fn(&Exchange) -> Vec<Datagram> + Send + Sync + 'static {}

impl<F: Fn(&Exchange) -> Vec<Datagram> + Send + Sync + 'static> Udp for F {}

/// What is done to connections; knows how many there have been before.
trait Tcp: Fn(usize, &Exchange) -> Octets + Send + Sync + 'static {}

impl<F: Fn(usize, &Exchange) -> Octets + Send + Sync + 'static> Tcp for F {}

/// The upstream, for as long as it lives.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// How many connections there have been.
    connections: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(
        honest: &Bed,
        udp: impl Fn(&Exchange) -> Vec<Datagram> + Send + Sync + 'static,
        tcp: impl Fn(usize, &Exchange) -> Octets + Send + Sync + 'static,
    ) -> Self {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // Another test may hold the port for TCP.
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(socket, honest.address, udp));
        tasks.spawn(serve_tcp(
            listener,
            honest.address,
            Arc::new(tcp),
            Arc::clone(&connections),
        ));
        Self {
            address,
            connections,
            _tasks: tasks,
        }
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn serve_udp(socket: UdpSocket, honest: SocketAddr, script: impl Udp) {
    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut times: HashMap<(SocketAddr, Vec<u8>), usize> = HashMap::new();
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let question = buffer[..length].to_vec();
        let times = times.entry((from, question.clone())).or_default();
        *times += 1;
        let exchange = Exchange {
            answer: ask(honest, &question).await,
            times: *times,
        };
        for datagram in script(&exchange) {
            match datagram {
                Datagram::Sent(octets) => socket.send_to(&octets, from).await.unwrap(),
                Datagram::FromElsewhere(octets) => elsewhere.send_to(&octets, from).await.unwrap(),
            };
        }
    }
}

async fn serve_tcp(
    listener: TcpListener,
    honest: SocketAddr,
    script: Arc<impl Tcp>,
    connections: Arc<Mutex<usize>>,
) {
    let mut tasks = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let before = {
            let mut connections = connections.lock().unwrap();
            *connections += 1;
            *connections - 1
        };
        tasks.spawn(serve_stream(stream, honest, Arc::clone(&script), before));
    }
}

async fn serve_stream(
    mut stream: TcpStream,
    honest: SocketAddr,
    script: Arc<impl Tcp>,
    before: usize,
) {
    let mut times = 0;
    while let Ok(length) = stream.read_u16().await {
        times += 1;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.unwrap();
        let answer = ask(honest, &question).await;
        let exchange = Exchange { answer, times };
        // Whoever asked may have hung up.
        let sent = match script(before, &exchange) {
            Octets::Sent(octets) => stream.write_all(&octets).await,
            Octets::Trickled(octets) => trickle(&mut stream, &octets).await,
            Octets::SentLast(octets) => return drop(stream.write_all(&octets).await),
            Octets::Stuck(octets) => {
                drop(stream.write_all(&octets).await);
                return std::future::pending().await;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Sends octets one by one.
async fn trickle(stream: &mut TcpStream, octets: &[u8]) -> io::Result<()> {
    for octet in octets {
        stream.write_u8(*octet).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// The honest answer, over TCP so that it is whole.
async fn ask(honest: SocketAddr, question: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(honest).await.unwrap();
    stream.write_all(&framed(question)).await.unwrap();
    let length = stream.read_u16().await.unwrap();
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

/// A message as TCP carries it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    framed_as(u16::try_from(message.len()).unwrap(), message)
}

/// A message under a length that may not be its own.
pub(crate) fn framed_as(length: u16, message: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), message].concat()
}

/// Answers every datagram honestly.
pub(crate) fn honestly(exchange: &Exchange) -> Vec<Datagram> {
    vec![Datagram::Sent(exchange.answer.clone())]
}

/// Answers over every connection honestly.
pub(crate) fn honestly_framed(_: usize, exchange: &Exchange) -> Octets {
    Octets::Sent(framed(&exchange.answer))
}

/// The answer with the TC bit, and with whatever it holds.
pub(crate) fn cut(answer: &[u8]) -> Vec<u8> {
    with(answer, 2, answer[2] | 0x02)
}

/// The message with another octet in one place.
pub(crate) fn with(message: &[u8], place: usize, octet: u8) -> Vec<u8> {
    let mut message = message.to_vec();
    message[place] = octet;
    message
}
