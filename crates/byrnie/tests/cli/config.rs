//! `byrnie config`: files are checked to the end, and what is wrong is named.

use std::fs;

use tempfile::TempDir;

use crate::support::byrnie;
use crate::support::byrnie_in;

#[test]
fn the_printed_defaults_are_a_good_configuration() {
    let folder = TempDir::new().unwrap();
    let defaults = byrnie(&["config", "defaults"]).stdout;
    fs::write(folder.path().join("b.toml"), defaults).unwrap();
    let ran = byrnie_in(folder.path(), &["config", "check", "b.toml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "b.toml: good\n"));
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_a_hint() {
    check(
        "version = 1\n[smtp]\nlisten_on = []\n",
        "error: b.toml, line 3: unknown field `listen_on`\nhint: did you mean `listen`?\n",
    );
    check(
        "version = 1\n[tls]\nca_file = \"missing.pem\"\n",
        "error: b.toml: `tls.ca_file`: missing.pem: No such file or directory (os error 2)\n\
         hint: paths in the file start at the file's folder\n",
    );
    check(
        "version = 1\n[tls]\nca_file = \"b.toml\"\n",
        "error: b.toml: `tls.ca_file`: b.toml: the file has no certificate in PEM form\n\
         hint: paths in the file start at the file's folder\n",
    );
    check(
        "version = 1\n[dns]\ntrust_anchor_file = \"b.toml\"\n",
        "error: b.toml: `dns.trust_anchor_file`: b.toml: line 1: this is no DS or DNSKEY record: expected rtype\n\
         hint: paths in the file start at the file's folder\n",
    );
    check(
        "version = 1\n[[dns.danger_negative_trust_anchor]]\ndomain = \"a.example\"\n\
         until = \"2099-01-01T00:00:00Z\"\n",
        "error: b.toml: `dns.danger_negative_trust_anchor`: a.example: `until` lies more than 7d ahead\n\
         hint: choose an earlier time; it can be prolonged when it comes, if nothing is mended\n",
    );
    check(
        "version = 1\n[log]\nlevel = \"info,=\"\n",
        "error: b.toml, line 3: `log.level` is neither a level nor a list of levels\n\
         hint: write \"info\", or levels per target such as \"info,byrnie_net=debug\"\n",
    );
}

#[test]
fn machines_read_the_same() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("b.toml"), "version = 1\n[smpt]\n").unwrap();
    let ran = byrnie_in(folder.path(), &["config", "check", "b.toml", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, ""));
    assert_eq!(
        ran.stdout,
        "{\"file\":\"b.toml\",\"good\":false,\"line\":2,\"message\":\"unknown field `smpt`\",\
         \"hint\":\"did you mean `smtp`?\",\"warnings\":[]}\n"
    );
}

#[test]
fn what_no_longer_counts_is_pointed_out() {
    let folder = TempDir::new().unwrap();
    let text = "version = 1\n[[dns.danger_negative_trust_anchor]]\ndomain = \"a.example\"\n\
                until = \"2020-01-01T00:00:00Z\"\n";
    fs::write(folder.path().join("b.toml"), text).unwrap();
    let ran = byrnie_in(folder.path(), &["config", "check", "b.toml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "b.toml: good\n"));
    assert_eq!(
        ran.stderr,
        "warning: b.toml: the negative trust anchor of a.example has expired \
         (2020-01-01T00:00:00Z) and no longer counts: remove it\n"
    );
}

#[track_caller]
fn check(text: &str, stderr: &str) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("b.toml"), text).unwrap();
    let ran = byrnie_in(folder.path(), &["config", "check", "b.toml"]);
    assert_eq!(ran.stderr, stderr, "{text}");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{text}");
}
