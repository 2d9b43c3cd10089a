//! Power cuts under load: what was accepted arrives, although all that was not synced may be gone.

use std::path::Path;

use byrnie_lab::durability::LoadPlan;
use byrnie_lab::durability::power::PowerOutcome;
use byrnie_lab::durability::power::PowerPlan;
use byrnie_lab::durability::power::Syncs;
use byrnie_lab::durability::power::cut_under_load;

use crate::played::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_lose_nothing_that_was_accepted() {
    let outcome = cut(8, Syncs::Honest).await;
    assert!(outcome.kept(), "{outcome}");
    assert!(outcome.verdicts.taken > 0, "{outcome}");
    // Else nothing was put to the test.
    assert!(outcome.with_loss > 0, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_that_lies_about_syncs_the_loss_is_found() {
    let outcome = cut(8, Syncs::Lying).await;
    assert!(!outcome.kept(), "{outcome}");
}

/// Cuts the power so often.
async fn cut(cuts: usize, disk: Syncs) -> PowerOutcome {
    let load = LoadPlan {
        messages: 100,
        connections: 8,
        seed: 20_261_123,
    };
    let plan = PowerPlan { load, cuts, disk };
    cut_under_load(Path::new(PROGRAM), plan).await.unwrap()
}
