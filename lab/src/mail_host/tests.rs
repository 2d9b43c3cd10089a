//! The faults of mail hosts, seen by a client; the client that hands mail in is tested with them.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::*;
use crate::address::AddressPlan;
use crate::authority::Authority;
use crate::authority::Identity;
use crate::authority::Lifetime;
use crate::inject::InjectError;
use crate::inject::Injector;
use crate::inject::Mail;
use crate::inject::Submission;
use crate::middle::Middle;
use crate::middle::Tampering;

#[tokio::test]
async fn a_message_arrives_as_it_was_sent_in_clear_text_and_over_tls() {
    for submission in [Submission::Clear, Submission::StartTls] {
        let bench = Bench::start(|identity| Conduct::tls(identity.acceptor().unwrap())).await;
        let mail = mail(submission);
        bench.injector.inject(&mail).await.unwrap();
        let arrived = bench.inbox.find(|_| true);
        let [received] = arrived.as_slice() else {
            panic!("{arrived:?}");
        };
        assert_eq!(received.id.as_deref(), Some("mark-1"));
        assert_eq!(received.reverse_path, "<a@home.test> BODY=8BITMIME");
        assert_eq!(received.recipients, ["<b@host.test>"]);
        assert_eq!(received.message, mail.text().as_bytes());
        let sni = received.tls.as_ref().and_then(|tls| tls.sni.as_deref());
        let expected = (submission == Submission::StartTls).then_some(NAME);
        assert_eq!(sni, expected);
    }
}

#[tokio::test]
async fn commands_sent_ahead_of_the_handshake_have_no_effect() {
    let bench = Bench::start(|identity| Conduct::tls(identity.acceptor().unwrap())).await;
    let mail = mail(Submission::StartTlsWithInjectedCommands);
    bench.injector.inject(&mail).await.unwrap();
    assert_eq!(bench.inbox.find(|_| true).len(), 1);
}

#[tokio::test]
async fn a_message_in_chunks_arrives_whole() {
    let bench = Bench::start(|_| Conduct::clear()).await;
    let mut client = bench.client().await;
    client.say("EHLO c", "250").await;
    client.say("MAIL FROM:<a@b>", "250").await;
    client.say("RCPT TO:<c@d>", "250").await;
    client.say("BDAT 7\r\nSubj:", "250").await;
    client.say("BDAT 5 LAST\r\n\r\n.", "250").await;
    let arrived = bench.inbox.find(|_| true);
    assert_eq!(arrived[0].message, b"Subj:\r\n\r\n.\r\n");
}

#[tokio::test]
async fn each_fault_shows_where_it_must() {
    for (fault, greeting, ehlo, mail, recipient, end) in [
        (Some(MailFault::Greeting("421 busy")), "421", "", "", "", ""),
        (Some(MailFault::Drop), "", "", "", "", ""),
        (Some(MailFault::DropInData), "220", "250", "250", "250", ""),
        (
            Some(MailFault::ReplyToRecipient("450 later")),
            "220",
            "250",
            "250",
            "450",
            "503",
        ),
        (
            Some(MailFault::ReplyToMessage("554 no")),
            "220",
            "250",
            "250",
            "250",
            "554",
        ),
        (None, "220", "250", "250", "250", "250"),
    ] {
        let conduct = Conduct {
            fault: fault.clone(),
            ..Conduct::clear()
        };
        let bench = Bench::start(move |_| conduct.clone()).await;
        let mut client = bench.client_ungreeted().await;
        assert_eq!(client.code().await, greeting, "{fault:?}");
        assert_eq!(client.ask("EHLO c").await, ehlo, "{fault:?}");
        assert_eq!(client.ask("MAIL FROM:<a@b>").await, mail, "{fault:?}");
        assert_eq!(client.ask("RCPT TO:<c@d>").await, recipient, "{fault:?}");
        let mut got = client.ask("DATA").await;
        if got == "354" {
            got = client.ask("text\r\n.").await;
        }
        assert_eq!(got, end, "{fault:?}");
        let expected = usize::from(fault.is_none());
        assert_eq!(bench.inbox.find(|_| true).len(), expected, "{fault:?}");
    }
}

