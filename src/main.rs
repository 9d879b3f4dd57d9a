//! Entry: hands over to the command line.

use std::process::ExitCode;

use breakwater::app::Breakwater;
use breakwater::cli;

fn main() -> ExitCode {
    cli::run(&Breakwater)
}
