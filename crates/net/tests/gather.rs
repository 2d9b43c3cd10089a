//! Evidence about domains: what is asked, when, how often, and what is made of the answers.

/// A scripted world: DNS, policy hosts, a clock.
#[cfg(test)]
#[path = "gather/world.rs"]
mod world;

/// How many round trips stand in sequence.
#[cfg(test)]
#[path = "gather/round_trips.rs"]
mod round_trips;

/// Behaviour rules 1 to 21, as far as they are about what is asked.
#[cfg(test)]
#[path = "gather/rules.rs"]
mod rules;

/// Behaviour rules 22 to 29: the life of MTA-STS policies.
#[cfg(test)]
#[path = "gather/sts_life.rs"]
mod sts_life;

/// Behaviour rule 23: fetching over HTTPS.
#[cfg(test)]
#[path = "gather/sts_fetch.rs"]
mod sts_fetch;