#[tokio::test]
async fn a_fault_about_connections_shows_in_the_second_message() {
    // What the end of the data is answered by, and a second MAIL on the same connection; and how many messages the host has.
    for (fault, end, again, taken) in [
        (Some(MailFault::TakeWithoutReply), "", "", 1),
        (Some(MailFault::ResetInData), "", "", 0),
        (Some(MailFault::CloseWhenIdle), "250", "", 1),
        (Some(MailFault::OneMessage), "250", "421", 1),
        (None, "250", "250", 1),
    ] {
        let conduct = Conduct {
            fault: fault.clone(),
            ..Conduct::clear()
        };
        let bench = Bench::start(move |_| conduct.clone()).await;
        let mut client = bench.client().await;
        client.say("EHLO c", "250").await;
        client.say("MAIL FROM:<a@b>", "250").await;
        client.say("RCPT TO:<c@d>", "250").await;
        client.say("DATA", "354").await;
        let text = format!("{}\r\n.", "text ".repeat(20));
        assert_eq!(client.ask(&text).await, end, "{fault:?}");
        assert_eq!(client.ask("MAIL FROM:<a@b>").await, again, "{fault:?}");
        assert_eq!(bench.inbox.find(|_| true).len(), taken, "{fault:?}");
    }
}

#[tokio::test]
async fn a_silent_host_says_nothing_and_a_dripping_one_little() {
    for (fault, octets) in [(MailFault::Silent, 0), (MailFault::OctetBySecond, 1)] {
        let conduct = Conduct::clear().with_fault(fault.clone());
        let bench = Bench::start(move |_| conduct.clone()).await;
        let client = bench.client_ungreeted().await;
        let mut stream = client.stream.into_inner();
        let mut got = [0; 100];
        let first = tokio::time::timeout(Duration::from_millis(900), stream.read(&mut got)).await;
        assert_eq!(first.map_or(0, Result::unwrap), octets, "{fault:?}");
    }
}

#[tokio::test]
async fn a_greylisting_host_takes_a_recipient_at_the_second_attempt() {
    let conduct = Conduct::clear().with_fault(MailFault::Greylist);
    let bench = Bench::start(move |_| conduct.clone()).await;
    let mut client = bench.client().await;
    client.say("EHLO c", "250").await;
    client.say("MAIL FROM:<a@b>", "250").await;
    for (recipient, code) in [("<c@d>", "450"), ("<e@d>", "450"), ("<c@d>", "250")] {
        client.say(&format!("RCPT TO:{recipient}"), code).await;
    }
}

#[tokio::test]
async fn an_endless_reply_does_not_end() {
    let conduct = Conduct::clear().with_fault(MailFault::EndlessReply);
    let bench = Bench::start(move |_| conduct.clone()).await;
    let mut client = bench.client().await;
    client.stream.write_all(b"EHLO c\r\n").await.unwrap();
    for _ in 0..10_000 {
        assert!(client.line().await.starts_with("250-"));
    }
}

#[tokio::test]
async fn injected_replies_come_in_one_packet_with_the_220() {
    let bench = Bench::start(|identity| Conduct {
        starttls: Starttls::WithInjectedReplies(identity.acceptor().unwrap()),
        ..Conduct::clear()
    })
    .await;
    let mut client = bench.client().await;
    client.say("EHLO c", "250").await;
    client.stream.write_all(b"STARTTLS\r\n").await.unwrap();
    let mut packet = vec![0; 4096];
    let length = client.stream.read(&mut packet).await.unwrap();
    assert_eq!(&packet[..length], INJECTED_REPLIES.as_bytes());
}

#[tokio::test]
async fn starttls_is_offered_as_the_conduct_says() {
    for (starttls, offered, code) in [
        (Starttls::NotOffered, false, "502"),
        (Starttls::Refused, true, "454"),
    ] {
        let conduct = Conduct {
            starttls,
            ..Conduct::clear()
        };
        let bench = Bench::start(move |_| conduct.clone()).await;
        let mut client = bench.client().await;
        let capabilities = client.whole_reply("EHLO c").await;
        assert_eq!(capabilities.contains("STARTTLS"), offered);
        assert_eq!(client.ask("STARTTLS").await, code);
    }
}

#[tokio::test]
async fn requiretls_is_offered_over_tls_alone() {
    let bench = Bench::start(|identity| Conduct {
        require_tls: Extension::Offered,
        ..Conduct::tls(identity.acceptor().unwrap())
    })
    .await;
    let mut client = bench.client().await;
    let clear = client.whole_reply("EHLO c").await;
    assert!(clear.contains("STARTTLS") && !clear.contains("REQUIRETLS"));
    let session = Session {
        tls: Some(TlsSeen {
            version: String::new(),
            sni: None,
        }),
        ..Session::new(Arc::clone(&bench.host.shared), bench.host.address)
    };
    let protected = session.capabilities(&bench.host.shared.conduct());
    assert!(protected.contains("REQUIRETLS") && !protected.contains("STARTTLS"));
}

#[tokio::test]
async fn a_host_that_is_down_refuses_connections_and_comes_up_again() {
    let mut bench = Bench::start(|_| Conduct::clear()).await;
    let address = bench.host.address;
    let open = bench.client().await;
    bench.host.down().await;
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(bench.host.sessions(), 0, "open sessions end too");
    drop(open);
    bench.host.up().await.unwrap();
    bench.client().await.say("NOOP", "250").await;
}

