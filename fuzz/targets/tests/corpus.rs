//! Replays the corpus of every fuzz target.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use byrnie_fuzz_targets::TARGETS;
use byrnie_fuzz_targets::Target;

#[test]
fn every_target_survives_its_corpus_and_every_prefix_of_it() {
    for Target { name, run } in TARGETS {
        let entries: Vec<PathBuf> = fs::read_dir(fuzz().join("corpus").join(name))
            .unwrap_or_else(|error| panic!("{name} has no corpus: {error}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(!entries.is_empty(), "{name} has no corpus");
        for path in entries {
            let input = fs::read(&path).unwrap();
            run(&input);
            // A connection can end anywhere.
            let step = input.len() / PREFIXES_MAX + 1;
            for end in (0..input.len()).step_by(step) {
                run(&input[..end]);
            }
        }
    }
}

#[test]
fn every_target_is_one_of_the_fuzzers() {
    let listed: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    let names_in = |folder: &str| -> BTreeSet<String> {
        fs::read_dir(fuzz().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names_in("fuzz_targets"), listed);
    assert_eq!(names_in("corpus"), listed);
}

/// More prefixes of one input teach nothing.
const PREFIXES_MAX: usize = 512;

/// The folder of the fuzzer.
fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
