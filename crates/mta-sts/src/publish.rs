//! What a policy domain publishes: a file, and a TXT record that changes whenever the file does.

use aws_lc_rs::digest;
use byrnie_base::DomainName;

use crate::Mode;
use crate::Policy;
use crate::PolicyId;
use crate::StsRecord;

/// A policy that is ours to publish.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// Whose policy it is.
    pub domain: DomainName,
    /// What it demands.
    pub policy: Policy,
    /// What the TXT record says.
    pub id: PolicyId,
}

impl Published {
    /// A policy with the id that belongs to it: another text has another id, and so has another edition of the
    /// same text, which makes every sender fetch it anew.
    #[must_use]
    pub fn new(domain: DomainName, policy: Policy, edition: u64) -> Self {
        let id = id_of(&policy.to_string(), edition);
        Self { domain, policy, id }
    }

    /// The TXT record.
    #[must_use]
    pub fn record(&self) -> StsRecord {
        StsRecord {
            id: self.id.clone(),
        }
    }

    /// The mail hosts that get no mail any more from whoever keeps to this policy: RFC 8461, Section 4.1.
    pub fn locked_out<'a>(
        &self,
        hosts: impl IntoIterator<Item = &'a DomainName>,
    ) -> Vec<&'a DomainName> {
        match self.policy.mode {
            Mode::Enforce => hosts
                .into_iter()
                .filter(|host| !self.policy.permits(host))
                .collect(),
            Mode::Testing | Mode::None => Vec::new(),
        }
    }
}

/// The id of an edition of a text.
#[expect(
    clippy::expect_used,
    reason = "hexadecimal digits, 20 of them, are an id"
)]
fn id_of(text: &str, edition: u64) -> PolicyId {
    let hash = digest::digest(&digest::SHA256, format!("{edition}\n{text}").as_bytes());
    let octets = hash.as_ref().iter().take(ID_OCTETS);
    let id: String = octets.map(|octet| format!("{octet:02x}")).collect();
    id.parse().expect("hexadecimal digits are an id")
}

/// How many octets of the hash make an id: enough that no two texts of a domain share one.
const ID_OCTETS: usize = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_id_changes_with_the_text_and_with_the_edition_and_with_nothing_else() {
        let ids = [
            published(Mode::Enforce, &["mx.a.example"], 0).id,
            published(Mode::Enforce, &["mx.a.example"], 1).id,
            published(Mode::Testing, &["mx.a.example"], 0).id,
            published(Mode::Enforce, &["mx.b.example"], 0).id,
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{id}");
        }
        assert_eq!(ids[0], published(Mode::Enforce, &["mx.a.example"], 0).id);
        assert_eq!(ids[0].as_str().len(), 20);
    }

    #[test]
    fn the_record_announces_the_id() {
        let published = published(Mode::None, &[], 0);
        let record = published.record().to_string();
        assert_eq!(record, format!("v=STSv1; id={};", published.id));
    }

    #[test]
    fn hosts_that_an_enforced_policy_does_not_name_are_locked_out() {
        let hosts = ["mx.a.example", "x.mx.b.example", "mx.b.example"].map(name);
        let patterns = &["mx.a.example", "*.mx.b.example"];
        let enforced = published(Mode::Enforce, patterns, 0);
        assert_eq!(enforced.locked_out(&hosts), [&name("mx.b.example")]);
        for mode in [Mode::Testing, Mode::None] {
            assert!(published(mode, patterns, 0).locked_out(&hosts).is_empty());
        }
    }

    fn published(mode: Mode, mx: &[&str], edition: u64) -> Published {
        let mx = mx.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let policy = Policy::new(mode, Duration::from_secs(86_400), mx).unwrap();
        Published::new(name("a.example"), policy, edition)
    }

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }
}