#[tokio::test]
async fn the_man_in_the_middle_strips_the_offer_and_passes_the_mail() {
    let bench = Bench::start(|identity| Conduct::tls(identity.acceptor().unwrap())).await;
    let (address, _middle) = bench.middle(Tampering::StripStarttls).await;
    let mut client = Client::connect(address).await;
    assert_eq!(client.code().await, "220");
    let capabilities = client.whole_reply("EHLO c").await;
    assert!(!capabilities.contains("STARTTLS"), "{capabilities}");
    assert!(capabilities.contains("PIPELINING"), "{capabilities}");
    let injector = Injector::new(address, NAME, &bench.roots_pem).unwrap();
    injector.inject(&mail(Submission::Clear)).await.unwrap();
    assert_eq!(bench.inbox.find(|got| got.tls.is_none()).len(), 1);
}

#[tokio::test]
async fn the_man_in_the_middle_shows_a_certificate_of_his_own_and_passes_the_mail() {
    let bench = Bench::start(|identity| Conduct::tls(identity.acceptor().unwrap())).await;
    let his_authority = Authority::root("His").unwrap();
    let his = his_authority.issue(&[NAME], Lifetime::Current).unwrap();
    let tampering = Tampering::ReplaceCertificate(his.acceptor().unwrap());
    let (address, _middle) = bench.middle(tampering).await;

    let careful = Injector::new(address, NAME, &bench.roots_pem).unwrap();
    let refused = careful.inject(&mail(Submission::StartTls)).await;
    assert!(matches!(refused, Err(InjectError::Io(_))), "{refused:?}");
    assert!(bench.inbox.find(|_| true).is_empty());

    let fooled = Injector::new(address, NAME, &his_authority.pem()).unwrap();
    fooled.inject(&mail(Submission::StartTls)).await.unwrap();
    assert_eq!(bench.inbox.find(|_| true).len(), 1);
}

/// What the hosts of these tests are called.
const NAME: &str = "mx.host.test";

/// One host.
struct Bench {
    plan: AddressPlan,
    host: MailHost,
    inbox: Inbox,
    injector: Injector,
    roots_pem: String,
}

impl Bench {
    async fn start(conduct: impl Fn(&Identity) -> Conduct) -> Self {
        let root = Authority::root("Root").unwrap();
        let identity = root.issue(&[NAME], Lifetime::Current).unwrap();
        let mut plan = AddressPlan::draw().unwrap();
        let address = SocketAddr::from((plan.draw_address().unwrap(), plan.mx_port));
        let inbox = Inbox::default();
        let mut host = MailHost::new(NAME, address, conduct(&identity), inbox.clone());
        host.up().await.unwrap();
        Self {
            plan,
            host,
            inbox,
            injector: Injector::new(address, NAME, &root.pem()).unwrap(),
            roots_pem: root.pem(),
        }
    }

    async fn client(&self) -> Client {
        let mut client = self.client_ungreeted().await;
        assert_eq!(client.code().await, "220");
        client
    }

    async fn client_ungreeted(&self) -> Client {
        Client::connect(self.host.address).await
    }

    async fn middle(&self, tampering: Tampering) -> (SocketAddr, Middle) {
        let mut plan = AddressPlan::draw().unwrap();
        let address = SocketAddr::from((plan.draw_address().unwrap(), self.plan.mx_port));
        let middle = Middle::start(address, self.host.address, tampering);
        (address, middle.await.unwrap())
    }
}

/// A client that says what it is told to say.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: BufReader::new(TcpStream::connect(address).await.unwrap()),
        }
    }

    /// One line; empty at the end.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        // A reset is an end too.
        let _ = self.stream.read_line(&mut line).await;
        line
    }

    /// The code of one reply; empty at the end.
    async fn code(&mut self) -> String {
        loop {
            let line = self.line().await;
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.chars().take(3).collect();
            }
        }
    }

    async fn ask(&mut self, line: &str) -> String {
        // The host may be gone already.
        let _ = self
            .stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await;
        self.code().await
    }

    async fn whole_reply(&mut self, line: &str) -> String {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await
            .unwrap();
        let mut reply = String::new();
        loop {
            let line = self.line().await;
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    #[track_caller]
    fn assert(line: &str, got: &str, expected: &str) {
        assert_eq!(got, expected, "{line}");
    }

    async fn say(&mut self, line: &str, expected: &str) {
        let got = self.ask(line).await;
        Self::assert(line, &got, expected);
    }
}

fn mail(submission: Submission) -> Mail {
    Mail {
        id: String::from("mark-1"),
        from: String::from("a@home.test"),
        to: vec![String::from("b@host.test")],
        submission,
        parameters: "BODY=8BITMIME",
        headers: "X-Other: yes\r\n",
        padding: 500,
    }
}
