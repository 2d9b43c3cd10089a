//! The validator against a signed name space in memory, filed by RFC and section.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail like tests"
)]

mod algorithms;
mod bounds;
mod damage;
mod explanation;
mod keys;
mod laws;
mod octets;
mod rfc1035;
mod rfc2181;
mod rfc4035;
mod rfc4509;
mod rfc5011;
mod rfc5155;
mod rfc6672;
mod rfc6840;
mod rfc7646;
mod rfc8198;
mod rfc9520;
mod rfc9824;
mod round_trips;
mod upstream;
mod world;
