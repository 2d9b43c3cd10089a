//! `byrnie lab`: every promise, put to the test in a miniature internet.

use std::env;
use std::error::Error;
use std::io;
use std::process::ExitCode;

use byrnie_lab::Format;
use byrnie_lab::Lab;
use byrnie_lab::LabError;
use byrnie_lab::Options;
use byrnie_lab::run;

use crate::cli::LabArgs;
use crate::failure::Failure;
use crate::output;
use crate::output::Paint;
use crate::runtime;
use crate::signals;

/// Runs `byrnie lab`.
pub(crate) fn run(args: &LabArgs) -> Result<ExitCode, Failure> {
    let format = match (args.json, Paint::for_stdout().is_enabled()) {
        (true, _) => Format::Json,
        (false, true) => Format::Colour,
        (false, false) => Format::Plain,
    };
    let mut out = io::stdout();
    if args.list {
        run::list(format, &mut out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = env::current_exe()
        .map_err(|error| Failure::runtime(format!("where is this program? {error}")))?;
    let options = Options {
        scenarios: args.scenario.clone(),
        dns_delay: args.dns_delay.0,
    };
    runtime::block_on(async {
        let mut lab = Lab::raise(&program, &options)
            .await
            .map_err(|error| explain(&error))?;
        let outcome = lab
            .run(format, &mut out)
            .await
            .map_err(|error| explain(&error))?;
        if args.keep {
            output::print(lab.explanation())?;
            let until = signals::termination()?;
            lab.narrate(&mut out, until)
                .await
                .map_err(|error| explain(&error))?;
        }
        lab.end().await.map_err(|error| explain(&error))?;
        Ok(match outcome.passed() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(1),
        })
    })
}

/// What is wrong with the lab, and with what the caller asked of it.
fn explain(error: &LabError) -> Failure {
    if matches!(error, LabError::UnknownScenario(_)) {
        return Failure::usage(error.to_string()).hint("`byrnie lab --list` names the scenarios");
    }
    let mut message = error.to_string();
    if let Some(source) = error.source() {
        message.push_str(&format!(": {source}"));
    }
    Failure::runtime(message)
}
