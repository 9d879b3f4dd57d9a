//! The only reader of the environment and of the configuration file.
//!
//! Owns: what may be set, its defaults and its bounds. Refuses: a start with any mistake; all of
//! them are named at once. Nobody else reads the environment.

mod settings;

pub use settings::{
    Access, Cache, Credentials, Database, Features, Limits, Log, LogFormat, Pacing, Rollout,
    Secret, Server, Settings, Upstream,
};
