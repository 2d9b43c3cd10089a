//! The rows of the behaviour table that the decision is responsible for, each tested by the
//! explanation that a postmaster would read.

#[cfg(test)]
mod support;

#[cfg(test)]
#[path = "behaviour/dns.rs"]
mod dns;

#[cfg(test)]
#[path = "behaviour/dane.rs"]
mod dane;

#[cfg(test)]
#[path = "behaviour/sts.rs"]
mod sts;

#[cfg(test)]
#[path = "behaviour/demands.rs"]
mod demands;

#[cfg(test)]
#[path = "behaviour/replies.rs"]
mod replies;

#[cfg(test)]
#[path = "behaviour/json.rs"]
mod json;

#[cfg(test)]
#[path = "behaviour/laws.rs"]
mod laws;

/// The explanation of the decision.
#[cfg(test)]
fn explain(evidence: &byrnie_policy::Evidence) -> String {
    byrnie_policy::decide(evidence).explanation().to_string()
}
