//! `byrnie man`: the manual page, one section per command.

use std::process::ExitCode;

use clap::Command;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output;

/// Prints the manual page.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    render(&command, &mut page)?;
    output::print(String::from_utf8_lossy(&page))?;
    Ok(ExitCode::SUCCESS)
}

/// Renders `command`, and everything below it.
fn render(command: &Command, page: &mut Vec<u8>) -> Result<(), Failure> {
    clap_mangen::Man::new(command.clone()).render(page)?;
    for below in command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
    {
        render(below, page)?;
    }
    Ok(())
}
