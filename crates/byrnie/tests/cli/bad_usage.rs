//! Command lines that make no sense: one line, a hint, exit code 2.

use crate::support::byrnie;

#[test]
fn an_error_is_one_line_with_a_hint() {
    check(
        &["que"],
        "error: unrecognized subcommand 'que'\n\
         hint: a similar subcommand exists: 'queue'\n",
    );
    check(
        &["dane", "verify"],
        "error: the following required arguments were not provided: --tlsa <RECORD> --chain <FILE>\n\
         hint: byrnie dane verify --tlsa <RECORD> --chain <FILE>\n",
    );
    check(
        &["policy", "a..b"],
        "error: invalid value 'a..b' for '<DOMAINS>...': the domain name has an empty label\n\
         hint: `byrnie policy --help` says more\n",
    );
    check(
        &["dns", "example.org", "MX", "--dns-server", "127.0.0.1"],
        "error: invalid value '127.0.0.1' for '--dns-server <ADDR:PORT>': invalid socket address syntax\n\
         hint: `byrnie dns --help` says more\n",
    );
    check(
        &["report", "tlsrpt"],
        "error: a command is missing\n\
         hint: one of list, show, summary, preview, outgoing; `byrnie report tlsrpt --help` says what \
         they do\n",
    );
    check(
        &["queue", "show", "0000000000U"],
        "error: \"0000000000U\": 'U' cannot stand in a queue id\n\
         hint: `byrnie queue list` prints the ids\n",
    );
    check(
        &["dns", "example.org", "XYZZY"],
        "error: \"XYZZY\": neither the name of a record type, such as MX, nor TYPE and a number up to 65535\n\
         hint: write the type behind the name, as in `byrnie dns example.org MX`\n",
    );
}

#[test]
fn help_goes_to_standard_output() {
    for arguments in [
        vec!["--help"],
        vec!["serve", "--help"],
        vec!["dane", "verify", "--help"],
        vec!["--version"],
    ] {
        let ran = byrnie(&arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(!ran.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn every_command_says_what_its_exit_codes_mean() {
    for command in [
        "serve",
        "lab",
        "policy",
        "dns",
        "anchors",
        "dane verify",
        "queue list",
        "queue show",
        "queue retry",
        "queue hold",
        "queue release",
        "queue remove",
        "config check",
        "config defaults",
        "completions",
        "man",
    ] {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.push("--help");
        let ran = byrnie(&arguments);
        assert!(ran.stdout.contains("Exit codes:\n  0  "), "{command}");
    }
}

#[test]
fn completions_and_the_manual_know_every_command() {
    for arguments in [vec!["completions", "bash"], vec!["man"]] {
        let ran = byrnie(&arguments);
        assert_eq!(ran.code, 0, "{arguments:?}");
        for command in ["serve", "policy", "release", "verify"] {
            assert!(ran.stdout.contains(command), "{arguments:?}: {command}");
        }
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_no_failure() {
    let script = format!(
        "{} config defaults | true; test \"${{PIPESTATUS[0]}}\" -eq 0",
        env!("CARGO_BIN_EXE_byrnie")
    );
    let status = std::process::Command::new("bash")
        .args(["-c", &script])
        .status()
        .unwrap();
    assert!(status.success());
}

#[track_caller]
fn check(arguments: &[&str], stderr: &str) {
    let ran = byrnie(arguments);
    assert_eq!(ran.stderr, stderr, "{arguments:?}");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
}
