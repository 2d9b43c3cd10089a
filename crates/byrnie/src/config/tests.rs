//! What a configuration may say, and what is said about it if it does not.

use std::path::Path;

use super::*;

#[test]
fn the_printed_defaults_are_the_defaults() {
    let printed = parse(COMMENTED_DEFAULTS, Path::new("defaults.toml")).unwrap();
    let shortest = parse("version = 1", Path::new("defaults.toml")).unwrap();
    assert_eq!(printed, shortest);
}

#[test]
fn the_printed_defaults_name_every_key() {
    let everything = r#"
        version = 1
        hostname = "relay.example.org"
        [smtp]
        tls_certificate_file = "a"
        tls_key_file = "b"
        [dns]
        servers = ["127.0.0.1:53"]
        trust_anchor_file = "c"
        tls_name = "dns.example"
        [[dns.danger_negative_trust_anchor]]
        domain = "broken.example"
        until = "2026-12-01T00:00:00Z"
        reason = "why"
        [tls]
        ca_file = "d"
        [delivery]
        smart_host = "relay.example.net"
        [web]
        listen = ["[::1]:443"]
        [[web.certificate]]
        certificate_file = "e"
        key_file = "f"
        [[mta_sts]]
        domains = ["example.org"]
        mode = "enforce"
        mx = ["mx.example.org", "*.mx.example.org"]
        max_age = "28d"
        [alerts]
        webhook = "https://hook.example/"
        mail = "a@example.org"
        from = "b@example.org"
        [tlsrpt]
        contact = "postmaster@example.org"
        organization = "Example"
        from = "tls-reports@example.org"
        dkim_selector = "tls"
        dkim_key_file = "g"
        [[rule]]
        domain = ".example"
        at_least = "dane"
        dane = "apply"
        insecure_mx = "no-dane"
        [[guarantee]]
        sender = "a@example.org"
        [[guarantee]]
        sender_domain = "example.org"
    "#;
    let file = parse(everything, Path::new("x.toml")).unwrap();
    let believing = r#"
        version = 1
        [dns]
        mode = "trust-ad"
        servers = ["127.0.0.1:53"]
        known_signed = "example.net"
    "#;
    let believing = parse(believing, Path::new("y.toml")).unwrap();
    let written = toml::to_string(&file).unwrap() + &toml::to_string(&believing).unwrap();
    for line in written.lines().filter(|line| line.contains('=')) {
        let (key, _) = line.split_once(" =").unwrap();
        let named = COMMENTED_DEFAULTS
            .lines()
            .filter_map(|line| line.trim_start_matches(['#', ' ']).split_once(" ="))
            .any(|(known, _)| known == key);
        assert!(named, "`{key}` is missing in defaults.toml");
    }
}

#[test]
fn the_shipped_example_is_good() {
    let text = include_str!("../../../../docs/byrnie.example.toml");
    let file = parse(text, Path::new("byrnie.example.toml")).unwrap();
    check_files(&file, Path::new("byrnie.example.toml")).unwrap();
    assert_eq!((file.rules.len(), file.guarantees.len()), (2, 1));
}

