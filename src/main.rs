//! Entry: hands over to the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use breakwater::cli::{self, Commands, Failure, Simulation};
use breakwater::config::Settings;

/// Stands where the application will.
struct Unwired;

impl Commands for Unwired {
    fn serve(&self, _: Settings, _: Option<PathBuf>) -> Result<(), Failure> {
        Err("serve is not there yet".into())
    }
    fn simulate(&self, _: Settings, _: Simulation) -> Result<(), Failure> {
        Err("simulate is not there yet".into())
    }
    fn migrate(&self, _: Settings) -> Result<String, Failure> {
        Err("migrate is not there yet".into())
    }
    fn openapi(&self, _: bool) -> Result<String, Failure> {
        Err("openapi is not there yet".into())
    }
}

fn main() -> ExitCode {
    cli::run(&Unwired)
}
