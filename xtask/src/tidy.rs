//! Habits that no other tool looks after.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// A file longer than this, without its tests, is two topics.
const FILE_LINES_MAX: usize = 1_000;

/// What must not be left behind in a source file. Split, so that this file does not hold it.
const LEFTOVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("db", "g!("),
    concat!("#[all", "ow("),
    concat!("#![all", "ow("),
];

#[test]
fn every_source_file_says_first_what_it_is() {
    for (path, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "{}: the first line is not a `//!` headline",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_behind() {
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            for leftover in LEFTOVERS {
                assert!(!line.contains(leftover), "{place}: {leftover}");
            }
            assert!(!line.contains('\t'), "{place}: a tab");
        }
    }
}

#[test]
fn a_file_is_one_topic() {
    for (path, text) in sources() {
        let body = text.split("#[cfg(test)]\nmod tests {").next();
        let lines = body.unwrap_or_default().lines().count();
        assert!(
            path.ends_with("tests.rs") || lines <= FILE_LINES_MAX,
            "{}: {lines} lines without tests, over {FILE_LINES_MAX}",
            path.display()
        );
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let members = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .chain(["lab", "xtask", "bench"].map(|member| root().join(member)));
    for member in members {
        let manifest = fs::read_to_string(member.join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}: no `[lints] workspace = true`",
            member.display()
        );
        assert!(
            manifest.contains("description = \""),
            "{}: no description",
            member.display()
        );
    }
}

#[test]
fn the_changelog_has_room_for_what_comes_next() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let first = changelog.lines().find(|line| line.starts_with("## "));
    assert_eq!(first, Some("## Unreleased"));
}

/// Every Rust file of the tree with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["crates", "lab", "xtask", "fuzz", "bench"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 20, "the tree has moved away from this test");
    found
}

/// Adds the Rust files below `folder`, but not what was built there.
fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
