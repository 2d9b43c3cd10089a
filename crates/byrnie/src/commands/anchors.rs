//! `byrnie anchors`: what chains of trust begin with, and how long that is known.

use std::fmt::Write;
use std::process::ExitCode;

use byrnie_base::UnixTime;
use byrnie_net::dns::AnchorReport;
use byrnie_net::dns::AnchorSource;
use byrnie_net::dns::AnchorUpdates;
use byrnie_net::dns::HINT_DEAD;
use byrnie_net::dns::KeyReport;
use byrnie_net::dns::NegativeReport;
use byrnie_net::dns::ZoneReport;
use serde::Serialize;

use crate::cli::AnchorsArgs;
use crate::config;
use crate::failure::Failure;
use crate::output;
use crate::output::Paint;
use crate::resolving;
use crate::runtime;

/// Runs `byrnie anchors`.
pub(crate) fn run(args: &AnchorsArgs) -> Result<ExitCode, Failure> {
    let file = config::load(args.config.config.as_deref())?;
    let now = resolving::clock().now();
    runtime::block_on(async {
        let store = resolving::gateway_store(&file)?;
        let Some(book) = resolving::known_anchors(&file, store.as_ref(), now).await? else {
            if args.json {
                output::print_json(&Printed::default())?;
            } else {
                output::print("none: the resolvers validate (`dns.mode`)\n")?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let report = book.report(now);
        let all_usable = report.zones.iter().all(|zone| zone.usable);
        if args.json {
            output::print_json(&Printed::from(report))?;
        } else {
            output::print(text(&report, now, Paint::for_stdout()))?;
        }
        Ok(match all_usable {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(1),
        })
    })
}

/// What is printed as JSON.
#[derive(Default, Serialize)]
struct Printed {
    /// The zones with anchors.
    zones: Vec<ZoneReport>,
    /// The negative anchors.
    negative: Vec<NegativeReport>,
}

impl From<AnchorReport> for Printed {
    fn from(report: AnchorReport) -> Self {
        Self {
            zones: report.zones,
            negative: report.negative,
        }
    }
}

/// All of it in lines.
fn text(report: &AnchorReport, now: UnixTime, paint: Paint) -> String {
    let mut text = String::new();
    for zone in &report.zones {
        write_zone(&mut text, zone, now, paint);
    }
    for negative in &report.negative {
        write_negative(&mut text, negative, paint);
    }
    text
}

/// One zone.
fn write_zone(text: &mut String, zone: &ZoneReport, now: UnixTime, paint: Paint) {
    let source = match zone.source {
        AnchorSource::BuiltIn => "built in",
        AnchorSource::File => "from `dns.trust_anchor_file`",
    };
    let updates = match zone.updates {
        AnchorUpdates::Follow => "changes of keys are followed",
        AnchorUpdates::Fixed => "changes of keys are not followed (`dns.trust_anchor_updates`)",
    };
    // Writing to a string does not fail.
    _ = writeln!(text, "{}: {source}, {updates}", zone.zone);
    if !zone.usable {
        let dead = paint.red("every key is revoked: nothing below can be validated");
        _ = writeln!(text, "  {dead}; {HINT_DEAD}");
    }
    for configured in &zone.configured {
        _ = writeln!(text, "  configured: {configured}");
    }
    for key in &zone.keys {
        _ = writeln!(text, "  {}", key_line(key, paint));
    }
    match &zone.last {
        None => text.push_str("  last look: none yet\n"),
        Some(last) => {
            let outcome = match &last.failure {
                None => paint.green("all is well"),
                Some(why) => format!("{}: {}", paint.red("failed"), output::visible(why)),
            };
            _ = writeln!(text, "  last look: {}, {outcome}", output::time(last.at));
        }
    }
    match zone.refresh_at {
        None => {}
        Some(at) if at <= now => text.push_str("  next look: as soon as `byrnie serve` runs\n"),
        Some(at) => _ = writeln!(text, "  next look: {}", output::time(at)),
    }
}

/// One key.
fn key_line(key: &KeyReport, paint: Paint) -> String {
    let state = match key.trusted {
        true => paint.green(key.state),
        false => paint.yellow(key.state),
    };
    let mut line = format!("key {} {}: {state}", key.key_tag, key.algorithm);
    if let Some(since) = key.since {
        line += &format!(" since {}", output::time(since));
    }
    if let Some(from) = key.trusted_from {
        line += &format!(", trusted after {} if it stays", output::time(from));
    }
    line += match key.state {
        "missing" => ", still trusted",
        "revoked" | "removed" => ", never trusted again",
        _ => "",
    };
    line
}

/// One negative anchor.
fn write_negative(text: &mut String, negative: &NegativeReport, paint: Paint) {
    let anchor = &negative.anchor;
    let until = output::time(anchor.until);
    let what = match negative.active {
        true => paint.yellow(&format!("not validated until {until}")),
        false => format!("negative trust anchor expired at {until}; remove it"),
    };
    let reason = anchor.reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| {
        format!(" ({})", output::visible(reason))
    });
    _ = writeln!(text, "{}: {what}{reason}", anchor.domain);
}
