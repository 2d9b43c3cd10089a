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
    /// What `byrnie policy --json` said about [`DOMAINS`] meanwhile, with the gateway's configuration.
    pub(crate) policies: Vec<Value>,
    /// The same without a gateway, pointed at the lab by options alone.
    pub(crate) elsewhere: Vec<Value>,
    /// What the program counted.
    pub(crate) metrics: String,
}

/// The domains that are asked about.
pub(crate) const DOMAINS: &[&str] = &[
    "dane-ee.test",
    "sts-good.test",
    "sts-down.test",
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
    let configuration = lab.subject.plan.configuration_file();
    let beside = vec![
        String::from("--config"),
        configuration.display().to_string(),
    ];
    let policies = ask(beside).await;
    let elsewhere = ask(lab.world.resolve_options()).await;
    let metrics = crate::start::get(lab.subject.plan.metrics, "/metrics");
    lab.end().await.unwrap();
    Played {
        outcome,
        policies,
        elsewhere,
        metrics,
    }
}

/// Asks `byrnie policy` about [`DOMAINS`].
async fn ask(options: Vec<String>) -> Vec<Value> {
    let mut command = Command::new(PROGRAM);
    command
        .args(["policy", "--json"])
        .args(options)
        .args(DOMAINS);
    let said = tokio::task::spawn_blocking(move || command.output().unwrap());
    let said = said.await.unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
