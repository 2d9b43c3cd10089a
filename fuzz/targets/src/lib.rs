//! What each fuzz target does with its input.
//!
//! Every function takes octets as they might come from a stranger, runs one parser over them, and
//! asserts what must hold whatever they are. The fuzzer in the folder above calls them one by one;
//! `cargo test` replays the corpora through [`TARGETS`].

#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "to panic where something does not hold is what a target is for"
)]

mod dnssec;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::Security;
use byrnie_base::UnixTime;
use byrnie_dane::CertUsage;
use byrnie_dane::MatchingType;
use byrnie_dane::Presented;
use byrnie_dane::ReferenceIdentifiers;
use byrnie_dane::Selector;
use byrnie_dane::TlsaRecord;
use byrnie_mta::policyd::Frame;
use byrnie_mta::policyd::Key;
use byrnie_mta::policyd::PAYLOAD_OCTETS_MAX;
use byrnie_mta::policyd::frame;
use byrnie_mta_sts::Policy;
use byrnie_mta_sts::StsRecord;
use byrnie_net::dns::TrustAnchors;
use byrnie_net::dns::nameservers;
use byrnie_net::gather::DestinationHosts;
use byrnie_smtp::BodyEnd;
use byrnie_smtp::BodyReader;
use byrnie_smtp::BodyRoom;
use byrnie_smtp::BodyType;
use byrnie_smtp::Channel;
use byrnie_smtp::ClientAction;
use byrnie_smtp::ClientSession;
use byrnie_smtp::Command;
use byrnie_smtp::Framing;
use byrnie_smtp::ReplyReader;
use byrnie_smtp::ReversePath;
use byrnie_smtp::ServerAction;
use byrnie_smtp::ServerLimits;
use byrnie_smtp::ServerSession;
use byrnie_smtp::ServerSettings;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::StartTls;
use byrnie_smtp::TlsDemand;
use byrnie_smtp::Transaction;
use byrnie_smtp::replies;
use byrnie_tlsrpt::reading;
pub use dnssec::dnssec_denial;
pub use dnssec::dnssec_drawing;
pub use dnssec::dnssec_message;
pub use dnssec::dnssec_validation;
pub use dnssec::trust_anchor_state;
use rustls_pki_types::CertificateDer;

/// A target under its name, which is also that of its corpus.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// What it does with an input; panics if something that must hold does not.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "configuration",
        run: configuration,
    },
    Target {
        name: "dane_chain",
        run: dane_chain,
    },
    Target {
        name: "dnssec_denial",
        run: dnssec_denial,
    },
    Target {
        name: "dnssec_drawing",
        run: dnssec_drawing,
    },
    Target {
        name: "dnssec_message",
        run: dnssec_message,
    },
    Target {
        name: "dnssec_validation",
        run: dnssec_validation,
    },
    Target {
        name: "domain_name",
        run: domain_name,
    },
    Target {
        name: "mailbox",
        run: mailbox,
    },
    Target {
        name: "resolv_conf",
        run: resolv_conf,
    },
    Target {
        name: "smtp_body",
        run: smtp_body,
    },
    Target {
        name: "smtp_client_session",
        run: smtp_client_session,
    },
    Target {
        name: "smtp_command",
        run: smtp_command,
    },
    Target {
        name: "smtp_reply",
        run: smtp_reply,
    },
    Target {
        name: "smtp_server_session",
        run: smtp_server_session,
    },
    Target {
        name: "socketmap_request",
        run: socketmap_request,
    },
    Target {
        name: "sts_policy",
        run: sts_policy,
    },
    Target {
        name: "sts_record",
        run: sts_record,
    },
    Target {
        name: "tlsa_text",
        run: tlsa_text,
    },
    Target {
        name: "tlsa_wire",
        run: tlsa_wire,
    },
    Target {
        name: "tlsrpt_report",
        run: tlsrpt_report,
    },
    Target {
        name: "trust_anchor_state",
        run: trust_anchor_state,
    },
    Target {
        name: "trust_anchors",
        run: trust_anchors,
    },
];

