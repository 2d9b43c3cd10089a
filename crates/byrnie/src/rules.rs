//! The operator's rules and guarantees, from the form of the file to that of the gateway.

use byrnie_mta::Guarantee;
use byrnie_mta::Rules;
use byrnie_mta::Scope;
use byrnie_mta::ScopedRule;
use byrnie_policy::DaneRule;
use byrnie_policy::DomainRule;
use byrnie_policy::InsecureMx;

use crate::config::DaneWord;
use crate::config::File;
use crate::config::InsecureMxWord;
use crate::config::Rule;
use crate::config::RuleDomain;

/// The rules for recipient domains.
pub(crate) fn rules(file: &File) -> Rules {
    Rules::new(file.rules.iter().map(scoped).collect())
}

/// The guarantees for senders.
pub(crate) fn guarantees(file: &File) -> Vec<Guarantee> {
    let guarantees = file.guarantees.iter();
    guarantees
        .flat_map(|guarantee| {
            let sender = guarantee.sender.clone().map(Guarantee::Sender);
            let domain = guarantee.sender_domain.clone();
            sender
                .into_iter()
                .chain(domain.map(Guarantee::SenderDomain))
        })
        .collect()
}

/// One rule.
fn scoped(rule: &Rule) -> ScopedRule {
    ScopedRule {
        scope: match &rule.domain {
            RuleDomain::Exact(domain) => Scope::Exactly(domain.clone()),
            RuleDomain::Below(parent) => Scope::Below(parent.clone()),
        },
        rule: DomainRule {
            at_least: rule.at_least.unwrap_or_default(),
            dane: match rule.dane {
                None | Some(DaneWord::Apply) => DaneRule::Apply,
                Some(DaneWord::DangerIgnore) => DaneRule::DangerIgnore,
            },
            insecure_mx: match rule.insecure_mx {
                None | Some(InsecureMxWord::NoDane) => InsecureMx::NoDane,
                Some(InsecureMxWord::UseTlsa) => InsecureMx::UseTlsa,
            },
        },
    }
}
