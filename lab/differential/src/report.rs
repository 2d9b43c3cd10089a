//! Counts, and one case in full.

use std::collections::BTreeMap;

use byrnie_dnssec::RecordSet;
use byrnie_dnssec::Verdict;
use byrnie_dnssec::tree;
use bytes::Bytes;
use domain::base::Name as DnsName;
use domain::base::Rtype;

use crate::case::Case;
use crate::compare::Finding;
use crate::message::Record;
use crate::ours;
use crate::rules::RULES;
use crate::unbound::Said;
use crate::unbound::Word;

/// What was counted.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) cases: u64,
    pairs: BTreeMap<(Word, Word), u64>,
    damages: BTreeMap<&'static str, [u64; 4]>,
    pub(crate) explained: BTreeMap<&'static str, u64>,
    unexplained: Vec<String>,
    pub(crate) through_net: u64,
    pub(crate) repeated: u64,
}

impl Counts {
    /// Counts one case.
    pub(crate) fn add(&mut self, case: &Case, verdict: &Verdict, said: &Said, finding: &Finding) {
        self.cases += 1;
        let ours = ours::word(verdict);
        *self.pairs.entry((ours, said.word)).or_default() += 1;
        let mut names: Vec<&str> = case
            .damages
            .iter()
            .map(|damage| damage.kind.name())
            .collect();
        if names.is_empty() {
            names.push("none");
        }
        for name in names {
            let row = self.damages.entry(name).or_default();
            row[ours as usize] += 1;
            row[3] += u64::from(*finding != Finding::Agreed);
        }
        match finding {
            Finding::Agreed => {}
            Finding::Explained(rule) => *self.explained.entry(rule).or_default() += 1,
            Finding::Unexplained(why) => {
                self.unexplained.push(summary(case, verdict, said, why));
            }
        }
    }

    /// Notes something that no rule explains.
    pub(crate) fn add_unexplained(&mut self, line: String) {
        self.unexplained.push(line);
    }

    /// The number of cases that nothing explains.
    pub(crate) fn unexplained(&self) -> usize {
        self.unexplained.len()
    }

    /// Prints the tables.
    pub(crate) fn print(&self) {
        println!("{:<34} {:>9}", "verdicts (ours / unbound's)", "cases");
        for ((ours, theirs), count) in &self.pairs {
            println!(
                "{:<34} {count:>9}",
                format!("{ours:?} / {theirs:?}").to_lowercase()
            );
        }
        println!(
            "\n{:<34} {:>9} {:>9} {:>9} {:>9}",
            "damage (ours)", "secure", "insecure", "bogus", "differ"
        );
        for (name, [secure, insecure, bogus, differ]) in &self.damages {
            println!("{name:<34} {secure:>9} {insecure:>9} {bogus:>9} {differ:>9}");
        }
        println!("\n{:<34} {:>9}", "explained differences", "cases");
        for rule in RULES {
            let count = self.explained.get(rule.name).copied().unwrap_or(0);
            println!("{:<34} {count:>9}  {}", rule.name, rule.why);
        }
        println!(
            "\n{} cases, {} through net::dns as well, {} repeated after a time-out of unbound's, \
             {} agreed, {} explained, {} UNEXPLAINED",
            self.cases,
            self.through_net,
            self.repeated,
            self.cases - self.explained.values().sum::<u64>() - self.unexplained.len() as u64,
            self.explained.values().sum::<u64>(),
            self.unexplained.len(),
        );
        for line in self.unexplained.iter().take(UNEXPLAINED_SHOWN) {
            println!("UNEXPLAINED {line}");
        }
    }
}

/// A case on one line.
pub(crate) fn summary(case: &Case, verdict: &Verdict, said: &Said, why: &str) -> String {
    let damages: Vec<String> = case
        .damages
        .iter()
        .map(|damage| format!("{} {:?}", damage.kind.name(), damage.scope.label()))
        .collect();
    format!(
        "case {}: {why}: {} {}: ours {} ({}), unbound's {:?} {} (EDE {:?}), truth {:?} {}: {}",
        case.number,
        case.name,
        case.rtype,
        verdict.status,
        ours::kind(verdict),
        said.word,
        said.rcode,
        said.extended,
        case.truth.security,
        case.truth.kind,
        damages.join("; "),
    )
}

/// Prints a case in full.
pub(crate) fn print_case(case: &Case, verdict: &Verdict, said: &Said, finding: &Finding) {
    println!("{}\n{finding:?}\n", summary(case, verdict, said, ""));
    for zone in &case.tree.zones {
        println!(
            "zone {} {:?} {:?}, {} keys {:?}",
            zone.apex,
            zone.security,
            zone.denial,
            zone.keys.len(),
            zone.keys
                .iter()
                .map(|key| (key.key.algorithm, key.flags, key.signs_keys, key.signs_data))
                .collect::<Vec<_>>(),
        );
        for (owner, sets) in &zone.sets {
            for rtype in sets.keys() {
                for record in zone.signed(owner, owner, *rtype) {
                    println!("    {}", presentation(&record));
                }
            }
        }
        for span in zone.chain() {
            if let Some(record) = zone.denial_records(span).first() {
                println!("    {}", presentation(record));
            }
        }
    }
    for ((name, rtype), sent) in case.replies() {
        let honest = case.honest(&name, rtype);
        let note = if honest.body() == sent.body && honest.rcode == sent.rcode {
            "honest"
        } else {
            "DAMAGED"
        };
        println!(
            "\nreply to {name} {} ({note}), code {}",
            Rtype::from_int(rtype),
            sent.rcode
        );
        for (section, records) in [
            ("answer", &sent.reply.answer),
            ("authority", &sent.reply.authority),
        ] {
            for record in records {
                println!("    {section:<9} {}", presentation(record));
            }
        }
    }
    println!("\nours: {}\n{}", verdict.status, tree(&verdict.chain));
}

/// A record as a line.
fn presentation(record: &Record) -> String {
    let Ok(owner) = DnsName::from_octets(Bytes::from(record.owner.clone())) else {
        return String::from("a record without a proper owner");
    };
    let set = RecordSet {
        owner,
        rtype: Rtype::from_int(record.rtype),
        ttl: record.ttl,
        data: vec![Bytes::from(record.data.clone())],
    };
    set.presentation().join("\n")
}

/// Cases without explanation that are printed.
const UNEXPLAINED_SHOWN: usize = 40;

/// The root's key as a line of a zone file.
pub(crate) fn anchor(root: &Case) -> String {
    let reply = root.honest(&root.name, crate::message::DNSKEY);
    reply
        .answer
        .iter()
        .filter(|record| record.rtype == crate::message::DNSKEY)
        .map(|record| presentation(record) + "\n")
        .collect()
}
