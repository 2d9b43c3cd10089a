//! Evidence about domains: what is asked, when, how often, and what is made of the answers.

#[cfg(test)]
#[path = "gather/world.rs"]
mod world;

#[cfg(test)]
#[path = "gather/round_trips.rs"]
mod round_trips;

#[cfg(test)]
#[path = "gather/rules.rs"]
mod rules;

#[cfg(test)]
#[path = "gather/sts_life.rs"]
mod sts_life;

#[cfg(test)]
#[path = "gather/sts_fetch.rs"]
mod sts_fetch;

#[cfg(test)]
#[path = "gather/https.rs"]
mod https;
