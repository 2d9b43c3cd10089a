//! Mail that byrnie itself writes besides bounces: reports and alerts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_smtp::BodyType;
use byrnie_smtp::Envelope;
use byrnie_smtp::ReversePath;
use byrnie_smtp::Rfc5322Date;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_store::Accepted;
use byrnie_store::NewMessage;
use byrnie_store::QueueId;
use byrnie_store::Spool;
use byrnie_store::StoreError;

use crate::DkimSigner;
use crate::QueueHandle;
use crate::Route;
use crate::acceptance::by_next_hop;

/// Puts mail that byrnie itself writes into the queue, signed if there is a key. A copy leads to the same
/// queue.
pub struct Outbox<S> {
    spool: Arc<S>,
    /// What sends it.
    queue: QueueHandle,
    /// Where it goes next.
    route: Route,
    /// Signs it.
    signer: Option<Arc<DkimSigner>>,
}

/// A message of ours to one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Letter {
    /// Who sends it, and hears of it if it cannot be delivered.
    pub from: Mailbox,
    /// Who gets it.
    pub to: Mailbox,
    /// Header and body, with CR LF for line ends.
    pub octets: Vec<u8>,
    /// What it demands of TLS.
    pub tls_demand: TlsDemand,
    /// How long it is tried.
    pub lifetime: Duration,
}

impl<S: Spool> Outbox<S> {
    /// Leads to a queue.
    #[must_use]
    pub fn new(
        spool: Arc<S>,
        queue: QueueHandle,
        route: Route,
        signer: Option<Arc<DkimSigner>>,
    ) -> Self {
        Self {
            spool,
            queue,
            route,
            signer,
        }
    }

    /// Puts a letter into the queue.
    ///
    /// # Errors
    /// It could not be made durable.
    pub async fn post(&self, letter: &Letter, now: UnixTime) -> Result<QueueId, StoreError> {
        let accepted = self.spool.insert(self.message(letter, now)).await?;
        let id = accepted.queue_id;
        self.send(accepted);
        Ok(id)
    }

    /// A letter, signed and ready to be made durable.
    #[must_use]
    pub fn message(&self, letter: &Letter, now: UnixTime) -> NewMessage {
        let signature = self.signer.as_ref().map(|signer| {
            // It has a sender and a body, so it can be signed; unsigned it would go all the same.
            signer.sign(&letter.octets, now).unwrap_or_default()
        });
        let octets = [
            signature.unwrap_or_default().as_bytes(),
            letter.octets.as_slice(),
        ]
        .concat();
        let smtputf8 = letter.from.needs_smtputf8() || letter.to.needs_smtputf8();
        let envelope = Envelope {
            reverse_path: ReversePath::Mailbox(letter.from.clone()),
            recipients: vec![letter.to.clone()],
            body: match octets.is_ascii() {
                true => BodyType::SevenBit,
                false => BodyType::EightBitMime,
            },
            smtputf8: match smtputf8 {
                true => Smtputf8::Used,
                false => Smtputf8::NotUsed,
            },
            tls_demand: letter.tls_demand,
        };
        let expires_at = now + letter.lifetime;
        let deliveries = by_next_hop(&self.route, &envelope.recipients, now, expires_at);
        NewMessage::whole(self.spool.next_id(now), envelope, now, &octets, deliveries)
    }

    /// Has a message sent that was made durable.
    pub fn send(&self, accepted: Accepted) {
        self.queue.accept(accepted);
    }
}

impl<S> Clone for Outbox<S> {
    fn clone(&self) -> Self {
        Self {
            spool: Arc::clone(&self.spool),
            queue: self.queue.clone(),
            route: self.route.clone(),
            signer: self.signer.clone(),
        }
    }
}

