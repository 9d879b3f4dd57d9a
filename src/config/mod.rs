//! The only reader of the environment and of the configuration file.
//!
//! Owns: what may be set, its defaults and its bounds. Refuses: a start with any mistake; all of
//! them are named at once. Nobody else reads the environment. No neighbours: it works alone.
//!
//! Every setting is declared once, in `declared/`: its variable, its key in the file, what is
//! expected, what it is for. The loader, `check-config`, `GET /admin/config` and
//! `docs/settings.md` all come from those declarations. Order: read (`source`, `file`), parse
//! (`kinds`), validate (`load`), build ([`Settings`]).

mod accounts;
mod addresses;
mod declared;
mod defaults;
mod describe;
mod file;
mod in_force;
mod kinds;
mod load;
mod mistake;
mod redact;
mod removed;
mod settings;
mod source;
mod suggestion;
mod texts;

#[cfg(test)]
mod tests;

pub use describe::{Described, settings_page};
pub use in_force::{InForce, Reloaded};
pub use load::{load, resolve};
pub use mistake::{Mistake, Mistakes};
pub use redact::redact;
pub use settings::{
    AbuseMode, AbuseSettings, Access, Account, AddressHeader, Cache, Credentials, Database,
    Features, Limits, Log, LogFormat, MOST_ACCOUNTS, Pacing, Redis, Rollout, Secret, Server,
    Settings, Upstream,
};
pub use source::{DEFAULT_FILE, Environment, FileText, Source, Sources};
