//! The loader of settings: the only reader of the environment and of the configuration file.
//!
//! Owns: kinds of values, precedence, mistakes, and showing settings without secrets. Refuses: a start
//! with any mistake; all of them are named at once. It works alone and knows no room: each room
//! declares its settings with [`crate::settings!`], and `app` passes the list ([`Schema`]) in.

mod file;
mod in_force;
pub mod kinds;
mod load;
mod near_miss;
mod redact;
mod removed;
mod settings;
mod tried;

#[cfg(test)]
mod tests;

pub use file::{DEFAULT_FILE, FileText};
pub use in_force::{Current, InForce, LastRead, Reloaded};
pub use load::{Environment, Mistake, Mistakes, load, load_and_probe, resolve};
pub use redact::{Secret, redact, said};
pub use settings::{
    Declaration, Declared, Described, Group, Schema, Section, Settings, Source, settings_page,
};
pub use tried::Tried;
