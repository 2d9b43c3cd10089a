//! Whether the program keeps what it took: a load, and what is done to the program meanwhile.
//!
//! The rule: a message that was answered by 250 comes to its end for each of its recipients. It is delivered or returned
//! once; a second time only if it was under way when the program died; and never not at all.
//!
//! | where | what |
//! |---|---|
//! | `letters` | the messages: each follows from the seed and its number alone |
//! | `clients` | hand them in, pipelined, and note what was taken |
//! | `tally` | counts what arrived, life by life, and judges |
//! | `bed` | the world around the program: where the letters go |
//! | [`kills`] | SIGKILL, again and again |
//! | `shim` | what stands between the program and its storage |
//! | `journal`, `disk` | what the program wrote, and what is left of it after a power cut |
//! | [`power`] | power cuts, again and again |
//! | [`faults`] | storage that fails for a while, in every way |

mod bed;
mod clients;
mod disk;
pub mod faults;
mod journal;
pub mod kills;
mod letters;
pub mod power;
mod shim;
mod tally;

pub use letters::LoadPlan;
pub use tally::Verdicts;
