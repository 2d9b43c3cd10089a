//! One connection of another MTA: requests in, answers out, in the same order.
//!
//! Whatever is known already is answered with one read and one write for all requests that came together,
//! on buffers that all connections share; a connection has octets of its own only while it has to
//! wait for something: for the rest of a request, for a lookup, or for the client to take its answers.

use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time;
use tokio::time::Instant;
use tokio::time::Sleep;

use super::counts::AnswerCounts;
use super::desk::Busy;
use super::desk::Consider;
use super::desk::Desk;
use super::protocol::Asked;
use super::protocol::Ending;
use super::protocol::Form;
use super::protocol::Incoming;
use super::protocol::Protocol;
use super::protocol::REQUEST_OCTETS_MAX;
use super::replies::Replies;
use super::replies::Reply;
use crate::judge::Considered;

/// What the connections of one protocol share.
pub(crate) struct Room<D> {
    pub(crate) protocol: Protocol,
    pub(crate) desk: Arc<Desk<D>>,
    /// Where lookups are made, so that they hold up nobody here.
    pub(crate) lookups: Handle,
    pub(crate) counts: AnswerCounts,
    /// Only the thread of the connections uses it, so that nobody waits for it.
    pub(crate) bench: Mutex<Workbench>,
}

/// What a connection uses for as long as it does not wait.
pub(crate) struct Workbench {
    replies: Replies,
    input: Box<[u8]>,
    output: Vec<u8>,
}

impl Workbench {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            replies: Replies::default(),
            input: vec![0; INPUT_OCTETS].into(),
            output: Vec::new(),
        }
    }
}

/// Answers one client until it goes, is silent for too long, or says what makes no sense.
///
/// # Errors
/// The connection broke, or the client does not take its answers.
pub(crate) async fn attend<D, S>(stream: S, room: Arc<Room<D>>) -> io::Result<()>
where
    D: Consider,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection::new(stream, room);
    loop {
        let mut state = poll_fn(|cx| connection.poll_incoming(cx)).await?;
        loop {
            connection.flush().await?;
            state = match state {
                State::Reading => break,
                State::Crowded => connection.go_on(),
                State::Asking => Box::pin(connection.look_up()).await?,
                State::Over => return Ok(()),
            };
        }
    }
}

/// What a connection does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Everything whole is answered: wait for more.
    Reading,
    /// There are requests left, but there are many answers to be taken first.
    Crowded,
    /// The next request is about something that is not known.
    Asking,
    /// Nothing more is said.
    Over,
}

/// One connection.
struct Connection<D, S> {
    stream: S,
    room: Arc<Room<D>>,
    /// Octets that came in and are not answered.
    pending: Vec<u8>,
    /// Octets that the client has not taken.
    unsent: Vec<u8>,
    ending: Ending,
    /// When the client has been silent for too long.
    deadline: Instant,
    /// Wakes the connection at that time or before; it is not set anew at each request.
    timer: Pin<Box<Sleep>>,
}

impl<D, S> Connection<D, S>
where
    D: Consider,
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn new(stream: S, room: Arc<Room<D>>) -> Self {
        let deadline = Instant::now() + IDLE_TIME_MAX;
        Self {
            stream,
            room,
            pending: Vec::new(),
            unsent: Vec::new(),
            ending: Ending::Open,
            deadline,
            timer: Box::pin(time::sleep_until(deadline)),
        }
    }

    /// Reads what has come in, and answers what it can.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<State>> {
        let room = Arc::clone(&self.room);
        let mut bench = room.bench();
        let Workbench {
            replies,
            input,
            output,
        } = &mut *bench;
        let kept = self.pending.len();
        // As much as the longest request fits behind what was kept of one.
        let mut buffer = ReadBuf::new(input.get_mut(kept..).unwrap_or_default());
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(result) => result?,
            Poll::Pending => return self.poll_deadline(cx).map(|()| Ok(State::Over)),
        }
        let read = buffer.filled().len();
        if read == 0 {
            self.ending = Ending::Ended;
        }
        let Some((front, _)) = input.split_at_mut_checked(kept + read) else {
            return Poll::Ready(Ok(State::Over));
        };
        if let Some(before) = front.get_mut(..kept) {
            before.copy_from_slice(&self.pending);
        }
        output.clear();
        let now = Instant::now();
        let (state, rest) = self.room.answer(front, self.ending, replies, output, now);
        self.keep(rest, now);
        if !output.is_empty() {
            let sent = match Pin::new(&mut self.stream).poll_write(cx, output) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            let unsent = output.get(sent..).unwrap_or_default();
            self.unsent.extend_from_slice(unsent);
        }
        Poll::Ready(Ok(state))
    }

    /// Answers what is left, and can be answered.
    fn go_on(&mut self) -> State {
        let room = Arc::clone(&self.room);
        let mut bench = room.bench();
        let Workbench {
            replies, output, ..
        } = &mut *bench;
        output.clear();
        let pending = std::mem::take(&mut self.pending);
        let now = Instant::now();
        let (state, rest) = room.answer(&pending, self.ending, replies, output, now);
        self.keep(rest, now);
        self.unsent.extend_from_slice(output);
        state
    }

    /// Finds out what requests ask for, many side by side, and answers them in their order.
    async fn look_up(&mut self) -> io::Result<State> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        let mut asked = Vec::new();
        while asked.len() < LOOKUPS_OF_ONE_MAX
            && let Incoming::Request {
                request,
                rest: next,
            } = self.room.protocol.incoming(rest, self.ending)
        {
            asked.push(self.room.ask(request));
            rest = next;
        }
        for wanted in asked {
            if !wanted.is_ready() {
                // What is known already need not wait for it.
                self.flush().await?;
            }
            let reply = self.room.find(wanted).await;
            self.unsent.extend_from_slice(&reply.octets);
            if self.unsent.len() >= OUTPUT_OCTETS_MAX {
                self.flush().await?;
            }
        }
        self.keep(rest, Instant::now());
        Ok(State::Crowded)
    }

    /// Keeps what is not answered yet, and no buffer if that is nothing.
    fn keep(&mut self, rest: &[u8], now: Instant) {
        let was_partial = !self.pending.is_empty();
        self.pending = rest.to_vec();
        match (rest, was_partial) {
            ([], _) => self.deadline = now + IDLE_TIME_MAX,
            // However slowly the rest comes, it has come by then.
            ([_, ..], true) => {}
            ([_, ..], false) => {
                self.deadline = now + REQUEST_TIME_MAX;
                self.timer.as_mut().reset(self.deadline);
            }
        }
    }

    /// Waits until the client has been silent for too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }

    /// Sends what is left to send.
    async fn flush(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = std::mem::take(&mut self.unsent);
        time::timeout(SEND_TIME_MAX, self.stream.write_all(&unsent)).await?
    }
}

