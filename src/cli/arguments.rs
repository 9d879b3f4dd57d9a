//! The command line's shape.
//!
//! Owns: names of commands and options, and their help. Refuses: whatever is not one of them, with
//! exit status 2. No neighbours.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "breakwater",
    version,
    about = "A gateway that keeps answering when what is behind it does not",
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage or configuration."
)]
pub(super) struct Arguments {
    /// Configuration file; without it breakwater.toml is read if there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What to do; `serve` when nothing is named.
#[derive(Debug, Default, Subcommand)]
pub(super) enum Command {
    /// Answer requests (the default)
    #[default]
    Serve,
    /// Run the simulator of the AliExpress gateway alone
    Simulate(Simulation),
    /// Name every mistake in the configuration, or show what is in force
    CheckConfig,
    /// Bring the database up to date
    Migrate {
        /// Take the newest step back instead, for the version before; no gateway may be running
        #[arg(long)]
        down: bool,
    },
    /// Print the OpenAPI document
    Openapi {
        /// Only the operations for GPT Actions
        #[arg(long)]
        gpt: bool,
    },
    /// Print the page of all settings in Markdown
    Settings,
    /// Ask a running gateway whether it is alive; exit status 0 when it is
    Health {
        /// Address to ask instead of the one in the settings
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
}

/// How the simulator is run by itself.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Simulation {
    /// Address and port to listen on; port 0 takes any free port and prints it
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Products to serve instead of the built-in ones
    #[arg(long, value_name = "FILE.jsonl[.gz]")]
    pub catalog: Option<PathBuf>,
}