impl<S> fmt::Debug for Outbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// Words for people, as a letter is made of them.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// Who sends it.
    pub from: &'a Mailbox,
    /// Who gets it.
    pub to: &'a Mailbox,
    /// In ASCII, without line ends.
    pub subject: &'a str,
    /// Lines of less than a thousand octets.
    pub text: &'a str,
    /// What no other note has: letters, digits, `-` and `.`.
    pub id: &'a str,
    /// When it is written.
    pub now: UnixTime,
    /// How long it is tried.
    pub lifetime: Duration,
}

impl Note<'_> {
    /// The letter.
    #[must_use]
    pub fn letter(&self) -> Letter {
        let head = [
            format!("Date: {}", Rfc5322Date(self.now)),
            format!("From: <{}>", self.from),
            format!("To: <{}>", self.to),
            format!("Subject: {}", one_line(self.subject)),
            format!("Message-ID: <{}@{}>", self.id, self.from.domain),
            String::from("Auto-Submitted: auto-generated"),
            String::from("MIME-Version: 1.0"),
            String::from("Content-Type: text/plain; charset=utf-8"),
            format!(
                "Content-Transfer-Encoding: {}",
                if self.text.is_ascii() { "7bit" } else { "8bit" }
            ),
            String::new(),
        ];
        let head = head.iter().map(String::as_str);
        let lines: Vec<&str> = head.chain(self.text.lines()).collect();
        Letter {
            from: self.from.clone(),
            to: self.to.clone(),
            octets: (lines.join("\r\n") + "\r\n").into_bytes(),
            tls_demand: TlsDemand::None,
            lifetime: self.lifetime,
        }
    }
}

/// A text that may stand in a header field, whatever was put into it.
fn one_line(text: &str) -> String {
    let visible = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().take(SUBJECT_OCTETS_MAX).map(visible).collect()
}

/// How long a subject may be.
const SUBJECT_OCTETS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use byrnie_base::MailDomain;
    use byrnie_store::Claimed;
    use byrnie_store::SqliteStore;

    use super::*;
    use crate::queue::Inlet;
    use crate::testing::START;
    use crate::testing::new_store;

    #[tokio::test]
    async fn a_note_is_durable_before_it_is_sent() {
        let (store, _directory) = new_store();
        let (inlet, _outlet) = Inlet::new(1 << 20);
        let queue = QueueHandle::new(inlet);
        let outbox = Outbox::new(Arc::clone(&store), queue, Route::RecipientDomains, None);
        let (from, to) = (mailbox("byrnie@a.example"), mailbox("postmaster@b.example"));
        let letter = note(&from, &to, "a\r\nBcc: c@d.example").letter();
        let id = outbox.post(&letter, START).await.unwrap();

        let claim = claim(&store).await;
        assert_eq!(claim.queue_id, id);
        assert_eq!(claim.next_hop, "b.example".parse::<MailDomain>().unwrap());
        assert_eq!(claim.expires_at, START + Duration::from_secs(60));
        assert_eq!(
            String::from_utf8(store.piece(id, 0).await.unwrap().unwrap()).unwrap(),
            "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n\
             From: <byrnie@a.example>\r\n\
             To: <postmaster@b.example>\r\n\
             Subject: a??Bcc: c@d.example\r\n\
             Message-ID: <n1@a.example>\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             \r\n\
             one\r\n\
             two\r\n"
        );
    }

    /// The only delivery that waits.
    async fn claim(store: &SqliteStore) -> byrnie_store::Claim {
        let waiting = store.waiting(None, 10).await.unwrap().waiting;
        let [one] = waiting.as_slice() else {
            panic!("{waiting:?}");
        };
        let Claimed::Ready(claim, _) = store.claim(one.delivery).await.unwrap() else {
            panic!("{one:?}");
        };
        *claim
    }

    fn note<'a>(from: &'a Mailbox, to: &'a Mailbox, subject: &'a str) -> Note<'a> {
        Note {
            from,
            to,
            subject,
            text: "one\ntwo\n",
            id: "n1",
            now: START,
            lifetime: Duration::from_secs(60),
        }
    }

    fn mailbox(text: &str) -> Mailbox {
        text.parse().unwrap()
    }
}
