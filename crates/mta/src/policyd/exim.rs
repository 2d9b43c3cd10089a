//! Advice as a line of `name=value` pairs, which Exim takes apart with `${extract{name}{…}}`.

use byrnie_mta_sts::MxPattern;

use super::advice::Advice;
use super::advice::Secure;
use super::advice::exactly;

/// The line for a piece of advice, without its end.
pub(crate) fn line(advice: &Advice<'_>) -> String {
    match advice {
        Advice::Nothing => String::from("level=none"),
        Advice::Encrypt => String::from("level=encrypt"),
        Advice::Dane => String::from("level=dane"),
        Advice::DaneOnly => String::from("level=dane-only"),
        Advice::Secure(secure) => secured(secure),
        Advice::Wait(why) => deferral(why),
    }
}

/// The line that makes mail wait.
pub(crate) fn deferral(why: &str) -> String {
    // Within quotes Exim reads escapes; a reason needs neither.
    let why = why.replace(['"', '\\'], "'");
    format!("level=defer reason=\"{why}\"")
}

/// The line that demands certificates from public authorities, for hosts with these names.
fn secured(secure: &Secure<'_>) -> String {
    let line = matching(&secure.names);
    match line.len() <= LINE_OCTETS_MAX {
        true => line,
        // A policy with names by the thousand: those that matter now are few.
        false => matching(&exactly(&secure.hosts)),
    }
}

/// The hosts that may be used, as a list of Exim's.
fn matching(names: &[MxPattern]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    format!("level=secure match={}", names.join(":"))
}

/// Exim reads 64 KiB and more; a variable of that length is a nuisance all the same.
const LINE_OCTETS_MAX: usize = 16_000;
