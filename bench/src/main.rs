//! The machinery of the load bench: who sends, who receives, and what the machine can do at most.
//!
//! `bench.py` starts these commands and reads the JSON lines that they print. Load generator and sink
//! share the machine with the relay that is measured, so both are single threads without allocations
//! for each message, and their own processor time is part of every result.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a tool for developers, which talks to nothing but the relay that it measures"
)]

mod certificate;
mod client;
mod failure;
mod fsync;
mod idle;
mod load;
mod message;
mod parrot;
mod session;
mod silent;
mod sink;
mod socketmap;
mod stats;
mod tls;
mod tlsrate;

use std::process::ExitCode;

use clap::Parser;

use failure::Failure;

/// The load bench's sender, receiver and probes; each prints JSON on standard output
#[derive(Parser)]
#[command(name = "smtpbench")]
enum Command {
    /// An SMTP server that checks, counts and discards messages
    Sink(sink::Options),
    /// An SMTP client that sends messages of which no two are equal
    Load(load::Options),
    /// Connections that greet and then say nothing
    Idle(idle::Options),
    /// Addresses that never answer a connection attempt
    Silent(silent::Options),
    /// A self-signed certificate with its key, and its TLSA record
    Certificate(certificate::Options),
    /// TLS handshakes a second, in memory
    Tlsrate(tlsrate::Options),
    /// Questions to a policy daemon, as Postfix asks them
    Socketmap(socketmap::Options),
    /// A policy daemon that says the same to everybody
    Parrot(parrot::Options),
    /// Small durable writes a second
    Fsync(fsync::Options),
}

/// Runs one command.
fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Sink(options) => on_one_thread(sink::run(options)),
        Command::Load(options) => on_one_thread(load::run(options)),
        Command::Idle(options) => on_one_thread(idle::run(options)),
        Command::Silent(options) => silent::run(&options),
        Command::Certificate(options) => certificate::run(&options),
        Command::Tlsrate(options) => tlsrate::run(&options),
        Command::Socketmap(options) => on_one_thread(socketmap::run(options)),
        Command::Parrot(options) => on_one_thread(parrot::run(options)),
        Command::Fsync(options) => fsync::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("smtpbench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Drives a command that waits for many connections at once.
fn on_one_thread(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}
