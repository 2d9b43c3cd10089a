//! The crate graph, as a table that must be true.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every crate with the byrnie crates it may depend upon; a crate only names crates above it.
const LAYERS: &[(&str, &[&str])] = &[
    // 0: vocabulary
    ("base", &[]),
    // 1: one crate for each family of standards; pure
    ("dane", &["base"]),
    ("dnssec", &["base"]),
    ("mta-sts", &["base"]),
    ("smtp", &["base"]),
    ("tlsrpt", &["base"]),
    // 2: the decision; pure
    ("policy", &["base", "dane", "mta-sts", "smtp"]),
    // 3: effects
    (
        "net",
        &["base", "dane", "dnssec", "mta-sts", "policy", "smtp"],
    ),
    ("store", &["base", "policy", "smtp", "tlsrpt"]),
    // 4: services
    (
        "mta",
        &[
            "base", "mta-sts", "net", "policy", "smtp", "store", "tlsrpt",
        ],
    ),
    ("web", &["base", "mta-sts", "net"]),
    // beside them: the miniature internet, which knows the product only as a program to start
    ("lab", &["base"]),
    // and the comparison with unbound, which nothing depends upon
    ("differential", &["base", "dnssec", "net"]),
    // 5: the program
    (
        "byrnie",
        &[
            "base", "dane", "lab", "mta", "mta-sts", "net", "policy", "smtp", "store", "tlsrpt",
            "web",
        ],
    ),
];

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates"));
    let on_disk: BTreeSet<String> = fs::read_dir(crates)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .chain([String::from("lab"), String::from("differential")])
        .collect();
    let in_table: BTreeSet<String> = LAYERS.iter().map(|(name, _)| String::from(*name)).collect();
    assert_eq!(
        on_disk, in_table,
        "crates/ with what lies in lab/ and the table differ"
    );

    for (at, (name, allowed)) in LAYERS.iter().enumerate() {
        for dependency in *allowed {
            assert!(
                LAYERS[..at].iter().any(|(above, _)| above == dependency),
                "{name} may not list {dependency}, which is not above it"
            );
        }
        let folder = match *name {
            "lab" => crates.join("../lab"),
            "differential" => crates.join("../lab/differential"),
            name => crates.join(name),
        };
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for dependency in byrnie_dependencies(&manifest) {
            assert!(
                allowed.contains(&dependency),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

/// The names after `byrnie-` in `[dependencies]`.
fn byrnie_dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("byrnie-"))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
}
