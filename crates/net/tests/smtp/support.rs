//! Scripted peers, a service that keeps mail in memory, and a listener that serves it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_net::clock::SystemClock;
use byrnie_net::smtp::client::ClientConfig;
use byrnie_net::smtp::client::SmtpClient;
use byrnie_net::smtp::server::IncomingMessage;
use byrnie_net::smtp::server::MailService;
use byrnie_net::smtp::server::Server;
use byrnie_net::smtp::server::ServerConfig;
use byrnie_net::smtp::server::ServerControl;
use byrnie_net::smtp::server::SessionFacts;
use byrnie_net::smtp::server::serve;
use byrnie_net::tls::Roots;
use byrnie_net::tls::TlsClient;
use byrnie_net::tls::server_acceptor;
use byrnie_policy::RequireTls;
use byrnie_policy::Requirement;
use byrnie_policy::StsObservation;
use byrnie_policy::TlsRequirement;
use byrnie_smtp::BodyType;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Envelope;
use byrnie_smtp::Octets;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_smtp::Transaction;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How long a test waits for what must come at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A message that a service accepted.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The session that it came in.
    pub(super) session: SessionFacts,
    /// Its envelope.
    pub(super) envelope: Envelope,
    /// Its content.
    pub(super) octets: Vec<u8>,
    /// What octets it was said to hold.
    pub(super) content: Octets,
}

/// A service that keeps mail in memory, and knows no recipient whose name begins with `no`.
#[derive(Debug, Default)]
pub(super) struct Mailroom {
    /// What it accepted.
    kept: Mutex<Vec<Kept>>,
    /// How many messages it had to forget.
    forgotten: Mutex<usize>,
    /// Why it admits nobody.
    closed: Option<Reply>,
}

impl Mailroom {
    /// A service that admits nobody.
    pub(super) fn closed(refusal: Reply) -> Self {
        Self {
            closed: Some(refusal),
            ..Self::default()
        }
    }

    /// What it accepted.
    pub(super) fn kept(&self) -> Vec<Kept> {
        self.kept.lock().unwrap().clone()
    }

    /// How many messages it had to forget.
    pub(super) fn forgotten(&self) -> usize {
        *self.forgotten.lock().unwrap()
    }
}

/// A service as a listener has it.
#[derive(Debug)]
pub(super) struct Desk(pub(super) Arc<Mailroom>);

impl MailService for Desk {
    type Incoming = Parcel;

    fn admit(&self, _: SocketAddr) -> Result<(), Reply> {
        self.0.closed.clone().map_or(Ok(()), Err)
    }

    async fn recipient(
        &self,
        session: &SessionFacts,
        _: &ReversePath,
        recipient: &Mailbox,
    ) -> Result<(), Reply> {
        assert!(session.hello.is_some());
        if recipient.local_part.as_str().starts_with("no") {
            return Err(Reply::new(
                550,
                EnhancedStatus::new(5, 1, 1),
                "no such user",
            ));
        }
        Ok(())
    }

    async fn begin(&self, session: &SessionFacts, envelope: Envelope) -> Result<Parcel, Reply> {
        Ok(Parcel {
            mailroom: Arc::clone(&self.0),
            kept: Some(Kept {
                session: session.clone(),
                envelope,
                octets: Vec::new(),
                content: Octets::Ascii,
            }),
        })
    }
}

/// A message that is being taken.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Where it goes.
    mailroom: Arc<Mailroom>,
    /// The message, until it is committed.
    kept: Option<Kept>,
}

impl IncomingMessage for Parcel {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Reply> {
        assert!(!chunk.is_empty() && chunk.len() <= 64 * 1_024 + 1);
        self.kept.as_mut().unwrap().octets.extend_from_slice(chunk);
        Ok(())
    }

    fn note_content(&mut self, content: Octets) {
        self.kept.as_mut().unwrap().content = content;
    }

    fn held(&self) -> usize {
        self.kept.as_ref().unwrap().octets.len()
    }

    async fn commit(mut self) -> Result<Reply, Reply> {
        let kept = self.kept.take().unwrap();
        self.mailroom.kept.lock().unwrap().push(kept);
        Ok(Reply::new(250, EnhancedStatus::new(2, 0, 0), "kept"))
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if self.kept.is_some() {
            *self.mailroom.forgotten.lock().unwrap() += 1;
        }
    }
}

/// A listener that serves a mailroom.
pub(super) struct Listening {
    /// Where.
    pub(super) address: SocketAddr,
    /// What it accepted.
    pub(super) mailroom: Arc<Mailroom>,
    /// Changes how it works.
    pub(super) control: ServerControl,
    /// Tells it to stop.
    stop: oneshot::Sender<()>,
    /// Ends when it has stopped.
    task: JoinHandle<()>,
}

