//! What every request passes on its way in and out.
//!
//! ```text
//!  observe ▶ cors ▶ compress ▶ (routing) ▶ limit ▶ handler
//!     └ id, times, metrics, log, headers, error bodies, panics
//! ```

pub mod admin;
pub mod compress;
pub mod limit;
pub mod observe;
