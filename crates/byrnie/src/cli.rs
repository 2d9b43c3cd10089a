//! The command line.

use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

/// Relays mail only as safely as the recipient's domain promises
#[derive(Debug, Parser)]
#[command(
    name = "byrnie",
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What byrnie can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a configuration file, or print every setting with its default
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    #[command(after_help = EXIT_PRINTED)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff
    #[command(after_help = EXIT_PRINTED)]
    Man,
}

/// What can be done with configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file and every file that it names
    #[command(
        after_help = "Exit codes:\n  0  the configuration is good\n  2  it is not, or cannot \
                            be read; what is wrong and on which line is said on standard error"
    )]
    Check {
        /// The file; default: /etc/byrnie/byrnie.toml
        file: Option<PathBuf>,
    },
    /// Print every setting with its default and a comment
    #[command(after_help = EXIT_PRINTED)]
    Defaults,
}

/// For commands that print and cannot fail otherwise.
const EXIT_PRINTED: &str = "Exit codes:\n  0  printed\n  2  bad usage";
