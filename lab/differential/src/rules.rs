//! Why the two validators may differ: each difference that was met, with its reason.
//!
//! Where ours says secure or insecure, it has been held against what the zones truly contain before
//! any rule is asked.

use byrnie_dnssec::Failure;
use byrnie_dnssec::InsecureProof;
use byrnie_dnssec::Rule as FaultRule;
use byrnie_dnssec::Status;

use crate::answer::ITERATIONS_MAX;
use crate::answer::Kind as Truly;
use crate::compare::View;
use crate::damage::Kind;
use crate::message::DS;
use crate::message::Gathered;
use crate::message::NS;
use crate::message::NSEC;
use crate::message::NSEC3;
use crate::message::NXDOMAIN;
use crate::message::SOA;
use crate::message::Section;
use crate::message::gather;
use crate::name::Name;
use crate::unbound::Word;
use crate::zone::Denial;
use crate::zone::Security;

/// One reason.
pub(crate) struct Rule {
    /// What reports call it.
    pub(crate) name: &'static str,
    /// Why the two differ, and who follows which standard.
    pub(crate) why: &'static str,
    /// Whether it is the reason.
    pub(crate) applies: fn(&View<'_>) -> bool,
}

/// All of them; the first that applies counts.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "response code",
        why: "the code of a reply on the way, which is not signed: ours believes the signed records, unbound the code first",
        applies: |view| view.ours_is_true() && view.any(|change| change.code),
    },
    Rule {
        name: "response code over DS records",
        why: "NXDOMAIN beside DS records: ours calls that a contradiction, unbound takes the question for one about an insecure name",
        applies: |view| {
            view.said.word == Word::Insecure
                && view.breaks(&FaultRule::CodeContradicted)
                && view.any(|change| change.code && change.asked.1 == DS)
        },
    },
    Rule {
        name: "surplus set",
        why: "unbound wants every set of the answer and authority sections proven (RFC 4035, section 3.2.3), ours those that it uses",
        applies: |view| view.ours_is_true() && view.any(|change| !change.added.is_empty()),
    },
    Rule {
        name: "unneeded authority",
        why: "the same for a SOA or NS set of the authority section: the denial or the answer is proven without",
        applies: |view| {
            view.ours_is_true()
                && view.any(|change| {
                    change.altered.iter().chain(&change.missing).any(|set| {
                        set.section == Section::Authority && [SOA, NS].contains(&set.rtype)
                    })
                })
        },
    },
    Rule {
        name: "alias asked anew",
        why: "what a reply tells of an alias's target is damaged: ours asks for the target itself, unbound gives up",
        applies: |view| view.ours_is_true() && view.case.truth.names.len() > 1,
    },
    Rule {
        name: "empty wildcard",
        why: "the wildcard is an empty non-terminal, so the name exists without data (RFC 4592, section 2.2.2); unbound does not see it in the NSEC record",
        applies: |view| view.ours_is_true() && view.case.truth.empty_wildcard,
    },
    Rule {
        name: "asterisk counted",
        why: "a signature at a wildcard counts the asterisk as a label: ours takes it for one over the name as it stands, unbound does not",
        applies: |view| {
            view.ours_is_true()
                && view.damaged_by(Kind::WrongLabels)
                && view.any(|change| change.altered.iter().any(|set| set.owner.is_wildcard()))
        },
    },
    Rule {
        name: "insecure proof in part",
        why: "the parts of the proof that came show opt-out or too many iterations, which is insecure whatever the others say; unbound wants all of them",
        applies: |view| {
            view.ours == Word::Insecure
                && view.said.word == Word::Bogus
                && view.case.truth.weak_proof
                && view.any(|change| change.concerns(&[NSEC, NSEC3]))
        },
    },
    Rule {
        name: "below an insecure delegation",
        why: "once a delegation is proven insecure ours believes no signature below and refuses none; unbound first looks at who claims to have signed",
        applies: |view| {
            view.ours == Word::Insecure
                && view.said.word == Word::Bogus
                && view.case.truth.security == Some(Security::Insecure)
                && view.ends_at_a_delegation()
                && view.any(Change::is_one)
        },
    },
    Rule {
        name: "too many iterations",
        why: "a zone with so many NSEC3 iterations counts as insecure (RFC 9276, section 3.2), to ours as soon as one valid record shows it",
        applies: |view| view.said.word == Word::Bogus && view.counts_no_iterations(),
    },
    Rule {
        name: "too many iterations, unbound's",
        why: "the same the other way round: unbound finds the zone insecure at a name where ours has signatures to hold it to",
        applies: |view| {
            view.theirs_is_milder()
                && view.said.word == Word::Insecure
                && view.has_excessive_iterations()
        },
    },
    Rule {
        name: "invalid signature beside",
        why: "of several signatures one is damaged in its label count: ours goes by the valid one, unbound wants all of them to count the same",
        applies: |view| {
            view.ours_is_true()
                && view.any(|change| change.altered.iter().any(|set| set.signatures() > 1))
        },
    },
    Rule {
        name: "unbound against the zone",
        why: "unbound calls secure what the zones do not say; ours refuses it",
        applies: |view| view.theirs_is_milder() && view.theirs_is_untrue(),
    },
    Rule {
        name: "alias denied",
        why: "the NSEC record of a wildcard says that there is a CNAME, so it does not deny other types (RFC 6840, section 4.3); unbound takes it to",
        applies: |view| {
            view.theirs_is_milder()
                && view.breaks(&FaultRule::DenialUnproven)
                && view.case.truth.names.len() > 1
        },
    },
    Rule {
        name: "records beside an alias",
        why: "bad records of the type asked for stand beside the alias: ours judges those, unbound follows the alias and drops them",
        applies: |view| {
            view.theirs_is_milder()
                && view.case.truth.names.len() > 1
                && view.any(|change| {
                    let mut added = change.added.iter();
                    added.any(|set| set.section == Section::Answer)
                })
        },
    },
    Rule {
        name: "DS in the authority section",
        why: "DS records answer the question for them and belong to the answer section; unbound finds them anywhere, ours asks for the proof that there are none",
        applies: |view| {
            view.theirs_is_milder()
                && view.any(|change| {
                    change.asked.1 == DS
                        && change
                            .added
                            .iter()
                            .any(|set| (set.section, set.rtype) == (Section::Authority, DS))
                })
        },
    },
    Rule {
        name: "DS from a wildcard",
        why: "the zone signs DS records as if a wildcard had made them: ours refuses (RFC 4592, section 4.6), unbound does not look",
        applies: |view| view.theirs_is_milder() && view.breaks(&FaultRule::WildcardNotAllowed),
    },
    Rule {
        name: "signature in another section",
        why: "a signature stands in another section than its set (RFC 4035, section 3.1.1 forbids it): unbound puts them together, ours does not",
        applies: |view| view.theirs_is_milder() && view.any(Change::is_torn),
    },
    Rule {
        name: "end of a wildcard alias",
        why: "the denial of a wildcard alias's target is damaged, and stands in one section with the wildcard's own proof: ours wants all of that proven, unbound asks for the target anew",
        applies: |view| {
            view.theirs_is_milder()
                && view.case.truth.names.len() > 1
                && view.any(|change| {
                    change.concerns(&[SOA, NSEC, NSEC3]) && change.asked.0 == view.case.name
                })
        },
    },
    Rule {
        name: "denial from a wildcard",
        why: "the zone signs a denial as if a wildcard had made it: to ours it says nothing about the name (CVE-2017-15105), unbound allows some",
        applies: |view| {
            view.theirs_is_milder()
                && view.damaged_by(Kind::WrongLabels)
                && view.any(|change| {
                    change
                        .altered
                        .iter()
                        .any(|set| [NSEC, NSEC3].contains(&set.rtype))
                })
        },
    },
    Rule {
        name: "signed lie about types",
        why: "the zone signs type bits that contradict its own reply: ours calls it unproven, unbound finds a delegation in them",
        applies: |view| view.theirs_is_milder() && view.damaged_by(Kind::SignedTypeBits),
    },
    Rule {
        name: "malformed record",
        why: "ours refuses a message with a record that breaks its format or the end of the message; unbound reads what it can",
        applies: |view| {
            view.theirs_is_milder()
                && matches!(view.verdict.status, Status::Failed(Failure::BadMessage(..)))
        },
    },
    Rule {
        name: "signed denial of insecure data",
        why: "a zone above an insecure delegation signs a reply about what is below: ours checks it as that zone's word, unbound knows the delegation first",
        applies: |view| {
            view.said.word == Word::Insecure
                && view.ours == Word::Bogus
                && view.case.truth.security == Some(Security::Insecure)
                && view.any(|change| change.now.iter().any(Gathered::is_signed))
        },
    },
];

