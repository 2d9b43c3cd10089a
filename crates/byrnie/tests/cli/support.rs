//! Running the program.

use std::path::Path;
use std::process::Command;
use std::process::Output;

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Runs the program with arguments, in an environment without colour.
#[track_caller]
pub(crate) fn byrnie(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_byrnie"))
        .args(arguments)
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    ran(output)
}

/// Runs the program in a folder.
#[track_caller]
pub(crate) fn byrnie_in(folder: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_byrnie"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    ran(output)
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
