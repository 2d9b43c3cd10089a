//! Questions over UDP: RFC 1035, Section 4.2.1.
//!
//! Each question has a socket of its own, and with it a port that nobody can foresee. The socket stays
//! open while the question is sent again and again, so that an answer counts however late it comes.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::base::Message;
use domain::net::client::request::ComposeRequest;
use domain::net::client::request::RequestMessage;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::message::is_whole;
use super::stats::DnsStats;

/// The datagrams to and from one upstream.
pub(super) struct Datagrams {
    /// The upstream.
    address: SocketAddr,
    /// How many more questions may wait for an answer.
    permits: Semaphore,
    /// Where questions are counted.
    stats: Arc<DnsStats>,
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What came for a question.
#[derive(Debug)]
pub(super) enum Received {
    /// Its answer, and that is all of it.
    Whole(Message<Bytes>),
    /// Something that makes it necessary to ask over TCP.
    Unfit,
}

impl Datagrams {
    /// Opens no socket yet.
    pub(super) fn new(address: SocketAddr, stats: Arc<DnsStats>) -> Self {
        Self {
            address,
            permits: Semaphore::new(QUESTIONS_MAX),
            stats,
        }
    }

    /// Sends a question, and again after each `pause`, until there is an answer. The caller sets the
    /// time limit.
    ///
    /// # Errors
    /// The socket failed; among other things because nobody listens on the other side.
    pub(super) async fn ask(
        &self,
        mut request: RequestMessage<Vec<u8>>,
        pause: Duration,
    ) -> io::Result<Received> {
        let _permit = self.permits.acquire().await.map_err(io::Error::other)?;
        request.header_mut().set_random_id();
        let question = request.to_vec().map_err(io::Error::other)?;
        let socket = self.connect().await?;
        let mut answer = std::pin::pin!(receive(&socket, &request));
        loop {
            self.stats.count_upstream_query();
            socket.send(&question).await?;
            if let Ok(received) = tokio::time::timeout(pause, &mut answer).await {
                let received = received?;
                if matches!(received, Received::Unfit) {
                    self.stats.count_truncated();
                }
                return Ok(received);
            }
        }
    }

    /// A socket with a random port that hears the upstream alone.
    async fn connect(&self) -> io::Result<UdpSocket> {
        let local: SocketAddr = match self.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(self.address).await?;
        Ok(socket)
    }
}

/// Waits for the answer to a question.
///
/// What is no answer to it is passed over, but not for ever.
async fn receive(socket: &UdpSocket, request: &RequestMessage<Vec<u8>>) -> io::Result<Received> {
    for _ in 0..STRAYS_MAX {
        let Some(answer) = receive_message(socket).await? else {
            continue;
        };
        if !request.is_answer(answer.for_slice()) {
            continue;
        }
        // What is cut off without saying so is as good as what says it.
        //= https://www.rfc-editor.org/rfc/rfc2181#section-9
        //# When a DNS client receives a reply with TC
        //# set, it should ignore that response, and query again, using a
        //# mechanism, such as a TCP connection, that will permit larger replies.
        return Ok(if answer.header().tc() || !is_whole(&answer) {
            Received::Unfit
        } else {
            Received::Whole(answer)
        });
    }
    Ok(Received::Unfit)
}

/// The next datagram, if it is a message.
async fn receive_message(socket: &UdpSocket) -> io::Result<Option<Message<Bytes>>> {
    loop {
        socket.readable().await?;
        // While nothing comes, no memory is held for it.
        let mut datagram = vec![0; DATAGRAM_OCTETS_MAX];
        match socket.try_recv(&mut datagram) {
            Ok(length) => {
                datagram.truncate(length);
                datagram.shrink_to_fit();
                return Ok(Message::from_octets(Bytes::from(datagram)).ok());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// At most this many questions to one upstream wait for datagrams at a time.
const QUESTIONS_MAX: usize = 512;

/// After this many datagrams on one socket that answer something else, the question is asked over
/// TCP: somebody is guessing (RFC 5452, Section 9.2).
const STRAYS_MAX: usize = 16;

/// The largest datagram there is. Upstreams may send more than they were told to: RFC 6891,
/// Section 6.2.5 leaves it to them.
const DATAGRAM_OCTETS_MAX: usize = u16::MAX as usize;