/// What damage did to one reply.
pub(crate) struct Change {
    /// The question.
    pub(crate) asked: (Name, u16),
    /// The response code is another one.
    pub(crate) code: bool,
    /// The octets cannot be read at all.
    pub(crate) malformed: bool,
    /// All sets as they came.
    pub(crate) now: Vec<Gathered>,
    /// Sets that the honest reply does not have in this section.
    pub(crate) added: Vec<Gathered>,
    /// Sets whose records or signatures are others; as they came.
    pub(crate) altered: Vec<Gathered>,
    /// Sets of the honest reply that did not come in this section.
    pub(crate) missing: Vec<Gathered>,
}

impl Change {
    /// Whether anything was done at all.
    fn is_one(&self) -> bool {
        let sets = self.added.len() + self.altered.len() + self.missing.len();
        self.code || self.malformed || sets > 0
    }

    /// Whether records and signatures of one set stand in different sections.
    fn is_torn(&self) -> bool {
        self.now.iter().any(|set| {
            !set.has_records()
                || self.now.iter().any(|other| {
                    (&other.owner, other.rtype) == (&set.owner, set.rtype)
                        && other.section != set.section
                })
        })
    }

    /// Whether a set of one of these types is altered or missing.
    fn concerns(&self, types: &[u16]) -> bool {
        let mut sets = self.altered.iter().chain(&self.missing);
        sets.any(|set| types.contains(&set.rtype))
    }
}

