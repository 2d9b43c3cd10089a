//! `byrnie policy`: what would be demanded when sending to a domain, and why.

use std::iter;
use std::process::ExitCode;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_net::dns::AnchorBook;
use byrnie_policy::Decision;
use byrnie_policy::Verdict;
use byrnie_policy::decide;
use byrnie_smtp::TlsDemand;
use futures_util::StreamExt;
use futures_util::stream;

use crate::cli::PolicyArgs;
use crate::failure::Failure;
use crate::output;
use crate::output::Paint;
use crate::policy_report::PolicyReport;
use crate::resolving;
use crate::rules;
use crate::runtime;

/// Runs `byrnie policy`.
pub(crate) fn run(args: &PolicyArgs) -> Result<ExitCode, Failure> {
    let file = resolving::settings(&args.config, &args.resolve)?;
    let rules = rules::rules(&file);
    runtime::block_on(async {
        let now = resolving::clock().now();
        let store = resolving::gateway_store(&file)?;
        let anchors = resolving::known_anchors(&file, store.as_ref(), now).await?;
        let gatherer = resolving::gatherer(&file, store.as_ref(), anchors.as_ref())?;
        let evidence = stream::iter(&args.domains)
            .map(|domain| {
                let rule = rules.for_domain(domain);
                gatherer.gather(domain, TlsDemand::None, rule, None)
            })
            .buffered(DOMAINS_AT_ONCE);
        let mut evidence = std::pin::pin!(evidence);
        while let Some(gathered) = evidence.next().await {
            let decision = decide(&gathered.evidence);
            let cuts = cuts(&decision, anchors.as_ref(), now);
            if args.json {
                output::print_json(&PolicyReport::new(&gathered.evidence, &decision, cuts))?;
            } else {
                output::print(text(&decision, &cuts, Paint::for_stdout()))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Why names of the domain or its hosts are not validated although they may be signed.
fn cuts(decision: &Decision, anchors: Option<&AnchorBook>, now: UnixTime) -> Vec<String> {
    let hosts = decision.hosts.iter().map(|host| &host.host);
    let names: Vec<&DomainName> = iter::once(&decision.domain).chain(hosts).collect();
    let active = anchors.into_iter().flat_map(|anchors| anchors.active(now));
    let active = active.filter(|anchor| names.iter().any(|name| anchor.covers(name)));
    let cuts = active.map(|anchor| {
        let reason = anchor.reason.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        format!(
            "{} has a negative trust anchor until {}: nothing below it is validated{reason}",
            anchor.domain,
            output::time(anchor.until)
        )
    });
    cuts.collect()
}

/// The decision in lines, its verdict in colour.
fn text(decision: &Decision, cuts: &[String], paint: Paint) -> String {
    let word = decision.verdict.to_string();
    let coloured = match decision.verdict {
        Verdict::Dane | Verdict::MtaSts => paint.green(&word),
        Verdict::Encrypt | Verdict::Opportunistic | Verdict::Wait => paint.yellow(&word),
        Verdict::Reject => paint.red(&word),
    };
    let mut plain = decision.explanation().to_string();
    for cut in cuts {
        plain += &format!("\n  {cut}");
    }
    let plain = output::visible(&plain);
    plain.replacen(&word, &coloured, 1) + "\n"
}

/// How many domains are looked at side by side.
const DOMAINS_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use byrnie_base::LookupError;
    use byrnie_policy::Reason;

    use super::*;

    #[test]
    fn what_a_stranger_s_server_says_cannot_steer_the_terminal() {
        let decision = Decision {
            domain: "example.org".parse().unwrap(),
            verdict: Verdict::Wait,
            hosts: Vec::new(),
            reasons: vec![Reason::MxUnknown {
                error: LookupError::Failed(String::from("\u{1b}]0;owned\u{7}\u{9b}2J")),
            }],
            promised: None,
        };
        let shown = text(&decision, &[], Paint::for_stdout());
        assert!(shown.contains("]0;owned"), "{shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{shown:?}");
    }
}
