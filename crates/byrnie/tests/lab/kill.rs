//! `kill -9` under load: what was accepted arrives, and at most what was in flight arrives twice.

use std::path::Path;

use byrnie_lab::load::LoadPlan;
use byrnie_lab::load::kill_under_load;

use crate::played::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_program_loses_nothing_that_it_accepted() {
    let plan = LoadPlan {
        messages: 300,
        connections: 8,
        kills: 4,
        life_milliseconds: (300, 900),
        seed: 20_261_122,
    };
    let outcome = kill_under_load(Path::new(PROGRAM), plan).await.unwrap();
    assert!(outcome.kept(), "{outcome:?}");
    assert!(outcome.taken >= plan.messages, "{outcome:?}");
    assert!(outcome.kills > 0, "{outcome:?}");
}
