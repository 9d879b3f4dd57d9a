//! The command line: reads it, reads the settings, hands over.
//!
//! Owns: commands, exit statuses (0 done, 1 failed, 2 wrong usage or configuration) and what is
//! said at the console. Refuses: wrong usage, and every command that needs settings while they have
//! a mistake. What a command does is somebody else's: see [`Commands`].

mod health;

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Environment, Mistakes, Schema, Settings, Tried};
use crate::console;

/// Why a command failed, for a person.
pub type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(
    name = "breakwater",
    version,
    about = "A gateway that keeps answering when what is behind it does not",
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage or configuration."
)]
struct Arguments {
    /// Configuration file; without it breakwater.toml is read if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Default, Subcommand)]
enum Command {
    /// Answer requests (the default)
    #[default]
    Serve,
    /// Try it out: gateway, simulator and clients on this machine alone, and a link to look at them
    Demo,
    /// Run the simulator of the AliExpress gateway alone
    Simulate(Simulation),
    /// Name every mistake in the configuration, or show what is in force
    CheckConfig {
        /// Also try the database, Redis, and each account of the upstream with one call
        #[arg(long)]
        connect: bool,
    },
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

/// What the commands do; each returns when it is done, or says why it failed.
pub trait Commands {
    fn schema(&self) -> Schema;

    /// Where a gateway with these settings listens.
    fn address(&self, settings: &Settings) -> SocketAddr;

    /// Answers requests until it is to stop. `file` is the one that `--config` named, to read the
    /// settings again.
    fn serve(&self, settings: Settings, file: Option<PathBuf>) -> Result<(), Failure>;

    /// Shows a gateway at work until it is to stop. Fails with [`Mistakes`] where it must not.
    fn demo(&self, settings: Result<Settings, Mistakes>) -> Result<(), Failure>;

    /// Tries what the settings name.
    fn connect(&self, settings: Settings) -> Vec<Tried>;

    /// Runs the simulator until it is to stop.
    fn simulate(&self, settings: Settings, simulation: Simulation) -> Result<(), Failure>;

    /// Brings the database up to date, or takes the newest step back; says what was done.
    fn migrate(&self, settings: Settings, down: bool) -> Result<String, Failure>;

    /// The OpenAPI document of a gateway with these settings, or only the operations for GPT Actions.
    fn openapi(&self, settings: &Settings, gpt: bool) -> Result<String, Failure>;
}

/// Exit statuses.
pub const DONE: u8 = 0;
pub const FAILED: u8 = 1;
/// Wrong usage or configuration.
pub const MISUSED: u8 = 2;

/// How a command ended, and what it says on standard output and standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub status: u8,
    pub output: String,
    pub complaint: String,
}

impl Outcome {
    fn done(output: impl Into<String>) -> Self {
        Self { status: DONE, output: output.into(), complaint: String::new() }
    }

    fn failed(reason: &str) -> Self {
        let complaint = format!("breakwater: {}", config::redact(reason));
        Self { status: FAILED, output: String::new(), complaint }
    }