/// A request that is being answered.
enum Wanted {
    /// The answer was known.
    Known(Reply),
    /// It is looked for.
    Lookup {
        request: Box<[u8]>,
        form: Form,
        finding: JoinHandle<Finding>,
    },
}

/// What a lookup came to, and under which rules.
struct Finding {
    considered: Result<Arc<Considered>, Busy>,
    edition: u64,
}

impl Wanted {
    /// Whether the answer can be had at once.
    fn is_ready(&self) -> bool {
        match self {
            Self::Known(_) => true,
            Self::Lookup { finding, .. } => finding.is_finished(),
        }
    }
}

impl<D: Consider> Room<D> {
    /// The workbench, which nobody else uses at the moment.
    fn bench(&self) -> MutexGuard<'_, Workbench> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers requests as long as their answers are known; says what to do next, and what is left.
    fn answer<'a>(
        &self,
        mut input: &'a [u8],
        ending: Ending,
        replies: &mut Replies,
        output: &mut Vec<u8>,
        now: Instant,
    ) -> (State, &'a [u8]) {
        replies.go_by(self.desk.edition());
        loop {
            let (request, rest) = match self.protocol.incoming(input, ending) {
                Incoming::Request { request, rest } => (request, rest),
                Incoming::Partial => {
                    let state = match ending {
                        Ending::Open => State::Reading,
                        Ending::Ended => State::Over,
                    };
                    return (state, input);
                }
                Incoming::Broken(reply) => {
                    self.counts.answered(reply.result);
                    output.extend_from_slice(&reply.octets);
                    return (State::Over, &[]);
                }
            };
            if let Some(reply) = replies.get(request, now) {
                self.counts.answered(reply.result);
                output.extend_from_slice(&reply.octets);
            } else {
                match self.protocol.asked(request) {
                    Asked::Known(reply) => {
                        self.counts.answered(reply.result);
                        output.extend_from_slice(&reply.octets);
                    }
                    Asked::Destination(..) => return (State::Asking, input),
                }
            }
            input = rest;
            if output.len() >= OUTPUT_OCTETS_MAX {
                return (State::Crowded, input);
            }
        }
    }

    /// Begins to look for the answer to a request.
    fn ask(&self, request: &[u8]) -> Wanted {
        if let Some(reply) = self.bench().replies.get(request, Instant::now()) {
            return Wanted::Known(reply.clone());
        }
        match self.protocol.asked(request) {
            Asked::Known(reply) => Wanted::Known(reply),
            Asked::Destination(destination, form) => {
                let desk = Arc::clone(&self.desk);
                let finding = self.lookups.spawn(async move {
                    let edition = desk.edition();
                    let considered = desk.consider(&destination).await;
                    Finding {
                        considered,
                        edition,
                    }
                });
                Wanted::Lookup {
                    request: request.into(),
                    form,
                    finding,
                }
            }
        }
    }

    /// Waits for an answer.
    async fn find(&self, wanted: Wanted) -> Reply {
        let reply = match wanted {
            Wanted::Known(reply) => reply,
            Wanted::Lookup {
                request,
                form,
                finding,
            } => match finding.await {
                Ok(Finding {
                    considered: Ok(considered),
                    edition,
                }) => {
                    let reply = form.considered(&considered);
                    let until = considered.good_until();
                    let replies = &mut self.bench().replies;
                    replies.put(&request, reply.clone(), until, edition);
                    reply
                }
                Ok(Finding {
                    considered: Err(busy),
                    ..
                }) => form.busy(&busy.to_string()),
                // It comes to its end, or has failed; another attempt may find another byrnie.
                Err(_) => form.busy("the lookup was broken off"),
            },
        };
        self.counts.answered(reply.result);
        reply
    }
}

/// The buffer that is read into. It holds what was kept, which is at most one request that is not whole,
/// and hundreds of requests that came together.
const INPUT_OCTETS: usize = 64 << 10;

const _: () = assert!(INPUT_OCTETS > 2 * REQUEST_OCTETS_MAX);

/// How many octets of answers are collected before the client has to take them. One more answer, of up to
/// 100,000 octets, may be added when it is almost reached.
const OUTPUT_OCTETS_MAX: usize = 128 << 10;

/// How many lookups of one connection are under way at once; requests behind them wait for their turn.
const LOOKUPS_OF_ONE_MAX: usize = 64;

/// How long a client may be silent between requests. Postfix goes after seconds, and comes again without
/// losing anything when it was dropped.
const IDLE_TIME_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a client may take from the first octet of a request to its last.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a client may take to make room for an answer.
const SEND_TIME_MAX: Duration = Duration::from_secs(10);
