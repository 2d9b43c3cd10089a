//! `kill -9` under load: what was accepted arrives, and at most what was in flight arrives twice.

use std::path::Path;

use byrnie_lab::durability::LoadPlan;
use byrnie_lab::durability::kills::KillPlan;
use byrnie_lab::durability::kills::kill_under_load;

use crate::played::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_program_loses_nothing_that_it_accepted() {
    let load = LoadPlan {
        messages: 100,
        connections: 8,
        seed: 20_261_122,
    };
    let plan = KillPlan { load, kills: 8 };
    let outcome = kill_under_load(Path::new(PROGRAM), plan).await.unwrap();
    assert!(outcome.verdicts.kept(), "{outcome}");
    assert!(outcome.verdicts.taken >= load.messages, "{outcome}");
    assert!(outcome.kills >= plan.kills, "{outcome}");
}
