//! The upstream that both validators ask, on UDP and TCP.

use std::collections::HashMap;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use crate::case::Case;
use crate::name::Name;

/// The cases that are under way.
#[derive(Clone)]
pub(crate) struct Forwarder {
    cases: Arc<Mutex<HashMap<u64, Arc<Case>>>>,
    root: Arc<Case>,
}

impl Forwarder {
    /// Begins to answer.
    pub(crate) fn start(address: SocketAddr, root: Arc<Case>) -> std::io::Result<Self> {
        let forwarder = Self {
            cases: Arc::default(),
            root,
        };
        let socket = UdpSocket::bind(address)?;
        for _ in 0..UDP_THREADS {
            let (forwarder, socket) = (forwarder.clone(), socket.try_clone()?);
            thread::spawn(move || forwarder.serve_udp(&socket));
        }
        let listener = TcpListener::bind(address)?;
        let on_tcp = forwarder.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let forwarder = on_tcp.clone();
                thread::spawn(move || forwarder.serve_tcp(stream));
            }
        });
        Ok(forwarder)
    }

    /// Answers for a case from now on.
    pub(crate) fn open(&self, case: &Arc<Case>) {
        let mut cases = self.cases.lock().expect("no holder panics");
        cases.insert(case.label, Arc::clone(case));
    }

    /// Forgets a case.
    pub(crate) fn close(&self, case: &Case) {
        let mut cases = self.cases.lock().expect("no holder panics");
        cases.remove(&case.label);
    }

    /// Answers datagrams.
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut query = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            if let Some((answer, limit)) = self.answer(&query[..length]) {
                // A client that reads less than the answer asks again over TCP.
                let answer = if answer.len() > limit {
                    truncated(&query[..length])
                } else {
                    answer
                };
                // Who asked may have gone.
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    /// Answers on one connection.
    fn serve_tcp(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                return;
            }
            let Some((answer, _)) = self.answer(&query) else {
                return;
            };
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            if stream.write_all(&framed).is_err() {
                return;
            }
        }
    }

    /// The answer to a query, and the length that the client reads over UDP.
    fn answer(&self, query: &[u8]) -> Option<(Vec<u8>, usize)> {
        let (name, length) = Name::read(query.get(12..)?)?;
        let question = query.get(12..12 + length + 4)?;
        let rtype = u16::from_be_bytes([question[length], question[length + 1]]);
        let edns = query.get(12 + length + 4..)?;
        let limit = match edns {
            [0, 0, 41, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 512,
        };
        let case = self.case_of(&name)?;
        let sent = case.reply(&name, rtype);
        Some((sent.message([query[0], query[1]], question), limit))
    }

    /// The case that a name belongs to; its number stands in the top-level domain.
    fn case_of(&self, name: &Name) -> Option<Arc<Case>> {
        let Some(top) = name.0.last() else {
            return Some(Arc::clone(&self.root));
        };
        let number = std::str::from_utf8(top.get(1..)?).ok()?.parse().ok()?;
        let cases = self.cases.lock().expect("no holder panics");
        cases.get(&number).cloned()
    }
}

/// The query as an answer that is cut off.
fn truncated(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= 0x82;
    answer
}

/// Threads that answer datagrams.
const UDP_THREADS: usize = 2;
