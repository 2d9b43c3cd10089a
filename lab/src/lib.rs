//! A miniature internet on loopback, with the program under test inside it.
//!
//! ```text
//!                         ┌──────────────── the world ────────────────────────────────────────┐
//!                         │                                                                   │
//!  inject ── SMTP ──►  subject ── DNS ──►  dns: signed root, TLDs, domains; faults            │
//!  (a client)         (the binary    │                                                        │
//!       ▲              that ships,   ├─ HTTPS ──►  policy_host: MTA-STS policies, good and bad │
//!       │              its config)   │                                                        │
//!       │                 │          └─ SMTP ──┬──────────────────────►  mail_host: honest, or │
//!       │              JSON log                └──► middle (attacker) ─►  with faults          │
//!       │                 │                                                   │               │
//!       │                 ▼                                                   ▼               │
//!     play ◄────────── event                                                inbox             │
//!       │  ▲                                                                  │               │
//!       │  └──────────────────────── what really arrived ─────────────────────┘               │
//!       ▼                 └───────────────────────────────────────────────────────────────────┘
//!     report
//! ```
//!
//! The lab is an independent judge. It shares no code with the program under test but the
//! vocabulary of `byrnie-base`: it starts the binary that ships with an ordinary configuration file,
//! in which the resolver, the trust anchor, extra certificate roots, the ports of mail hosts and of
//! policy hosts and the times of the queue are set, all of them ordinary settings. Its DNSSEC signer,
//! its SMTP server and client and its HTTPS server are its own. Nothing inside the program is replaced
//! and nothing needs root or a network: Linux lets anybody bind any address in 127.0.0.0/8, so every
//! host has an address of its own and all mail hosts share one port.
//!
//! | where | what |
//! |---|---|
//! | [`address`] | a private block of loopback addresses for each lab |
//! | [`dns`] | zones, signatures, proofs of absence, faults, the resolver |
//! | [`authority`] | certificate authorities and certificates, good and bad |
//! | [`mail_host`], [`policy_host`], [`middle`] | the hosts, and the attacker between them |
//! | [`inbox`] | what arrived, as the hosts saw it |
//! | [`subject`], [`event`] | the program under test, and what it says |
//! | [`inject`] | mail into the program |
//! | [`world`] | all of this together; a scenario's part of it |
//! | [`scenario`] | the list: set-up, steps, expected end |
//! | [`run`], [`report`] | plays the list, judges, tells |
//! | [`durability`] | load, while the program is killed again and again |
//!
//! A scenario passes only if both witnesses agree: what the program logs that it did, and what the
//! hosts saw. In particular, mail counts as withheld only if the program says that it deferred it
//! and no host has it.

pub mod address;
pub mod authority;
mod clock;
pub mod dns;
pub mod durability;
mod error;
pub mod event;
pub mod inbox;
pub mod inject;
mod listening;
pub mod mail_host;
pub mod middle;
pub mod neighbour;
mod play;
pub mod policy_host;
pub mod report;
pub mod run;
pub mod scenario;
pub mod subject;
pub mod world;

pub use error::LabError;
pub use report::Format;
pub use report::Outcome;
pub use run::Lab;
pub use run::Options;
