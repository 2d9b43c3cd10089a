//! One run of the lab, which every test here looks at.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use byrnie_lab::Format;
use byrnie_lab::Lab;
use byrnie_lab::Options;
use byrnie_lab::Outcome;
use serde_json::Value;

/// What a run of the whole lab came to.
pub(crate) struct Played {
    /// How each scenario ended.
    pub(crate) outcome: Outcome,
    /// What `byrnie policy --json` said about [`DOMAINS`] meanwhile.
    pub(crate) policies: Vec<Value>,
    /// What the program counted.
    pub(crate) metrics: String,
}

/// The domains that are asked about.
pub(crate) const DOMAINS: &[&str] = &[
    "dane-ee.test",
    "sts-good.test",
    "plain.test",
    "null.test",
    "dns-silent.test",
    "does-not-exist.test",
];

/// Plays all scenarios, once for all tests of the process.
pub(crate) fn played() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(play(Path::new(PROGRAM)))
    })
}

/// The program that ships.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_byrnie");

async fn play(program: &Path) -> Played {
    let mut lab = Lab::raise(program, &Options::default()).await.unwrap();
    let outcome = lab.run(Format::Plain, &mut io::sink()).await.unwrap();
    let mut options = vec![String::from("policy"), String::from("--json")];
    options.extend(lab.world.resolve_options());
    options.extend(DOMAINS.iter().map(|domain| String::from(*domain)));
    let said =
        tokio::task::spawn_blocking(move || Command::new(PROGRAM).args(options).output().unwrap());
    let said = said.await.unwrap();
    assert!(said.status.success(), "{said:?}");
    let policies = String::from_utf8(said.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let metrics = crate::start::get(lab.subject.plan.metrics, "/metrics");
    lab.end().await.unwrap();
    Played {
        outcome,
        policies,
        metrics,
    }
}