impl Listening {
    /// The defaults, without TLS.
    pub(super) async fn plain() -> Self {
        Self::new(config(), None, Mailroom::default()).await
    }

    /// The defaults, with TLS.
    pub(super) async fn with_tls() -> Self {
        Self::new(config(), Some(acceptor()), Mailroom::default()).await
    }

    /// A listener on loopback.
    pub(super) async fn new(
        config: ServerConfig,
        tls: Option<TlsAcceptor>,
        mailroom: Mailroom,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mailroom = Arc::new(mailroom);
        let desk = Desk(Arc::clone(&mailroom));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let server = Arc::new(Server::new(config, tls, desk));
        let control = server.control();
        let task = tokio::spawn(serve(listener, server, shutdown));
        Self {
            address,
            mailroom,
            control,
            stop,
            task,
        }
    }

    /// A client's end of a connection.
    pub(super) async fn connect(&self) -> Line {
        Line::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Tells it to stop; gives what ends when it has.
    pub(super) fn stop(self) -> JoinHandle<()> {
        self.stop.send(()).unwrap();
        self.task
    }
}

/// The defaults.
pub(super) fn config() -> ServerConfig {
    ServerConfig::new("mx.example.org".parse().unwrap(), Arc::new(SystemClock))
}

/// An acceptor with a certificate that nobody vouches for.
pub(super) fn acceptor() -> TlsAcceptor {
    let identity = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let certificate = identity.cert.pem();
    let key = identity.signing_key.serialize_pem();
    server_acceptor(certificate.as_bytes(), key.as_bytes()).unwrap()
}

/// One end of a connection, line by line.
pub(super) struct Line {
    /// The stream.
    stream: BufReader<TcpStream>,
}

impl Line {
    /// The end of a connection.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a text.
    pub(super) async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Receives a line, which must begin like this.
    #[track_caller]
    pub(super) fn hear(&mut self, start: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line);
            tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
            assert!(
                line.starts_with(start),
                "{caller}: {line:?} instead of {start:?}"
            );
            line
        }
    }

    /// Receives the lines of a reply with that code.
    pub(super) async fn hear_all(&mut self, code: &str) {
        while self.hear(code).await.starts_with(&format!("{code}-")) {}
    }

    /// Receives the end of the stream.
    pub(super) async fn hear_end(&mut self) {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        assert_eq!(rest.escape_ascii().to_string(), "");
    }

    /// The stream itself.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}

/// A server that plays one scene for each connection, in order, and takes no further ones.
pub(super) struct Stage {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// Ends when all scenes were played.
    task: JoinHandle<()>,
}

impl Stage {
    /// A server with one scene.
    pub(super) async fn with<F>(scene: impl FnOnce(Line) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        Self::with_two(Some(scene), None::<fn(Line) -> std::future::Ready<()>>).await
    }

    /// A server with a scene for a first and for a second connection.
    pub(super) async fn with_two<F, G>(
        first: Option<impl FnOnce(Line) -> F + Send + 'static>,
        second: Option<impl FnOnce(Line) -> G + Send + 'static>,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
        G: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            if let Some(scene) = first {
                scene(Line::new(listener.accept().await.unwrap().0)).await;
            }
            if let Some(scene) = second {
                scene(Line::new(listener.accept().await.unwrap().0)).await;
            }
        });
        Self { address, task }
    }

    /// Waits for the end of the last scene.
    pub(super) async fn finish(self) {
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

/// A client with the defaults.
pub(super) fn client() -> SmtpClient<SystemClock> {
    let tls = TlsClient::new(&Roots::public()).unwrap();
    let config = ClientConfig::new("relay.example".parse().unwrap());
    SmtpClient::new(config, tls, Arc::new(SystemClock))
}

/// The host of all tests.
pub(super) fn host() -> DomainName {
    "mx.example.org".parse().unwrap()
}

/// A requirement on TLS alone.
pub(super) fn requirement(tls: TlsRequirement) -> Requirement {
    Requirement {
        tls,
        require_tls: RequireTls::NotDemanded,
        sts_observation: StsObservation::None,
    }
}

/// A message for these recipients.
pub(super) fn transaction(recipients: &[&str]) -> Transaction {
    Transaction {
        reverse_path: "a@example.org".parse().unwrap(),
        recipients: recipients
            .iter()
            .map(|text| text.parse().unwrap())
            .collect(),
        body: BodyType::SevenBit,
        smtputf8: Smtputf8::NotUsed,
        tls_demand: TlsDemand::None,
        size: 100,
    }
}
