//! The rows of the behaviour table that the decision is responsible for, each tested by the
//! explanation that a postmaster would read.

#[cfg(test)]
mod support;

/// Rules 1 to 9: DNS and DNSSEC.
#[cfg(test)]
#[path = "behaviour/dns.rs"]
mod dns;

/// Rules 10 to 21: DANE.
#[cfg(test)]
#[path = "behaviour/dane.rs"]
mod dane;

/// Rules 22 to 30: MTA-STS.
#[cfg(test)]
#[path = "behaviour/sts.rs"]
mod sts;

/// Rules 34 to 37, the operator's rules and the promise that retries never weaken.
#[cfg(test)]
#[path = "behaviour/demands.rs"]
mod demands;

/// What is answered where mail may not go.
#[cfg(test)]
#[path = "behaviour/replies.rs"]
mod replies;

/// What receipts and `--json` show.
#[cfg(test)]
#[path = "behaviour/json.rs"]
mod json;

/// What holds for every piece of evidence there can be.
#[cfg(test)]
#[path = "behaviour/laws.rs"]
mod laws;

/// The explanation of the decision.
#[cfg(test)]
fn explain(evidence: &byrnie_policy::Evidence) -> String {
    byrnie_policy::decide(evidence).explanation().to_string()
}
