//! `byrnie dane verify`: does this chain satisfy these TLSA records?

use std::fs;
use std::process::ExitCode;

use byrnie_base::UnixTime;
use byrnie_dane::TlsaRecord;
use byrnie_dane::verify_pem;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use serde::Serialize;

use crate::cli::DaneCommand;
use crate::cli::DaneVerifyArgs;
use crate::failure::Failure;
use crate::output;
use crate::output::Paint;

/// Runs `byrnie dane`.
pub(crate) fn run(command: &DaneCommand) -> Result<ExitCode, Failure> {
    match command {
        DaneCommand::Verify(args) => verify(args),
    }
}

/// The answer, for machines.
#[derive(Serialize)]
struct Verification {
    /// Whether the chain satisfies the records.
    satisfied: bool,
    /// What matched, or why nothing did.
    reason: String,
}

fn verify(args: &DaneVerifyArgs) -> Result<ExitCode, Failure> {
    let records = args
        .tlsa
        .iter()
        .map(|text| parse_record(text))
        .collect::<Result<Vec<_>, _>>()?;
    let at = match &args.at {
        Some(text) => parse_time(text)?,
        None => SystemClock.now(),
    };
    let chain = fs::read(&args.chain).map_err(|error| {
        Failure::usage(format!("{}: {error}", args.chain.display()))
            .hint("`--chain` names a file of certificates in PEM form, the host's own first")
    })?;
    let answer = verify_pem(&records, &chain, &args.name, at).map_err(|error| {
        Failure::usage(format!("{}: {error}", args.chain.display()))
            .hint("`openssl s_client -starttls smtp -showcerts` prints what a host sends")
    })?;

    let verification = match &answer {
        Ok(matched) => Verification {
            satisfied: true,
            reason: matched.to_string(),
        },
        Err(mismatch) => Verification {
            satisfied: false,
            reason: mismatch.to_string(),
        },
    };
    if args.json {
        output::print_json(&verification)?;
    } else {
        let paint = Paint::for_stdout();
        let word = match verification.satisfied {
            true => paint.green("satisfied"),
            false => paint.red("not satisfied"),
        };
        output::print(format_args!("{word}: {}\n", verification.reason))?;
    }
    Ok(match verification.satisfied {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

fn parse_record(text: &str) -> Result<TlsaRecord, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("`--tlsa` \"{text}\": {error}"))
            .hint("write a record as in a zone file: usage, selector, matching type, hex digits")
    })
}

fn parse_time(text: &str) -> Result<UnixTime, Failure> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .and_then(|time| u64::try_from(time.as_second()).ok())
        .map(UnixTime)
        .ok_or_else(|| {
            Failure::usage(format!("`--at` \"{text}\" is not a time after 1970"))
                .hint("write it like 2026-01-31T12:00:00Z")
        })
}