#[test]
fn a_file_survives_being_written_and_read() {
    let file = parse(COMMENTED_DEFAULTS, Path::new("x.toml")).unwrap();
    let written = toml::to_string(&file).unwrap();
    assert_eq!(parse(&written, Path::new("x.toml")).unwrap(), file);
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_a_hint() {
    check("", "line 1: missing field `version`", "");
    check(
        "version = 2",
        "line 1: version 2 is not known to this byrnie, which reads version 1",
        "",
    );
    check(
        "version = 1\n[smpt]\n",
        "line 2: unknown field `smpt`",
        "did you mean `smtp`?",
    );
    check(
        "version = 1\n[smtp]\nlisten = [\"127.0.0.1:25\"]\ntrusted_network = []",
        "line 4: unknown field `trusted_network`",
        "did you mean `trusted_networks`?",
    );
    check(
        "version = 1\n[dns]\nmode = \"trustad\"",
        "line 3: unknown variant `trustad`",
        "did you mean `trust-ad`?",
    );
    check(
        "version = 1\n[[rule]]\ndomain = \"a..b\"",
        "line 3: the domain name has an empty label",
        "",
    );
    check(
        "version = 1\n[queue]\nlifetime = \"5 days\"",
        "line 3: not a duration: write numbers with units such as \"90s\" or \"5m\"",
        "",
    );
    check(
        "version = 1\n[smtp]\nmax_message_rate = \"600\"",
        "line 3: not a rate: write \"off\", or how many in which time such as \"600/1m\"",
        "",
    );
    check(
        "version = 1\n[delivery]\nsmart_host = \"192.0.2.1\"",
        "line 3: not a host: write it like \"relay.example.org\" or \"[192.0.2.1]:2525\"",
        "",
    );
    check(
        "version = 1\n[metrics]\nlisten = \"none\"",
        "line 3: neither \"off\" nor an address with a port such as \"[::1]:9465\"",
        "",
    );
}

#[test]
fn keys_that_disagree_are_refused() {
    check(
        "version = 1\n[smtp]\ntls_certificate_file = \"a\"",
        "line 3: a certificate without its key, or a key without its certificate",
        "set both `smtp.tls_certificate_file` and `smtp.tls_key_file`, or neither",
    );
    check(
        "version = 1\n[dns]\nservers = [\"192.0.2.1:53\"]\nmode = \"trust-ad\"",
        "line 3: `dns.mode = \"trust-ad\"` believes a resolver that is not on this machine",
        "use `validate`, or `danger-trust-remote-ad` if nobody can write on the path to it",
    );
    check(
        "version = 1\n[dns]\ntransport = \"tls\"",
        "line 3: DNS over TLS needs the name in the resolver's certificate",
        "set `dns.tls_name`",
    );
    check(
        "version = 1\n[queue]\nretry_min = \"1h\"\nretry_max = \"1m\"",
        "line 3: `queue.retry_min` must lie between 1ms and `queue.retry_max`",
        "leave both out for 5m and 4h",
    );
    check(
        "version = 1\n[smtp]\nmax_recipients = 0",
        "line 3: `smtp.max_recipients` must not be 0, which would let nothing through",
        "leave the key out for its default",
    );
    check(
        "version = 1\n[smtp]\nmax_message_memory = \"1MB\"",
        "line 3: `smtp.max_message_memory` must not be less than 1MiB",
        "a large message would never get through; leave the key out for its default",
    );
    check(
        "version = 1\n[tlsrpt.receive]\nmax_size = \"63MiB\"",
        "line 3: `tlsrpt.receive.max_size` must not be less than 64MiB",
        "a large report would never be kept; leave the key out for its default",
    );
    check(
        "version = 1\n[delivery]\nsmart_host = \"[127.0.0.1]:2525\"",
        "line 3: `delivery.smart_host` is where byrnie itself listens",
        "name the host that takes its mail",
    );
    check(
        "version = 1\n[[rule]]\ndomain = \"a.example\"\n[[rule]]\ndomain = \"A.example\"",
        "line 5: two rules name the same domain",
        "join them into one `[[rule]]`",
    );
    check(
        "version = 1\n[[guarantee]]\nsender = \"a@b.example\"\nsender_domain = \"b.example\"",
        "line 3: a guarantee names either a sender or a sender's domain",
        "set one of `sender` and `sender_domain` in each `[[guarantee]]`",
    );
}

#[test]
fn reports_have_a_sender_with_a_domain_and_a_whole_key() {
    check(
        "version = 1\n[tlsrpt]\ncollect = [\"unix:/run/t.sock\"]",
        "line 3: `tlsrpt.collect` has no meaning as long as nobody is sent a report",
        "set `tlsrpt.contact` to an address whom recipient domains may ask",
    );
    let contact = "version = 1\n[tlsrpt]\ncontact = \"a@b.example\"\n";
    check(
        "version = 1\n[tlsrpt]\ncontact = \"a@[192.0.2.1]\"",
        "line 3: reports need a sender with a domain",
        "set `tlsrpt.from` to an address with a name behind the @",
    );
    check(
        &format!("{contact}dkim_key_file = \"k\""),
        "line 4: a key without its selector, or a selector without its key",
        "set both `tlsrpt.dkim_selector` and `tlsrpt.dkim_key_file`, or neither",
    );
    check(
        &format!("{contact}collect = [\"127.0.0.1:1\"]"),
        "line 4: `tlsrpt.collect` names an address, and libtlsrpt knows sockets alone",
        "write \"unix:\" and a path, such as \"unix:/run/byrnie/tlsrpt.sock\"",
    );
}

#[test]
fn trust_anchors_are_used_where_byrnie_validates() {
    let negative = "[[dns.danger_negative_trust_anchor]]\ndomain = \"a.example\"\nuntil = ";
    let far = "\"2026-12-01T00:00:00Z\"";
    check(
        "version = 1\n[dns]\nknown_signed = \"example.net\"",
        "line 3: `dns.known_signed` has no meaning where byrnie validates",
        "leave it out, or set `dns.mode` to \"trust-ad\"",
    );
    check(
        &format!("version = 1\ndns.mode = \"trust-ad\"\n{negative}{far}"),
        "line 4: negative trust anchors have no meaning where the resolver validates",
        "set them in the resolver",
    );
    check(
        &format!("version = 1\n{negative}{far}\n{negative}{far}"),
        "line 6: two negative trust anchors name a.example",
        "join them into one",
    );
    check(
        &format!("version = 1\n{negative}\"2026-12-01\""),
        "line 4: not a point in time: write it like \"2026-12-01T00:00:00Z\"",
        "",
    );
    check(
        "version = 1\n[[dns.danger_negative_trust_anchor]]\ndomain = \"a.example\"",
        "line 2: missing field `until`",
        "",
    );
    let many: String = (0..33)
        .map(|number| {
            format!("{negative}{far}\n").replace("a.example", &format!("a{number}.example"))
        })
        .collect();
    check(
        &format!("version = 1\n{many}"),
        "line 99: more than 32 negative trust anchors",
        "if so much looks broken, the fault lies nearer: look at the clock and the resolver",
    );
}

#[test]
fn a_negative_trust_anchor_ends_within_a_week() {
    let text = "version = 1\n[[dns.danger_negative_trust_anchor]]\ndomain = \"a.example\"\n\
                until = \"1970-01-09T00:00:00Z\"";
    let path = Path::new("b.toml");
    let file = parse(text, path).unwrap();
    let day = |number: u64| UnixTime(number * 86_400);
    let error = check_lifetimes(&file, path, day(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "b.toml: `dns.danger_negative_trust_anchor`: a.example: `until` lies more than 7d ahead"
    );
    assert_eq!(check_lifetimes(&file, path, day(1)), Ok(()));
    assert_eq!(check_lifetimes(&file, path, day(9)), Ok(()));
    assert_eq!(warnings(&file, day(7)), [""; 0]);
    assert_eq!(
        warnings(&file, day(8)),
        [
            "the negative trust anchor of a.example has expired (1970-01-09T00:00:00Z) and no longer \
          counts: remove it"
        ]
    );
}

#[test]
fn a_policy_host_without_a_certificate_is_pointed_out() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["mta-sts.a.example", "*.b.example"].map(String::from);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(names.to_vec()).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    fs::write(folder.path().join("c.pem"), certificate.pem()).unwrap();
    let warned = |domains: &str| {
        let text = format!(
            "version = 1\n[web]\nlisten = [\"[::1]:443\"]\n[[web.certificate]]\n\
             certificate_file = \"c.pem\"\nkey_file = \"k.pem\"\n\
             [[mta_sts]]\ndomains = [{domains}]\nmode = \"enforce\"\n"
        );
        let file = parse(&text, &folder.path().join("b.toml")).unwrap();
        warnings(&file, UnixTime(0)).concat()
    };
    assert_eq!(warned("\"a.example\", \"b.example\""), "");
    assert_eq!(
        warned("\"a.example\", \"c.example\", \"x.b.example\""),
        "no `[[web.certificate]]` carries mta-sts.c.example, and 1 more are missing: senders cannot \
         fetch these policies"
    );
}

#[test]
fn each_place_is_listened_at_once() {
    check(
        "version = 1\n[policyd]\nsocketmap = [\"unix:/run/a.sock\"]\nexim = [\"unix:/run/a.sock\"]",
        "line 4: `policyd.exim` and `policyd.socketmap` name the same place: unix:/run/a.sock",
        "give each listener an address and port, or a path, of its own",
    );
    let twice_any = "version = 1\n[smtp]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]";
    parse(twice_any, Path::new("b.toml")).unwrap();
}

#[test]
fn what_nobody_could_fetch_is_refused() {
    let hint = "set `web.listen`, such as \"[::]:443\", and `[[web.certificate]]`";
    check(
        "version = 1\n[[mta_sts]]\ndomains = [\"a.example\"]\nmode = \"enforce\"",
        "line 3: `mta_sts.domains` has no meaning as long as nothing is served to the public",
        hint,
    );
    check(
        "version = 1\n[tlsrpt.receive]\nhttps = true",
        "line 3: `tlsrpt.receive.https` has no meaning as long as nothing is served to the public",
        hint,
    );
}

#[test]
fn rules_that_no_mail_is_held_to_are_pointed_out() {
    let rules = "[[rule]]\ndomain = \"a.example\"\nat_least = \"dane\"\n\
                 [[rule]]\ndomain = \".example.net\"\nat_least = \"dane\"\n";
    for (smart_host, expected) in [
        ("", ""),
        ("smart_host = \"[192.0.2.1]\"", "2 of the rules"),
        ("smart_host = \"relay.example.net\"", "1 of the rules"),
    ] {
        let text = format!("version = 1\n[delivery]\n{smart_host}\n{rules}");
        let file = parse(&text, Path::new("b.toml")).unwrap();
        let warnings = warnings(&file, UnixTime(0)).concat();
        assert!(warnings.starts_with(expected), "{warnings}");
        assert_eq!(warnings.is_empty(), expected.is_empty(), "{smart_host}");
    }
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let text = "version = 1\n[tls]\nca_file = \"ca.pem\"\n[queue]\nspool = \"/var/spool\"";
    let file = parse(text, Path::new("/etc/byrnie/byrnie.toml")).unwrap();
    assert_eq!(
        file.tls.ca_file.as_deref(),
        Some(Path::new("/etc/byrnie/ca.pem"))
    );
    assert_eq!(file.queue.spool, Path::new("/var/spool"));
}

#[track_caller]
fn check(text: &str, message: &str, hint: &str) {
    let error = parse(text, Path::new("b.toml")).unwrap_err();
    assert_eq!(error.to_string(), format!("b.toml, {message}"));
    assert_eq!(error.hint.as_deref().unwrap_or_default(), hint, "{text}");
}