/// The configuration file.
pub fn configuration(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input)
        && let Err(why) = byrnie::check_configuration(text)
    {
        assert!(!why.contains('\n'), "an error of several lines: {why}");
    }
}

/// A certificate chain against a record of each usage, selector and matching type.
///
/// The first octet chooses the record, the next two say how long the first certificate is, which is
/// also the record's data.
pub fn dane_chain(input: &[u8]) {
    let [choice, high, low, rest @ ..] = input else {
        return;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (leaf, issuer) = rest.split_at(length.min(rest.len()));
    let record = TlsaRecord {
        usage: CertUsage::from(2 + (choice & 1)),
        selector: Selector::from(choice >> 1 & 1),
        matching_type: MatchingType::from(choice >> 2 & 3),
        data: leaf.to_vec(),
    };
    let chain = [leaf, issuer].map(CertificateDer::from).to_vec();
    let Ok(base) = DomainName::from_ascii("mx.example.org") else {
        return;
    };
    let reference = ReferenceIdentifiers::new(base.clone(), &base, None, Security::Secure);
    let presented = Presented::Chain(chain);
    match byrnie_dane::verify(&[record], &reference, &presented, UnixTime(1_800_000_000)) {
        Ok(matched) => assert!(!matched.to_string().is_empty()),
        Err(mismatch) => assert!(!mismatch.to_string().is_empty()),
    }
}

/// A domain name, in A-label or U-label form.
pub fn domain_name(input: &[u8]) {
    survives_writing::<DomainName>(input);
}

/// A mailbox, from a command or from the configuration.
pub fn mailbox(input: &[u8]) {
    survives_writing::<Mailbox>(input);
}

/// The system's list of resolvers.
pub fn resolv_conf(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input) {
        assert!(nameservers(text).len() <= byrnie_net::dns::NAMESERVERS_MAX);
    }
}

/// A message behind DATA, in pieces whose length the first octet chooses.
pub fn smtp_body(input: &[u8]) {
    let [size, rest @ ..] = input else {
        return;
    };
    let mut reader = BodyReader::new(Framing::Dot, 1_000);
    let mut message = Vec::new();
    for piece in rest.chunks(usize::from(*size).max(1)) {
        let (consumed, end) = reader.read(piece, &mut message);
        assert!(consumed <= piece.len());
        if end == BodyEnd::Reached {
            break;
        }
        assert_eq!(consumed, piece.len(), "octets were left in the middle");
    }
    // What has passed has no line end but CRLF: nobody behind can be made to see two messages.
    if reader.fault().is_none() {
        assert!(
            !message
                .windows(2)
                .any(|pair| matches!(pair, [first, b'\n'] if *first != b'\r')),
            "a bare LF went through"
        );
    }
}

/// All that a server says in a session, in pieces whose length the first octet chooses: with a
/// handshake where it agrees to one, and then one message.
pub fn smtp_client_session(input: &[u8]) {
    let [size, rest @ ..] = input else {
        return;
    };
    let (Ok(name), Ok(recipient)) = (
        DomainName::from_ascii("relay.example.org"),
        "user@mx.example.org".parse::<Mailbox>(),
    ) else {
        return;
    };
    let mut session = ClientSession::new(MailDomain::Name(name));
    let mut begun = false;
    for piece in rest.chunks(usize::from(*size).max(1)) {
        let mut left = piece;
        loop {
            let Ok((consumed, action)) = session.advance(left) else {
                return;
            };
            left = left.get(consumed..).unwrap_or_default();
            match action {
                ClientAction::Read => {
                    assert!(left.is_empty(), "octets were neither taken nor refused");
                    break;
                }
                ClientAction::Ready if begun => session.quit(),
                ClientAction::Ready
                    if session.channel() == Channel::Clear && session.offered().starttls =>
                {
                    session.start_tls();
                }
                ClientAction::Ready | ClientAction::TlsRefused(_) => {
                    begun = true;
                    if session.begin(transaction(recipient.clone())).is_err() {
                        session.quit();
                    }
                }
                ClientAction::Handshake => {
                    session.tls_established();
                    // What came before the handshake is lost with it.
                    break;
                }
                ClientAction::Body => {
                    if session.body_room() == BodyRoom::Open {
                        session.body(b"Subject: fuzz\n\n.hello\n");
                    }
                    session.body_end();
                }
                ClientAction::Done(outcome) => {
                    assert_eq!(outcome.recipients.len(), 1);
                    session.quit();
                }
                ClientAction::Closed => return,
            }
        }
        let output = std::mem::take(session.output());
        assert!(output.is_empty() || output.ends_with(b"\r\n"));
    }
}

