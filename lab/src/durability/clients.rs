//! Clients that hand letters in over pipelined sessions (RFC 2920), and note what was taken.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;

use super::letters::Letter;
use super::letters::Letters;

/// What the clients of one load share.
#[derive(Debug)]
pub(crate) struct Record {
    /// The letters.
    letters: Letters,
    /// The number of the next letter.
    next: AtomicU64,
    /// Set when no more letters are to be begun.
    over: AtomicBool,
    /// Set while there is more mail on its way than is wanted.
    pausing: AtomicBool,
    /// What was said.
    notes: Mutex<Notes>,
}

/// What the program said to the clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// Letters answered by 250, and the destinations for which.
    pub(crate) taken: BTreeMap<u64, Vec<usize>>,
    /// Letters answered by 4yz.
    pub(crate) postponed: usize,
    /// The last such answer.
    pub(crate) last_postponed: String,
    /// Answers that no client should get.
    pub(crate) refused: Vec<String>,
    /// Sessions that broke before the answer.
    pub(crate) broken: usize,
    /// Sessions without an answer for longer than [`REPLY_MAX`].
    pub(crate) silent: usize,
}

impl Record {
    /// An empty record.
    pub(crate) fn new(letters: Letters) -> Self {
        Self {
            letters,
            next: AtomicU64::new(0),
            over: AtomicBool::new(false),
            pausing: AtomicBool::new(false),
            notes: Mutex::default(),
        }
    }

    /// No more letters are begun.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Whether clients wait before the next letter.
    pub(crate) fn pause(&self, pausing: bool) {
        self.pausing.store(pausing, Ordering::SeqCst);
    }

    /// What was said so far.
    pub(crate) fn notes(&self) -> Notes {
        self.look(Clone::clone)
    }

    /// What `look` makes of what was said so far.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Notes) -> T) -> T {
        look(&self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The next letter, when one is wanted; `None` when it is over.
    async fn next(&self) -> Option<Letter> {
        loop {
            if self.over.load(Ordering::SeqCst) {
                return None;
            }
            if !self.pausing.load(Ordering::SeqCst) {
                let number = self.next.fetch_add(1, Ordering::SeqCst);
                return Some(self.letters.letter(number));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// One client: session after session until it is over. A letter that was not taken, or of which that is not known,
/// is not handed in again.
pub(crate) async fn hand_in(address: SocketAddr, record: Arc<Record>) {
    while !record.over.load(Ordering::SeqCst) {
        match session(address, &record).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                record.note(|notes| notes.silent += 1);
            }
            Err(_) => {
                // The program is dead at the moment; it comes back.
                record.note(|notes| notes.broken += 1);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One session with some letters.
async fn session(address: SocketAddr, record: &Record) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let greeting = reply(&mut stream).await?;
    if !greeting.starts_with("220") {
        record.note(|notes| not_taken(notes, greeting));
        return Ok(());
    }
    stream.write_all(b"EHLO client.lab.invalid\r\n").await?;
    reply(&mut stream).await?;
    let Some(mut letter) = record.next().await else {
        return quit(&mut stream).await;
    };
    stream.write_all(envelope(&letter).as_bytes()).await?;
    for left in (0..SESSION_LETTERS).rev() {
        let (taken, answers) = envelope_replies(&mut stream, &letter).await?;
        let next = match left {
            0 => None,
            _ => record.next().await,
        };
        let mut octets = match taken.is_empty() {
            true => String::new(),
            false => letter.data(),
        };
        if let Some(next) = &next {
            octets.push_str(&envelope(next));
        }
        stream.write_all(octets.as_bytes()).await?;
        if taken.is_empty() {
            record.note(|notes| not_taken(notes, answers));
        } else {
            let answer = reply(&mut stream).await?;
            record.note(|notes| match answer.starts_with("250") {
                true => drop(notes.taken.insert(letter.number, taken)),
                false => not_taken(notes, answer),
            });
        }
        match next {
            Some(next) => letter = next,
            None => break,
        }
    }
    quit(&mut stream).await
}

/// MAIL, RCPT and DATA in one piece.
fn envelope(letter: &Letter) -> String {
    let mut text = format!("MAIL FROM:<{}>\r\n", letter.sender());
    for recipient in letter.recipients() {
        text.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
    }
    text.push_str("DATA\r\n");
    text
}

/// Reads the replies to an envelope: the destinations for which the letter may now be sent (none if DATA was refused),
/// and what was said.
async fn envelope_replies(
    stream: &mut BufReader<TcpStream>,
    letter: &Letter,
) -> io::Result<(Vec<usize>, String)> {
    let mut said = reply(stream).await?;
    let mut taken = Vec::new();
    for destination in &letter.destinations {
        let answer = reply(stream).await?;
        if answer.starts_with("25") {
            taken.push(*destination);
        } else if said.starts_with("25") {
            said = answer;
        }
    }
    let go_ahead = reply(stream).await?;
    if !go_ahead.starts_with("354") {
        taken.clear();
        if said.starts_with("25") {
            said = go_ahead;
        }
    }
    Ok((taken, said))
}

/// Notes a letter that was not taken.
fn not_taken(notes: &mut Notes, answer: String) {
    if answer.starts_with('4') {
        notes.postponed += 1;
        notes.last_postponed = answer;
    } else if notes.refused.len() < REFUSED_KEPT {
        notes.refused.push(answer);
    }
}

/// Says good-bye.
async fn quit(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    stream.write_all(b"QUIT\r\n").await?;
    reply(stream).await.map(drop)
}

/// Reads one reply; of several lines, the last.
async fn reply(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let lines = async {
        loop {
            let mut line = String::new();
            (&mut *stream)
                .take(REPLY_LINE_OCTETS_MAX)
                .read_line(&mut line)
                .await?;
            if !line.ends_with('\n') {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(String::from(line.trim_end()));
            }
        }
    };
    tokio::time::timeout(REPLY_MAX, lines)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

/// How long one reply may take: longer than a disk that takes ten seconds for each of a few calls.
pub(crate) const REPLY_MAX: Duration = Duration::from_secs(60);

/// Letters in one session.
const SESSION_LETTERS: u32 = 20;

/// The pause of a client that was not served, or that has nothing to do.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers to report.
const REFUSED_KEPT: usize = 20;

/// Octets of one line of a reply.
const REPLY_LINE_OCTETS_MAX: u64 = 4096;
