//! Asks an upstream resolver and validates the answers: a driver in its simplest form.
//!
//! ```text
//! ask dns NAME TYPE --dns-server ADDRESS:PORT --trust-anchor FILE [--json]
//! ask dns --batch FILE --json --concurrency N --dns-server ADDRESS:PORT --trust-anchor FILE
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "an example may print, read the clock, and end where it cannot go on"
)]

use std::collections::HashMap;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

use byrnie_base::UnixTime;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Step;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use byrnie_dnssec::Verdict;
use byrnie_dnssec::tree;
use domain::base::Name;

fn main() {
    let options = Options::parse(std::env::args().skip(1));
    let mut anchors = TrustAnchors::default();
    for file in &options.anchors {
        let text = std::fs::read_to_string(file).expect("the trust anchors can be read");
        anchors.extend(TrustAnchors::parse(&text).expect("the file holds trust anchors"));
    }
    let asker = Asker {
        validator: Validator::new(anchors, Limits::default(), Sha1Policy::default()),
        upstream: Arc::new(Upstream {
            address: options.upstream,
            answers: Mutex::default(),
        }),
    };
    let next = AtomicUsize::new(0);
    let (verdicts, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..options.concurrency {
            let (next, verdicts) = (&next, verdicts.clone());
            let (asker, questions) = (&asker, &options.questions);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(question) = questions.get(at) else {
                        break;
                    };
                    let _ = verdicts.send((at, asker.ask(question.clone())));
                }
            });
        }
        drop(verdicts);
        print_in_order(results, options.form);
    });
}

/// Prints verdicts in the order of the questions.
fn print_in_order(results: mpsc::Receiver<(usize, Verdict)>, form: Form) {
    let mut waiting = HashMap::new();
    let mut next = 0;
    for (at, verdict) in results {
        waiting.insert(at, verdict);
        while let Some(verdict) = waiting.remove(&next) {
            match form {
                Form::Json => {
                    let json = serde_json::to_string(&verdict);
                    println!("{}", json.expect("a verdict has a JSON form"));
                }
                Form::Text => println!("{}\n{}", verdict.status, tree(&verdict.chain)),
            }
            next += 1;
        }
    }
}

/// The driver of validations.
struct Asker {
    validator: Validator,
    upstream: Arc<Upstream>,
}

impl Asker {
    /// Drives one validation to its verdict.
    fn ask(&self, question: Question) -> Verdict {
        let (mut validation, mut step) = self.validator.start(question, now());
        let (answers, answered) = mpsc::channel();
        loop {
            match step {
                Step::Done(verdict) => return *verdict,
                Step::NeedsMore(questions) => {
                    for question in questions {
                        let (upstream, answers) = (Arc::clone(&self.upstream), answers.clone());
                        thread::spawn(move || {
                            let answer = upstream.answer(&question);
                            let _ = answers.send((question, answer));
                        });
                    }
                }
            }
            let (question, answer) = answered.recv().expect("this thread has a sender itself");
            step = match answer {
                Ok(octets) => validation.handle_answer(&question, &octets, now()),
                Err(reason) => validation.handle_failure(&question, reason, now()),
            };
        }
    }
}

/// An upstream resolver, asked at most once for everything.
struct Upstream {
    address: SocketAddr,
    answers: Mutex<HashMap<Question, Answer>>,
}

/// An answer, or the reason why there is none, that may still be under way.
#[derive(Clone, Default)]
struct Answer(Arc<OnceLock<Result<Vec<u8>, String>>>);

impl Upstream {
    /// The raw answer to a question.
    fn answer(&self, question: &Question) -> Result<Vec<u8>, String> {
        let mut answers = self.answers.lock().expect("no holder panics");
        let answer = answers.entry(question.clone()).or_default().clone();
        drop(answers);
        answer.0.get_or_init(|| self.fetch(question)).clone()
    }

    /// Asks over UDP, and over TCP if the answer is truncated.
    fn fetch(&self, question: &Question) -> Result<Vec<u8>, String> {
        let query = query(question);
        let mut reason = String::new();
        for _ in 0..UDP_ATTEMPTS {
            match self.over_udp(&query) {
                Ok(answer) if answer.get(2).is_some_and(|flags| flags & FLAG_TC != 0) => {
                    return self.over_tcp(&query).map_err(|error| error.to_string());
                }
                Ok(answer) => return Ok(answer),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }

    /// One query over UDP.
    fn over_udp(&self, query: &[u8]) -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.send(query)?;
        let mut answer = vec![0; usize::from(UDP_OCTETS)];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }

    /// One query over TCP.
    fn over_tcp(&self, query: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let length = u16::try_from(query.len()).expect("a query is short");
        stream.write_all(&[&length.to_be_bytes(), query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }
}

/// A query with RD, CD and DO.
fn query(question: &Question) -> Vec<u8> {
    let mut octets = vec![0, 0, 1, 0x10, 0, 1, 0, 0, 0, 0, 0, 1];
    octets.extend_from_slice(question.name.as_slice());
    octets.extend_from_slice(&question.rtype.to_int().to_be_bytes());
    octets.extend_from_slice(&[0, 1, 0, 0, 41]);
    octets.extend_from_slice(&UDP_OCTETS.to_be_bytes());
    octets.extend_from_slice(&[0, 0, 0x80, 0, 0, 0]);
    octets
}

/// The time.
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

/// How verdicts are printed.
#[derive(Clone, Copy)]
enum Form {
    Json,
    Text,
}

/// The command line.
struct Options {
    questions: Vec<Question>,
    upstream: SocketAddr,
    anchors: Vec<String>,
    concurrency: usize,
    form: Form,
}

impl Options {
    /// Reads the command line.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            questions: Vec::new(),
            upstream: SocketAddr::from(([127, 0, 0, 1], 53)),
            anchors: Vec::new(),
            concurrency: 1,
            form: Form::Text,
        };
        let mut words = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("the option has a value");
            match argument.as_str() {
                "--batch" => {
                    let lines = std::fs::read_to_string(value()).expect("the batch can be read");
                    options.questions.extend(lines.lines().map(parse_question));
                }
                "--concurrency" => {
                    options.concurrency = value().parse().expect("a number of questions");
                }
                "--dns-server" => options.upstream = value().parse().expect("ADDRESS:PORT"),
                "--json" => options.form = Form::Json,
                "--trust-anchor" => options.anchors.push(value()),
                _ => words.push(argument),
            }
        }
        if let [_, name, rtype] = words.as_slice() {
            options
                .questions
                .push(parse_question(&format!("{name} {rtype}")));
        }
        options
    }
}

/// A line of `NAME TYPE`.
fn parse_question(line: &str) -> Question {
    let (name, rtype) = line.split_once(' ').expect("a line is NAME TYPE");
    Question::new(
        Name::bytes_from_str(name).expect("a domain name"),
        rtype.parse().expect("a record type"),
    )
}

/// How long one attempt waits.
const TIMEOUT: Duration = Duration::from_secs(6);

/// How often a question is sent over UDP.
const UDP_ATTEMPTS: usize = 3;

/// The longest answer over UDP that is asked for: the limit that DNS operators agreed on in 2020.
const UDP_OCTETS: u16 = 1232;

/// TC in the third octet of a message: RFC 1035, Section 4.1.1.
const FLAG_TC: u8 = 0x02;
