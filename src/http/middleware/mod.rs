//! What every request passes on its way in and out.
//!
//! ```text
//!  observe ▶ shed ▶ cors ▶ compress ▶ (routing) ▶ limit ▶ handler
//!     │        └ refuses what is too much; called by `observe`, so that letting in costs no layer
//!     └ id, times, metrics, log, headers, error bodies, panics
//! ```

pub mod admin;
mod caller;
pub mod compress;
pub mod limit;
mod limit_fields;
pub mod observe;
pub mod shed;
