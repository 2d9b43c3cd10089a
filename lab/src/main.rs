//! Puts a byrnie that lies at some path to the test: whether it keeps the mail that it took.

use std::env;
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use byrnie_lab::durability::LoadPlan;
use byrnie_lab::durability::faults::storage_faults;
use byrnie_lab::durability::kills::KillPlan;
use byrnie_lab::durability::kills::kill_under_load;
use byrnie_lab::durability::power::PowerPlan;
use byrnie_lab::durability::power::Syncs;
use byrnie_lab::durability::power::cut_under_load;

/// What can be asked for.
const USAGE: &str = "usage: byrnie-proof kills|power|faults PROGRAM [COUNT [SEED]]";

#[tokio::main]
async fn main() -> ExitCode {
    let mut out = io::stdout();
    let (text, code) = match asked() {
        Some(asked) => prove(asked).await,
        None => (format!("{USAGE}\n"), 2),
    };
    // Where nobody listens, the exit code says it all.
    _ = out.write_all(text.as_bytes());
    ExitCode::from(code)
}

/// What the arguments ask for.
struct Asked {
    /// Which proof.
    proof: Proof,
    /// The program under test.
    program: PathBuf,
    /// How often the program dies.
    count: usize,
    /// What chance is drawn from.
    seed: u64,
}

/// The proofs.
enum Proof {
    /// SIGKILL under load.
    Kills,
    /// Power cuts under load.
    Power,
    /// Storage that fails for a while.
    Faults,
}

/// Reads the arguments; `None` if they make no sense.
fn asked() -> Option<Asked> {
    let mut words = env::args().skip(1);
    let proof = match words.next()?.as_str() {
        "kills" => Proof::Kills,
        "power" => Proof::Power,
        "faults" => Proof::Faults,
        _ => return None,
    };
    let program = PathBuf::from(words.next()?);
    let count = words.next().map_or(Some(COUNT), |word| word.parse().ok())?;
    let seed = words
        .next()
        .map_or_else(|| Some(fastrand::u64(..)), |word| word.parse().ok())?;
    words.next().is_none().then_some(Asked {
        proof,
        program,
        count,
        seed,
    })
}

/// Gives the report and the exit code.
async fn prove(asked: Asked) -> (String, u8) {
    let load = LoadPlan {
        messages: 0,
        connections: CONNECTIONS,
        seed: asked.seed,
    };
    let proven = match asked.proof {
        Proof::Kills => {
            let plan = KillPlan {
                load,
                kills: asked.count,
            };
            let outcome = kill_under_load(&asked.program, plan).await;
            outcome.map(|outcome| (outcome.to_string(), outcome.verdicts.kept()))
        }
        Proof::Power => {
            let plan = PowerPlan {
                load,
                cuts: asked.count,
                disk: Syncs::Honest,
            };
            let outcome = cut_under_load(&asked.program, plan).await;
            outcome.map(|outcome| (outcome.to_string(), outcome.kept()))
        }
        Proof::Faults => {
            let outcome = storage_faults(&asked.program, load).await;
            outcome.map(|outcome| (outcome.to_string(), outcome.kept()))
        }
    };
    let (report, code) = match proven {
        Ok((report, true)) => (report, 0),
        Ok((report, false)) => (report, 1),
        Err(error) => (format!("error: {error}\n"), 1),
    };
    (format!("seed {}\n{report}", asked.seed), code)
}

/// How often the program dies unless the caller says otherwise.
const COUNT: usize = 200;

/// Clients at the same time.
const CONNECTIONS: usize = 16;
