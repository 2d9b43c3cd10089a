//! Our client session against our server session: laws that hold for every message.

use byrnie_smtp::BodyRoom;
use byrnie_smtp::BodyType;
use byrnie_smtp::ClientAction;
use byrnie_smtp::ClientSession;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_smtp::Transaction;
use byrnie_smtp::TransactionOutcome;
use proptest::prelude::*;

use super::support::Server;

proptest! {
    #[test]
    fn every_message_arrives_with_all_its_line_ends_put_right(
        message in "[.a\r\n]{0,60}",
        piece in 1_usize..20,
        recipients in proptest::collection::vec("(no|b)[a-z]{0,3}", 1..6),
        chunking in any::<bool>(),
    ) {
        let mut server = Server::new();
        let mut client = ClientSession::new("relay.example".parse().unwrap());
        let mut wire = server.hear(b"");
        ready(&mut client, &mut server, &mut wire, chunking);
        let transaction = Transaction {
            reverse_path: "a@example.org".parse().unwrap(),
            recipients: recipients
                .iter()
                .map(|name| format!("{name}@example.org").parse().unwrap())
                .collect(),
            body: BodyType::SevenBit,
            smtputf8: Smtputf8::NotUsed,
            tls_demand: TlsDemand::None,
            size: 60,
        };
        client.begin(transaction).unwrap();
        let pieces: Vec<&[u8]> = message.as_bytes().chunks(piece).collect();
        let outcome = deliver(&mut client, &mut server, &pieces);
        let accepted = recipients.iter().filter(|name| !name.starts_with("no")).count();
        let delivered = outcome.recipients.iter().filter(|(_, answer)| answer.is_ok()).count();
        prop_assert_eq!(delivered, accepted);
        prop_assert!(client.is_reusable());
        prop_assert_eq!(server.accepted.len(), usize::from(accepted > 0));
        if let Some((envelope, octets)) = server.accepted.first() {
            prop_assert_eq!(envelope.recipients.len(), accepted);
            let received = String::from_utf8(octets.clone()).unwrap();
            prop_assert_eq!(received, with_cr_lf(&message));
        }
    }
}

/// The message as it must arrive.
fn with_cr_lf(message: &str) -> String {
    let text = message.replace("\r\n", "\n").replace('\r', "\n");
    let ended = text.is_empty() || text.ends_with('\n');
    let text = text.replace('\n', "\r\n");
    if ended { text } else { format!("{text}\r\n") }
}

/// Plays up to the point where the client stands ready; hides the offer of chunks, if told.
fn ready(client: &mut ClientSession, server: &mut Server, wire: &mut String, chunking: bool) {
    loop {
        let (_, action) = client.advance(wire.as_bytes()).unwrap();
        if action == ClientAction::Ready {
            return;
        }
        let said = std::mem::take(client.output());
        *wire = server.hear(&said);
        if !chunking {
            *wire = wire.replace("CHUNKING", "X-NOTHING");
        }
    }
}

/// Plays a transaction to its end.
fn deliver(
    client: &mut ClientSession,
    server: &mut Server,
    pieces: &[&[u8]],
) -> TransactionOutcome {
    let mut pieces = pieces.iter();
    loop {
        let said = std::mem::take(client.output());
        let wire = server.hear(&said);
        let (consumed, action) = client.advance(wire.as_bytes()).unwrap();
        assert_eq!(consumed, wire.len());
        match action {
            ClientAction::Done(outcome) => return outcome,
            ClientAction::Body if client.body_room() == BodyRoom::Open => match pieces.next() {
                Some(piece) => client.body(piece),
                None => client.body_end(),
            },
            ClientAction::Body | ClientAction::Read => {}
            ClientAction::Ready
            | ClientAction::Handshake
            | ClientAction::TlsRefused(_)
            | ClientAction::Closed => panic!("{action:?}"),
        }
    }
}
