//! What has changed between two configurations, and which of it a gateway at work takes over.

use std::collections::BTreeMap;
use std::fs;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use super::File;

/// Every key that a configuration sets or leaves at its default, with its value.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Settings(BTreeMap<String, Value>);

/// The keys in which two configurations differ.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Changes {
    /// Those that count at once.
    pub(crate) in_force: Vec<String>,
    /// Those that count after a restart.
    pub(crate) after_restart: Vec<String>,
}

impl Settings {
    /// Those of a configuration, together with what the files hold that it names.
    pub(crate) fn of(file: &File) -> Self {
        let mut settings = BTreeMap::new();
        if let Ok(Value::Object(sections)) = serde_json::to_value(file) {
            let mut tables: Vec<(String, Value)> = sections.into_iter().collect();
            while let Some((name, value)) = tables.pop() {
                if let Value::Object(keys) = value {
                    let keys = keys.into_iter();
                    tables.extend(keys.map(|(key, value)| (format!("{name}.{key}"), value)));
                } else {
                    settings.insert(name, value);
                }
            }
        }
        let files = [
            ("smtp.tls_certificate_file", &file.smtp.tls_certificate_file),
            ("smtp.tls_key_file", &file.smtp.tls_key_file),
            ("dns.trust_anchor_file", &file.dns.trust_anchor_file),
            ("tls.ca_file", &file.tls.ca_file),
            ("tlsrpt.dkim_key_file", &file.tlsrpt.dkim_key_file),
        ];
        let certificates = file.web.certificate.iter();
        let certificates = certificates.flat_map(|one| [&one.certificate_file, &one.key_file]);
        let web = fingerprint(certificates.map(PathBuf::as_path));
        settings.insert(format!("web.certificate{CONTENTS}"), web);
        for (key, path) in files {
            if let Some(path) = path {
                settings.insert(format!("{key}{CONTENTS}"), fingerprint([path.as_path()]));
            }
        }
        Self(settings)
    }

    /// What changes with `next`; what counts at once is taken over.
    pub(crate) fn take_over(&mut self, next: &Self) -> Changes {
        let mut changes = Changes::default();
        let keys = self.0.keys().chain(next.0.keys());
        let mut keys: Vec<String> = keys.cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let value = next.0.get(&key);
            if self.0.get(&key) == value {
                continue;
            }
            if !AT_ONCE.contains(&key.trim_end_matches(CONTENTS)) {
                changes.after_restart.push(key);
                continue;
            }
            match value.cloned() {
                Some(value) => drop(self.0.insert(key.clone(), value)),
                None => drop(self.0.remove(&key)),
            }
            changes.in_force.push(key);
        }
        changes
    }
}

/// A number that tells whether files hold what they held before.
fn fingerprint<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Value {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        fs::read(path).ok().hash(&mut hasher);
    }
    hasher.finish().into()
}

/// Stands behind a key whose file has changed.
const CONTENTS: &str = " (what the file holds)";

/// The keys that a gateway at work takes over. All others need a restart.
const AT_ONCE: &[&str] = &[
    "alerts.from",
    "alerts.interval",
    "alerts.mail",
    "alerts.webhook",
    "delivery.command_timeout",
    "delivery.connect_timeout",
    "delivery.data_timeout",
    "delivery.max_connections_per_address",
    "delivery.max_connections_per_network",
    "delivery.max_deliveries",
    "delivery.max_deliveries_per_domain",
    "delivery.max_slow_deliveries",
    "delivery.tls_timeout",
    "guarantee",
    "log.level",
    "mta_sts",
    "queue.delay_warning",
    "queue.lifetime",
    "queue.max_messages",
    "queue.max_receipts",
    "queue.max_size",
    "queue.receipt_lifetime",
    "queue.retry_factor",
    "queue.retry_max",
    "queue.retry_min",
    "rule",
    "smtp.command_timeout",
    "smtp.data_timeout",
    "smtp.max_connection_rate",
    "smtp.max_connections",
    "smtp.max_connections_per_client",
    "smtp.max_connections_per_network",
    "smtp.max_error_rate",
    "smtp.max_message_rate",
    "smtp.max_message_size",
    "smtp.max_recipients",
    "smtp.tls_certificate_file",
    "smtp.tls_key_file",
    "smtp.trusted_networks",
    "web.certificate",
    "tlsrpt.receive.addresses",
    "tlsrpt.receive.max_reports",
    "tlsrpt.receive.max_size",
    "tlsrpt.receive.retention",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::COMMENTED_DEFAULTS;
    use super::super::parse;
    use super::*;

    #[test]
    fn a_change_counts_at_once_or_after_a_restart() {
        check("", "", &[], &[]);
        check(
            "",
            "[smtp]\nmax_recipients = 5\nlisten = [\"127.0.0.1:2626\"]",
            &["smtp.max_recipients"],
            &["smtp.listen"],
        );
        check(
            "[[rule]]\ndomain = \"a.example\"\nat_least = \"dane\"",
            "hostname = \"relay.example\"",
            &["rule"],
            &["hostname"],
        );
        check(
            "",
            "[queue]\nmax_size = \"2GiB\"\nmax_receipts = 5\nmax_handover_size = \"1MiB\"",
            &["queue.max_receipts", "queue.max_size"],
            &["queue.max_handover_size"],
        );
        check(
            "",
            "[policyd]\nhttp = [\"127.0.0.1:8460\"]",
            &[],
            &["policyd.http"],
        );
        check(
            "[tlsrpt.receive]\naddresses = [\"a@b.example\"]",
            "[alerts]\nmail = \"a@b.example\"",
            &["alerts.mail", "tlsrpt.receive.addresses"],
            &[],
        );
        let certificate = "[smtp]\ntls_certificate_file = \"c\"\ntls_key_file = \"k\"";
        let keys = [
            "smtp.tls_certificate_file",
            "smtp.tls_certificate_file (what the file holds)",
            "smtp.tls_key_file",
            "smtp.tls_key_file (what the file holds)",
        ];
        check(certificate, "", &keys, &[]);
    }

    #[test]
    fn what_needs_a_restart_is_named_until_there_was_one() {
        let mut running = settings("");
        let next = settings("[dns]\nmode = \"trust-ad\"\n[log]\nlevel = \"debug\"");
        assert_eq!(running.take_over(&next).in_force, ["log.level"]);
        let again = running.take_over(&next);
        assert_eq!(again.after_restart, ["dns.mode"]);
        assert!(again.in_force.is_empty());
    }

    #[test]
    fn every_key_that_counts_at_once_is_a_key() {
        for key in AT_ONCE {
            let name = key.rsplit('.').next().unwrap();
            assert!(COMMENTED_DEFAULTS.contains(name), "{key}");
        }
    }

    #[track_caller]
    fn check(before: &str, after: &str, in_force: &[&str], after_restart: &[&str]) {
        let changes = settings(before).take_over(&settings(after));
        assert_eq!(changes.in_force, in_force, "{after}");
        assert_eq!(changes.after_restart, after_restart, "{after}");
    }

    fn settings(text: &str) -> Settings {
        let text = format!("version = 1\n{text}");
        Settings::of(&parse(&text, Path::new("/nowhere/b.toml")).unwrap())
    }
}