    fn misused(complaint: impl Into<String>) -> Self {
        Self { status: MISUSED, output: String::new(), complaint: complaint.into() }
    }
}

/// Runs the program with the process's own arguments and environment.
pub fn run(commands: &dyn Commands) -> ExitCode {
    let outcome = execute(std::env::args_os(), &Environment::of_process(), commands);
    if !outcome.complaint.is_empty() {
        console::complain(&outcome.complaint);
    }
    if !outcome.output.is_empty()
        && let Err(error) = console::say(&outcome.output)
    {
        console::complain(&format!("breakwater: cannot write to standard output: {error}"));
        return FAILED.into();
    }
    outcome.status.into()
}

type Load = fn(Schema, Option<&Path>, &Environment) -> Result<Settings, Mistakes>;

/// Does what the arguments ask for. The first argument is the program's own name.
pub fn execute<I, A>(arguments: I, environment: &Environment, commands: &dyn Commands) -> Outcome
where
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
{
    let Arguments { config, command } = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return Outcome::misused(error.render().to_string()),
        // --help and --version arrive as errors too.
        Err(error) => return Outcome::done(error.render().to_string()),
    };
    let (file, schema) = (config.as_deref(), commands.schema());
    let read = |load: Load, act: &dyn Fn(Settings) -> Outcome| match load(schema, file, environment)
    {
        Ok(settings) => act(settings),
        Err(mistakes) => refused(&mistakes),
    };
    let with_settings = |act: &dyn Fn(Settings) -> Outcome| read(config::load, act);
    let probed = |act: &dyn Fn(Settings) -> Outcome| read(config::load_and_probe, act);
    match command.unwrap_or_default() {
        Command::Serve => {
            probed(&|settings| ended(commands.serve(settings, file.map(Path::to_owned))))
        }
        Command::Demo => ended(commands.demo(config::load(schema, file, environment))),
        Command::Simulate(simulation) => {
            with_settings(&|settings| ended(commands.simulate(settings, simulation.clone())))
        }
        Command::Migrate { down } => {
            with_settings(&|settings| printed(commands.migrate(settings, down)))
        }
        Command::CheckConfig { connect } => probed(&|settings| {
            let said = in_force(&settings, taken(commands.address(&settings)));
            let tried = if connect { commands.connect(settings) } else { Vec::new() };
            checked(said, &tried)
        }),
        Command::Health { url: None } => {
            with_settings(&|settings| alive(&health::address_of(commands.address(&settings))))
        }
        Command::Health { url: Some(url) } => alive(&url),
        Command::Openapi { gpt } => {
            with_settings(&|settings| printed(commands.openapi(&settings, gpt)))
        }
        Command::Settings => Outcome::done(config::settings_page(schema)),
    }
}

fn refused(mistakes: &Mistakes) -> Outcome {
    Outcome::misused(format!("breakwater: {mistakes}"))
}

/// The verdict, a line for everything that was tried, and what is in force.
fn checked(in_force: String, tried: &[Tried]) -> Outcome {
    let failed = tried.iter().filter(|one| one.outcome.is_err()).count();
    let verdict = match (tried.len(), failed) {
        (0, _) => return Outcome::done(in_force),
        (all, 0) => format!("ok: {all} tried, and none failed"),
        (all, failed) => format!("failed: {failed} of the {all} that were tried"),
    };
    let lines = tried.iter().map(ToString::to_string);
    let said = std::iter::once(verdict).chain(lines).chain([String::new(), in_force]);
    let status = if failed == 0 { DONE } else { FAILED };
    Outcome { status, ..Outcome::done(said.collect::<Vec<_>>().join("\n")) }
}

fn ended(result: Result<(), Failure>) -> Outcome {
    printed(result.map(|()| String::new()))
}

fn printed(result: Result<String, Failure>) -> Outcome {
    match result {
        Ok(output) => Outcome::done(output),
        Err(failure) => {
            if let Some(mistakes) = failure.downcast_ref::<Mistakes>() {
                return refused(mistakes);
            }
            let mut reason = failure.to_string();
            let mut cause = failure.source();
            while let Some(error) = cause {
                reason = format!("{reason}: {error}");
                cause = error.source();
            }
            Outcome::failed(&reason)
        }
    }
}

fn alive(address: &str) -> Outcome {
    match health::probe(address, health::PATIENCE) {
        Ok(()) => Outcome::done("alive"),
        Err(reason) => Outcome::failed(&reason),
    }
}

/// That something listens there already. No mistake: it may be the gateway whose new settings are checked.
fn taken(address: SocketAddr) -> Option<String> {
    let bound = std::net::TcpListener::bind(address);
    bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse).then(|| {
        format!(
            "API_HOST, API_PORT: {address} is in use; unless it is by the gateway that these settings are \
             for, it cannot start"
        )
    })
}

/// What `check-config` says of good settings: every one with its value and where it came from.
fn in_force(settings: &Settings, taken: Option<String>) -> String {
    let described = settings.describe();
    let widest = described.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
    let lines = described.iter().map(|setting| {
        let value = setting.value.as_deref().unwrap_or("none");
        format!("{:widest$}  {value}  ({})", setting.name, setting.source.word())
    });
    let cautions = settings.cautions().chain(taken).map(|caution| format!("but: {caution}"));
    std::iter::once("the configuration is good".to_owned())
        .chain(cautions)
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}
