//! What is taken, what is refused, and with which reply.

use std::sync::Arc;
use std::sync::Mutex;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::MailDomain;
use byrnie_base::Secured;
use byrnie_net::current::Current;
use byrnie_net::smtp::server::IncomingMessage;
use byrnie_net::smtp::server::MailService;
use byrnie_net::smtp::server::SessionFacts;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::Mx;
use byrnie_policy::MxRrset;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::TlsaEvidence;
use byrnie_policy::decide;
use byrnie_smtp::BodyType;
use byrnie_smtp::Envelope;
use byrnie_smtp::Octets;
use byrnie_smtp::Reply;
use byrnie_smtp::TlsDemand;
use byrnie_store::Filter;
use byrnie_store::Kept;
use byrnie_store::QueueCommands;
use byrnie_store::QueueId;
use byrnie_store::ReportSource;
use byrnie_store::Spool;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use tempfile::TempDir;

use super::Acceptance;
use super::AcceptanceConfig;
use super::by_next_hop;
use crate::Collected;
use crate::Guarantee;
use crate::Metrics;
use crate::QueueConfig;
use crate::Route;
use crate::TakeReports;
use crate::Taking;
use crate::delivery::Decide;
use crate::delivery::Ruling;
use crate::delivery::Terms;
use crate::queue::Inlet;
use crate::testing::FaultySpool;
use crate::testing::LIFETIME;
use crate::testing::MESSAGE;
use crate::testing::START;
use crate::testing::TestClock;
use crate::testing::envelope;
use crate::testing::mailbox;
use crate::testing::new_store;

#[tokio::test]
async fn clients_outside_the_trusted_networks_are_refused() {
    let world = World::new();
    world.acceptance.config.replace(AcceptanceConfig {
        trusted_networks: vec![
            "192.0.2.0/24".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ],
        ..AcceptanceConfig::default()
    });
    for (peer, admitted) in [
        ("192.0.2.7:1234", true),
        ("[::ffff:192.0.2.7]:1234", true),
        ("[2001:db8::7]:1234", true),
        ("192.0.3.7:1234", false),
        ("127.0.0.1:1234", false),
    ] {
        let reply = world.acceptance.admit(peer.parse().unwrap());
        assert_eq!(reply.is_ok(), admitted, "{peer}");
        assert!(reply.is_ok() || code(reply) == "554 5.7.1");
    }
}

#[tokio::test]
async fn by_default_only_this_machine_is_trusted() {
    let world = World::new();
    world.acceptance.config.replace(AcceptanceConfig::default());
    for (peer, admitted) in [
        ("127.0.0.9:1", true),
        ("[::1]:1", true),
        ("192.0.2.7:1", false),
    ] {
        let reply = world.acceptance.admit(peer.parse().unwrap());
        assert_eq!(reply.is_ok(), admitted, "{peer}");
    }
}

#[tokio::test]
async fn a_message_is_ours_when_it_is_durable() {
    let world = World::new();
    let reply = world
        .hand_over(to(&["a@one.example"]), MESSAGE)
        .await
        .unwrap();
    let id = world.only_id().await;
    assert_eq!(reply.to_string(), format!("250 2.0.0 queued as {id}"));
    let text = world.text(id).await;
    let received = format!(
        "Received: from client.example ([192.0.2.7])\r\n\tby relay.example with ESMTP\r\n\t\
         id {id}\r\n\tfor <a@one.example>;\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
    );
    assert_eq!(text, received + std::str::from_utf8(MESSAGE).unwrap());
}

#[tokio::test]
async fn recipients_are_grouped_by_domain_and_served_once() {
    let world = World::new();
    let recipients = [
        "a@one.example",
        "b@two.example",
        "c@ONE.example",
        "a@one.example",
        "d@[192.0.2.1]",
    ];
    world.hand_over(to(&recipients), MESSAGE).await.unwrap();
    let listed = world.store.list(Filter::default()).await.unwrap();
    let groups: Vec<String> = listed
        .iter()
        .map(|line| format!("{} {}", line.next_hop, line.pending))
        .collect();
    assert_eq!(groups, ["one.example 2", "two.example 1", "[192.0.2.1] 1"]);
    let text = world.text(listed[0].queue_id).await;
    assert!(
        !text.contains("for <"),
        "no recipient learns of another: {text}"
    );
}