/// One message for one recipient.
fn transaction(recipient: Mailbox) -> Transaction {
    Transaction {
        reverse_path: ReversePath::Null,
        recipients: vec![recipient],
        body: BodyType::SevenBit,
        smtputf8: Smtputf8::NotUsed,
        tls_demand: TlsDemand::None,
        size: 100,
    }
}

/// A line from a client.
pub fn smtp_command(input: &[u8]) {
    if let Err(error) = Command::parse(input) {
        let reply = error.reply();
        assert!((500..600).contains(&reply.code), "{reply}");
    }
}

/// What a server says, in pieces whose length the first octet chooses.
pub fn smtp_reply(input: &[u8]) {
    let [size, rest @ ..] = input else {
        return;
    };
    let mut reader = ReplyReader::default();
    for piece in rest.chunks(usize::from(*size).max(1)) {
        let mut left = piece;
        while !left.is_empty() {
            match reader.read(left) {
                Ok((consumed, Some(reply))) => {
                    assert!((200..600).contains(&reply.code), "{reply}");
                    assert!(!reply.to_string().contains(['\r', '\n']), "{reply}");
                    left = left.get(consumed..).unwrap_or_default();
                }
                Ok((consumed, None)) => {
                    assert_eq!(consumed, left.len());
                    break;
                }
                Err(_) => return,
            }
        }
    }
}

/// A whole session of a client, in pieces whose length the first octet chooses; every second
/// recipient and every second message is refused.
pub fn smtp_server_session(input: &[u8]) {
    let [size, rest @ ..] = input else {
        return;
    };
    let Ok(host) = DomainName::from_ascii("mx.example.org") else {
        return;
    };
    let mut session = ServerSession::new(Arc::new(ServerSettings {
        host,
        start_tls: StartTls::Offered,
        limits: ServerLimits::default(),
    }));
    let mut questions = 0_usize;
    for piece in rest.chunks(usize::from(*size).max(1)) {
        let mut left = piece;
        loop {
            let (consumed, action) = session.advance(left);
            left = left.get(consumed..).unwrap_or_default();
            questions += 1;
            let answer = match questions.is_multiple_of(2) {
                true => Ok(()),
                false => Err(replies::recipient_ok()),
            };
            match action {
                ServerAction::Read => {
                    assert!(left.is_empty(), "octets were neither taken nor refused");
                    break;
                }
                ServerAction::AskRecipient { .. } => session.recipient_answered(answer),
                ServerAction::Begin(envelope) => {
                    assert!(!envelope.recipients.is_empty());
                    session.begun(answer);
                }
                ServerAction::Write => {
                    assert!(!session.chunk().is_empty());
                    session.written(answer);
                }
                ServerAction::Commit => session.committed(Ok(replies::recipient_ok())),
                ServerAction::Abort => {}
                ServerAction::StartTls => {
                    session.tls_started();
                    // What came before the handshake is lost with it.
                    break;
                }
                ServerAction::Close => return,
            }
        }
        let output = std::mem::take(session.output());
        assert!(output.is_empty() || output.ends_with(b"\r\n"));
    }
}

