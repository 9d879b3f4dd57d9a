//! Entry: hands over to the command line.

use std::process::ExitCode;

use breakwater::app::Breakwater;
use breakwater::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(&Breakwater)
}
