//! What the operator demands beyond what domains promise themselves.

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_policy::DomainRule;
use byrnie_policy::Strength;
use byrnie_smtp::ReversePath;

/// Rules for recipient domains. The one that names the domain wins, then that of the nearest parent.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<ScopedRule>);

impl Rules {
    /// Rules in any order; of two with the same scope the first counts.
    #[must_use]
    pub fn new(rules: Vec<ScopedRule>) -> Self {
        Self(rules)
    }

    /// The rule for a recipient domain; the default one adds nothing.
    #[must_use]
    pub fn for_domain(&self, domain: &DomainName) -> DomainRule {
        let exact = self
            .0
            .iter()
            .find(|scoped| scoped.scope == Scope::Exactly(domain.clone()));
        let nearest = || {
            std::iter::successors(domain.parent(), DomainName::parent).find_map(|parent| {
                self.0
                    .iter()
                    .find(|scoped| scoped.scope == Scope::Below(parent.clone()))
            })
        };
        exact
            .or_else(nearest)
            .map(|scoped| scoped.rule)
            .unwrap_or_default()
    }
}

/// A rule and the domains it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopedRule {
    /// For which domains.
    pub scope: Scope,
    /// What is demanded.
    pub rule: DomainRule,
}

/// The domains that a rule is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// This one.
    Exactly(DomainName),
    /// Every one below this one, which it is not for itself.
    Below(DomainName),
}

/// A sender whose mail travels over authenticated TLS, or is refused (behaviour rule 35).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Guarantee {
    /// Mail from this address.
    Sender(Mailbox),
    /// Mail from any address at this domain.
    SenderDomain(DomainName),
}

impl Guarantee {
    /// Whether mail with this reverse path is covered.
    #[must_use]
    pub fn covers(&self, reverse_path: &ReversePath) -> bool {
        let ReversePath::Mailbox(mailbox) = reverse_path else {
            return false;
        };
        match self {
            Self::Sender(sender) => sender.domain == mailbox.domain && same_local(sender, mailbox),
            Self::SenderDomain(domain) => mailbox.domain == MailDomain::Name(domain.clone()),
        }
    }
}

/// What every host must prove for mail with this reverse path, whatever its domain promises.
pub(crate) fn promised(guarantees: &[Guarantee], reverse_path: &ReversePath) -> Strength {
    let is_covered = guarantees
        .iter()
        .any(|guarantee| guarantee.covers(reverse_path));
    if is_covered {
        GUARANTEED
    } else {
        Strength::Opportunistic
    }
}

/// The weakest requirement with authentication.
const GUARANTEED: Strength = Strength::MtaSts;

/// Local parts are compared without case: a guarantee that is missed by a capital letter is none.
fn same_local(one: &Mailbox, other: &Mailbox) -> bool {
    one.local_part
        .as_str()
        .eq_ignore_ascii_case(other.local_part.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rule_counts() {
        let rules = Rules::new(vec![
            rule(Scope::Below(name("example")), Strength::Encrypt),
            rule(Scope::Below(name("partner.example")), Strength::MtaSts),
            rule(Scope::Exactly(name("mail.partner.example")), Strength::Dane),
            rule(
                Scope::Exactly(name("mail.partner.example")),
                Strength::Encrypt,
            ),
        ]);
        for (domain, strength) in [
            ("mail.partner.example", Strength::Dane),
            ("sub.mail.partner.example", Strength::MtaSts),
            ("partner.example", Strength::Encrypt),
            ("example", Strength::Opportunistic),
            ("partner.test", Strength::Opportunistic),
        ] {
            assert_eq!(
                rules.for_domain(&name(domain)).at_least,
                strength,
                "{domain}"
            );
        }
    }

    #[test]
    fn a_guarantee_covers_its_sender_alone() {
        let sender = Guarantee::Sender("Boss@clinic.example".parse().unwrap());
        let domain = Guarantee::SenderDomain(name("clinic.example"));
        for (path, by_sender, by_domain) in [
            ("boss@clinic.example", true, true),
            ("other@clinic.example", false, true),
            ("boss@sub.clinic.example", false, false),
            ("", false, false),
        ] {
            let path: ReversePath = path.parse().unwrap();
            assert_eq!(sender.covers(&path), by_sender, "{path}");
            assert_eq!(domain.covers(&path), by_domain, "{path}");
        }
    }

    fn rule(scope: Scope, at_least: Strength) -> ScopedRule {
        ScopedRule {
            scope,
            rule: DomainRule {
                at_least,
                ..DomainRule::default()
            },
        }
    }

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }
}