#[tokio::test]
async fn a_loop_is_cut() {
    let world = World::new();
    let hops = |count: usize| "Received: from a by b\r\n".repeat(count) + "\r\nbody\r\n";
    let reply = world
        .hand_over(to(&["a@one.example"]), hops(100).as_bytes())
        .await;
    assert_eq!(code(reply.map(|_| ())), "554 5.4.6");
    assert_eq!(world.store.depth().messages, 0);
    assert!(
        world
            .hand_over(to(&["a@one.example"]), hops(99).as_bytes())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn the_header_and_the_envelope_say_what_is_demanded_of_tls() {
    const NO: &[u8] = b"TLS-Required: No\r\n\r\nbody\r\n";
    for (by_envelope, message, expected) in [
        (TlsDemand::None, MESSAGE, TlsDemand::None),
        (TlsDemand::None, NO, TlsDemand::TlsNotRequired),
        (TlsDemand::RequireTls, NO, TlsDemand::RequireTls),
    ] {
        let world = World::new();
        let mut envelope = to(&["a@one.example"]);
        envelope.tls_demand = by_envelope;
        world.hand_over(envelope, message).await.unwrap();
        assert_eq!(world.stored().await.tls_demand, expected);
    }
}

#[tokio::test]
async fn octets_beyond_ascii_are_declared_even_if_the_client_did_not() {
    let world = World::new();
    let session = session();
    let mut incoming = world
        .acceptance
        .begin(&session, to(&["a@one.example"]))
        .await
        .unwrap();
    incoming.write("\r\ngrüße\r\n".as_bytes()).await.unwrap();
    incoming.note_content(Octets::EightBit);
    incoming.commit().await.unwrap();
    assert_eq!(world.stored().await.body, BodyType::EightBitMime);
}

#[tokio::test]
async fn a_full_queue_asks_for_the_message_again_later() {
    let world = World::new();
    world.acceptance.config.replace(AcceptanceConfig {
        messages_max: 1,
        ..open_to_clients()
    });
    world
        .hand_over(to(&["a@one.example"]), MESSAGE)
        .await
        .unwrap();
    let refused = world.hand_over(to(&["b@one.example"]), MESSAGE).await;
    assert_eq!(code(refused.map(|_| ())), "452 4.3.1");
    world.store.remove(Filter::default(), |_| {}).await.unwrap();
    assert!(
        world
            .hand_over(to(&["c@one.example"]), MESSAGE)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_failing_store_never_leads_to_250() {
    for (error, expected) in [
        (StoreError::Full, "452 4.3.1"),
        (StoreError::Busy, "452 4.3.1"),
        (StoreError::Io(String::from("broken")), "452 4.3.1"),
        (StoreError::Closed, "451 4.3.0"),
        (StoreError::Damaged(String::from("broken")), "451 4.3.0"),
    ] {
        let world = World::new();
        world.faulty.insert.lock().unwrap().push(error.clone());
        let reply = world.hand_over(to(&["a@one.example"]), MESSAGE).await;
        assert_eq!(code(reply.map(|_| ())), expected, "{error:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_broken_off_never_was() {
    let world = World::new();
    let session = session();
    let mut incoming = world
        .acceptance
        .begin(&session, to(&["a@one.example"]))
        .await
        .unwrap();
    incoming.write(MESSAGE).await.unwrap();
    drop(incoming);
    assert_eq!(world.store.depth().messages, 0);
}

/// Behaviour rule 35.
#[tokio::test]
async fn a_guarantee_is_kept_or_the_recipient_is_refused_with_the_reason() {
    let world = World::new();
    let boss = Guarantee::Sender(mailbox("boss@origin.example"));
    world.acceptance.guarantees.replace(vec![boss]);
    for (sender, recipient, expected) in [
        ("boss@origin.example", "a@insecure.example", "550 5.7.10"),
        // Not signed, so somebody may only say that the domain takes no mail.
        ("boss@origin.example", "a@null.example", "451 4.7.5"),
        ("other@origin.example", "a@null.example", "ok"),
        ("boss@origin.example", "a@unknown.example", "451 4.4.3"),
        ("boss@origin.example", "a@secure.example", "ok"),
        // A certificate can name a host whose name nobody could have forged.
        ("boss@origin.example", "a@its-own-host.example", "ok"),
        ("other@origin.example", "a@insecure.example", "ok"),
        ("", "a@insecure.example", "ok"),
    ] {
        let reverse_path = sender.parse().unwrap();
        let reply = world
            .acceptance
            .recipient(&session(), &reverse_path, &mailbox(recipient))
            .await;
        assert_eq!(code(reply), expected, "{sender} to {recipient}");
    }
}

/// Behaviour rules 27 and 35.
#[tokio::test]
async fn a_guarantee_is_about_the_smart_host_if_there_is_one() {
    for (smart_host, expected) in [("secure.example", "ok"), ("insecure.example", "550 5.7.10")] {
        let mut world = World::new();
        let boss = Guarantee::Sender(mailbox("boss@origin.example"));
        world.acceptance.guarantees.replace(vec![boss]);
        world.acceptance.route = Arc::new(Route::SmartHost(smart_host.parse().unwrap()));
        let reverse_path = "boss@origin.example".parse().unwrap();
        for recipient in ["a@insecure.example", "a@secure.example"] {
            let recipient = mailbox(recipient);
            let reply = world
                .acceptance
                .recipient(&session(), &reverse_path, &recipient)
                .await;
            assert_eq!(code(reply), expected, "{recipient} over {smart_host}");
        }
    }
}

#[test]
fn all_recipients_share_one_delivery_to_the_smart_host() {
    let recipients = ["a@one.example", "b@two.example", "a@one.example"].map(mailbox);
    for (route, expected) in [
        (
            Route::RecipientDomains,
            "one.example: a@one.example, two.example: b@two.example",
        ),
        (
            Route::SmartHost("[192.0.2.1]:2525".parse().unwrap()),
            "[192.0.2.1]: a@one.example b@two.example",
        ),
    ] {
        let deliveries = by_next_hop(&route, &recipients, START, START + LIFETIME);
        let words = deliveries.iter().map(|delivery| {
            let named = delivery.recipients.iter().map(ToString::to_string);
            let named: Vec<String> = named.collect();
            format!("{}: {}", delivery.next_hop, named.join(" "))
        });
        let words: Vec<String> = words.collect();
        assert_eq!(words.join(", "), expected);
    }
}

/// The way in, with made-up evidence and the real decision.
/// For reports there is one address, which is open to everybody.
#[tokio::test]
async fn reports_come_from_anywhere_and_nothing_else_does() {
    let (world, keeper) = World::with_reports();
    let stranger = SessionFacts {
        peer: "203.0.113.9:1".parse().unwrap(),
        ..session()
    };
    assert_eq!(world.acceptance.admit(stranger.peer), Ok(()));
    let acceptance = &world.acceptance;
    for (address, taken) in [
        ("tlsrpt@ours.example", true),
        ("TLSRPT@Ours.Example", true),
        ("tlsrpt@one.example", false),
        ("postmaster@ours.example", false),
        ("a@one.example", false),
    ] {
        let recipient = mailbox(address);
        let from = "x@far.example".parse().unwrap();
        let answer = acceptance.recipient(&stranger, &from, &recipient).await;
        assert_eq!(answer.is_ok(), taken, "{address}");
        assert!(answer.is_ok() || code(answer) == "550 5.7.1");
    }
    let reply = hand_over(acceptance, &stranger, &["tlsrpt@ours.example"]).await;
    assert_eq!(reply.unwrap().to_string(), "250 2.0.0 report kept");
    assert_eq!(keeper.taken(), [Collected::whole(MESSAGE)]);
    assert_eq!(world.store.depth().messages, 0);

    // Also if the configuration has changed since the recipient was named.
    let reply = hand_over(acceptance, &stranger, &["a@one.example"]).await;
    assert_eq!(code(reply.map(drop)), "550 5.7.1");
    acceptance.config.replace(open_to_clients());
    let reply = hand_over(acceptance, &stranger, &["tlsrpt@ours.example"]).await;
    assert_eq!(code(reply.map(drop)), "550 5.7.1");
    assert_eq!(world.store.depth().messages, 0);
    let refused = acceptance.admit(stranger.peer);
    assert_eq!(code(refused), "554 5.7.1");
}

#[tokio::test]
async fn who_gets_a_report_besides_gets_it_as_ordinary_mail() {
    let (world, keeper) = World::with_reports();
    let to = ["a@one.example", "tlsrpt@ours.example"];
    let reply = hand_over(&world.acceptance, &session(), &to).await.unwrap();
    let id = world.only_id().await;
    assert_eq!(reply.to_string(), format!("250 2.0.0 queued as {id}"));
    assert_eq!(keeper.taken(), [Collected::whole(MESSAGE)]);
    let waiting = world.store.list(Filter::default()).await.unwrap();
    let domains: Vec<String> = waiting.iter().map(|it| it.next_hop.to_string()).collect();
    assert_eq!(domains, ["one.example"]);
}

#[tokio::test]
async fn nothing_is_accepted_of_a_mail_whose_report_cannot_be_kept() {
    let (world, keeper) = World::with_reports();
    *keeper.failure.lock().unwrap() = Some(StoreError::Full);
    let to = ["a@one.example", "tlsrpt@ours.example"];
    let reply = hand_over(&world.acceptance, &session(), &to).await;
    assert_eq!(code(reply.map(drop)), "452 4.3.1");
    assert_eq!(world.store.depth().messages, 0);
}

#[tokio::test]
async fn a_guarantee_keeps_no_report_away() {
    let (world, _keeper) = World::with_reports();
    let boss = Guarantee::Sender(mailbox("boss@origin.example"));
    world.acceptance.guarantees.replace(vec![boss]);
    let from = "boss@origin.example".parse().unwrap();
    let recipient = mailbox("tlsrpt@ours.example");
    let answer = world
        .acceptance
        .recipient(&session(), &from, &recipient)
        .await;
    assert_eq!(answer, Ok(()));
}

/// The message, handed over by a client.
async fn hand_over(
    acceptance: &Acceptance<FaultySpool, TestDecide, TestClock>,
    client: &SessionFacts,
    to: &[&str],
) -> Result<Reply, Reply> {
    let mut incoming = acceptance
        .begin(client, envelope("x@far.example", to))
        .await?;
    incoming.write(MESSAGE).await?;
    incoming.commit().await
}

/// As it is by default, and open to the clients of these tests.
fn open_to_clients() -> AcceptanceConfig {
    let mut config = AcceptanceConfig::default();
    config
        .trusted_networks
        .push("192.0.2.0/24".parse().unwrap());
    config
}

/// Keeps reports in memory, or fails.
#[derive(Default)]
struct Keeper {
    taken: Mutex<Vec<Collected>>,
    failure: Mutex<Option<StoreError>>,
}

impl Keeper {
    /// What was taken.
    fn taken(&self) -> Vec<Collected> {
        self.taken.lock().unwrap().clone()
    }
}

impl TakeReports for Keeper {
    fn take(&self, octets: Collected, _: ReportSource) -> Taking<'_> {
        Taking::of(async move {
            if let Some(failure) = self.failure.lock().unwrap().clone() {
                return Err(failure);
            }
            self.taken.lock().unwrap().push(octets);
            Ok(vec![Kept::New(1)])
        })
    }
}

struct World {
    acceptance: Acceptance<FaultySpool, TestDecide, TestClock>,
    store: Arc<SqliteStore>,
    faulty: Arc<FaultySpool>,
    _directory: TempDir,
}

struct TestDecide;

impl Decide for TestDecide {
    async fn decide(&self, next_hop: &MailDomain, terms: Terms) -> Arc<Ruling> {
        let evidence = evidence(next_hop.name().unwrap(), terms);
        let decision = decide(&evidence);
        Arc::new(Ruling::new(evidence, decision))
    }
}

/// What is known about the domains of these tests.
fn evidence(domain: &DomainName, terms: Terms) -> Evidence {
    let mx = match domain.as_str() {
        "null.example" => Ok(Secured::insecure(MxRrset::Null)),
        "unknown.example" => Err(LookupError::Failed(String::from("time-out"))),
        "secure.example" => Ok(Secured::secure(MxRrset::Implicit)),
        "insecure.example" => Ok(Secured::insecure(MxRrset::Hosts(vec![Mx {
            preference: 10,
            host: "mx.hoster.example".parse().unwrap(),
        }]))),
        _ => Ok(Secured::insecure(MxRrset::Implicit)),
    };
    let records = vec![
        "3 1 1 0000000000000000000000000000000000000000000000000000000000000000"
            .parse()
            .unwrap(),
    ];
    let is_secure = domain.as_str() == "secure.example";
    let secured = |value| Secured {
        security: if is_secure {
            byrnie_base::Security::Secure
        } else {
            byrnie_base::Security::Insecure
        },
        value,
    };
    let mut evidence = Evidence {
        domain: domain.clone(),
        expanded_domain: None,
        mx: mx.clone(),
        hosts: vec![HostEvidence {
            host: match &mx {
                Ok(Secured {
                    value: MxRrset::Hosts(named),
                    ..
                }) => named[0].host.clone(),
                Ok(_) | Err(_) => domain.clone(),
            },
            preference: 0,
            expanded: None,
            alias: None,
            ipv4: Ok(secured(vec!["192.0.2.1".parse().unwrap()])),
            ipv6: Ok(Secured::insecure(vec![])),
            tlsa: if is_secure {
                TlsaEvidence::Found {
                    base: domain.clone(),
                    records,
                }
            } else {
                TlsaEvidence::NotAsked
            },
        }],
        sts: StsEvidence::Absent,
        rule: byrnie_policy::DomainRule::default(),
        message: terms.demand,
        floor: terms.floor,
    };
    evidence.rule.at_least = terms.at_least;
    assert!(
        terms.at_least >= Strength::MtaSts,
        "a decision nobody needs"
    );
    evidence
}

impl World {
    fn new() -> Self {
        let (store, directory) = new_store();
        let faulty = Arc::new(FaultySpool::new(Arc::clone(&store)));
        let acceptance = Acceptance {
            spool: Arc::clone(&faulty),
            decide: Arc::new(TestDecide),
            clock: Arc::new(TestClock::new()),
            metrics: Arc::new(Metrics::new()),
            config: Arc::new(Current::new(open_to_clients())),
            hostname: "relay.example".parse().unwrap(),
            guarantees: Arc::default(),
            route: Arc::default(),
            queue: Arc::new(Current::new(QueueConfig {
                lifetime: LIFETIME,
                ..QueueConfig::default()
            })),
            inlet: Inlet::new(0).0,
            reports: None,
        };
        Self {
            acceptance,
            store,
            faulty,
            _directory: directory,
        }
    }

    /// With an address for reports, and who keeps them.
    fn with_reports() -> (Self, Arc<Keeper>) {
        let mut world = Self::new();
        let keeper = Arc::new(Keeper::default());
        world.acceptance.reports = Some(Arc::<Keeper>::clone(&keeper));
        world.acceptance.config.replace(AcceptanceConfig {
            report_addresses: vec![mailbox("tlsrpt@ours.example")],
            ..open_to_clients()
        });
        (world, keeper)
    }

    async fn hand_over(&self, envelope: Envelope, message: &[u8]) -> Result<Reply, Reply> {
        let session = session();
        let mut incoming = self.acceptance.begin(&session, envelope).await?;
        for part in message.chunks(7) {
            incoming.write(part).await?;
        }
        incoming.commit().await
    }

    async fn only_id(&self) -> QueueId {
        self.store.list(Filter::default()).await.unwrap()[0].queue_id
    }

    async fn stored(&self) -> Envelope {
        let id = self.only_id().await;
        let shown = self.store.show(id).await.unwrap();
        shown.queued.unwrap().envelope.unwrap()
    }

    async fn text(&self, id: QueueId) -> String {
        String::from_utf8(self.store.piece(id, 0).await.unwrap().unwrap()).unwrap()
    }
}

fn session() -> SessionFacts {
    SessionFacts {
        id: String::from("s1"),
        peer: "192.0.2.7:1234".parse().unwrap(),
        hello: Some(byrnie_smtp::Hello {
            name: "client.example".parse().unwrap(),
            kind: byrnie_smtp::HelloKind::Ehlo,
        }),
        tls: None,
        started: START,
    }
}

fn to(recipients: &[&str]) -> Envelope {
    envelope("sender@origin.example", recipients)
}

/// The codes of a refusal.
fn code(reply: Result<(), Reply>) -> String {
    match reply {
        Ok(()) => String::from("ok"),
        Err(reply) => format!("{} {}", reply.code, reply.status()),
    }
}