/// What Postfix asks the policy daemon: netstrings with a map's name and a key, one behind the other.
///
/// Each netstring is written as it was read, and a key that names a destination names the same one when it
/// is written in another way.
pub fn socketmap_request(input: &[u8]) {
    let mut left = input;
    while let Frame::Whole { payload, rest } = frame(left) {
        assert!(payload.len() <= PAYLOAD_OCTETS_MAX);
        let written = [
            format!("{}:", payload.len()).as_bytes(),
            payload,
            b",",
            rest,
        ]
        .concat();
        assert_eq!(left, written);
        let key = payload.splitn(2, |&octet| octet == b' ').nth(1);
        same_destination(key.unwrap_or(payload));
        left = rest;
    }
    same_destination(input);
}

/// Whether a key stays what it is when its destination is written in full.
fn same_destination(key: &[u8]) {
    let read = Key::parse(key);
    if let Key::Destination(destination) = &read {
        let (domain, port) = (&destination.domain, destination.port);
        let written = match destination.hosts {
            DestinationHosts::OfMx => format!("{domain}.:{port}"),
            DestinationHosts::Itself => format!("[{domain}.]:{port}"),
        };
        assert_eq!(Key::parse(written.as_bytes()), read, "{written}");
    }
}

/// A policy file of MTA-STS.
pub fn sts_policy(input: &[u8]) {
    if let Ok(policy) = Policy::parse(input) {
        assert_eq!(policy.to_string().parse().as_ref(), Ok(&policy));
    }
}

/// A report of TLSRPT, as mail, JSON or gzip.
pub fn tlsrpt_report(input: &[u8]) {
    let now = UnixTime(1_775_174_400);
    let readings = reading::read(input, now);
    assert!(!readings.is_empty() && readings.len() <= reading::REPORTS_PER_MAIL_MAX);
    for read in readings.into_iter().flatten() {
        let policies = &read.report.policies;
        assert!(policies.len() <= reading::POLICIES_MAX);
        let details = policies.iter().flat_map(|policy| &policy.failure_details);
        let counts: Vec<u64> = details.map(|it| it.failed_session_count).collect();
        assert!(counts.len() <= reading::DETAILS_MAX);
        assert!(counts.iter().all(|count| *count <= reading::COUNT_MAX));
        // What is kept says the same.
        let Some(Ok(again)) = reading::read(&read.original, now).pop() else {
            panic!("the original cannot be read");
        };
        assert_eq!(again.report.policies.len(), policies.len());
        assert_eq!(again.report.date_range, read.report.date_range);
    }
}

/// A TXT record at `_mta-sts`.
pub fn sts_record(input: &[u8]) {
    if let Ok(record) = StsRecord::parse(input) {
        let written = record.to_string();
        assert_eq!(StsRecord::parse(written.as_bytes()).as_ref(), Ok(&record));
    }
    let halves = input.split(|octet| *octet == b'\n');
    let _several = StsRecord::select(halves);
}

/// A TLSA record in presentation form.
pub fn tlsa_text(input: &[u8]) {
    survives_writing::<TlsaRecord>(input);
}

/// A TLSA record as it stands in a DNS message.
pub fn tlsa_wire(input: &[u8]) {
    if let Ok(record) = TlsaRecord::from_wire(input) {
        assert_eq!(record.to_wire(), input);
        assert!(!record.abbreviated().to_string().is_empty());
    }
}

/// A file of trust anchors.
pub fn trust_anchors(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input) {
        let _either = TrustAnchors::parse(text);
    }
}

/// What has been read, written and read again is the same.
fn survives_writing<T>(input: &[u8])
where
    T: FromStr<Err: fmt::Display + fmt::Debug> + fmt::Display + PartialEq + fmt::Debug,
{
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().ok(), Some(value)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