impl View<'_> {
    /// What damage did to the replies that were asked for.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for ((name, rtype), sent) in self.case.replies() {
            let honest = self.case.honest(&name, rtype);
            let read = sent.read();
            let (before, after) = (
                gather(&honest),
                read.as_ref().map(gather).unwrap_or_default(),
            );
            let same = |one: &Gathered, two: &Gathered| {
                (one.section, &one.owner, one.rtype) == (two.section, &two.owner, two.rtype)
            };
            let absent_from =
                |sets: &[Gathered], set: &Gathered| !sets.iter().any(|other| same(set, other));
            let change = Change {
                asked: (name, rtype),
                code: honest.rcode != sent.rcode,
                malformed: read.is_none(),
                added: after
                    .iter()
                    .filter(|set| absent_from(&before, set))
                    .cloned()
                    .collect(),
                altered: after
                    .iter()
                    .filter(|set| !absent_from(&before, set) && !before.contains(set))
                    .cloned()
                    .collect(),
                missing: before
                    .iter()
                    .filter(|set| absent_from(&after, set))
                    .cloned()
                    .collect(),
                now: after,
            };
            changes.push(change);
        }
        changes
    }

    /// Whether ours is what the zones say, and unbound's is something else.
    ///
    /// What is insecure may say anything, so there it is enough that it truly is insecure.
    fn ours_is_true(&self) -> bool {
        match self.ours {
            Word::Secure => self.kind == self.case.truth.kind,
            Word::Insecure => self.case.truth.security == Some(Security::Insecure),
            Word::Bogus => false,
        }
    }

    /// Whether ours is insecure because of a delegation.
    fn ends_at_a_delegation(&self) -> bool {
        matches!(
            &self.verdict.status,
            Status::Insecure(why) if matches!(
                why.proof,
                InsecureProof::NoDs
                    | InsecureProof::OptOut
                    | InsecureProof::UnsupportedDs
                    | InsecureProof::UnsupportedKeys
            )
        )
    }

    /// Whether ours refuses what unbound does not.
    fn theirs_is_milder(&self) -> bool {
        self.ours == Word::Bogus && self.said.word != Word::Bogus
    }

    /// Whether what unbound calls secure contradicts what the zones say.
    fn theirs_is_untrue(&self) -> bool {
        self.said.word == Word::Secure
            && match self.case.truth.kind {
                Truly::Answer(_) => self.said.answer.is_empty(),
                Truly::NoData => self.said.rcode == NXDOMAIN,
                Truly::NxDomain => self.said.rcode != NXDOMAIN,
                Truly::None => true,
            }
    }

    /// Whether a zone on the way asks for more iterations than are done.
    fn has_excessive_iterations(&self) -> bool {
        let mut zones = self.case.tree.zones.iter();
        zones.any(|zone| {
            self.case.truth.zones.contains(&zone.apex)
                && matches!(zone.denial, Denial::Nsec3 { iterations, .. } if iterations > ITERATIONS_MAX)
        })
    }

    /// Whether a damage is of a kind.
    fn damaged_by(&self, kind: Kind) -> bool {
        self.case.damages.iter().any(|damage| damage.kind == kind)
    }

    /// Whether ours is bogus by a rule.
    fn breaks(&self, rule: &FaultRule) -> bool {
        matches!(&self.verdict.status, Status::Bogus(fault) if fault.rule == *rule)
    }

    /// Whether something was done to any reply.
    fn any(&self, condition: impl Fn(&Change) -> bool) -> bool {
        self.changes().iter().any(condition)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_rule_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
    }
}
