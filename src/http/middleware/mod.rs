//! What every request passes on its way in and out.
//!
//! ```text
//!  observe ▶ cors ▶ compress ▶ (routing) ▶ limit ▶ handler
//!     └ id, times, metrics, log, headers, error bodies, panics
//! ```

pub(super) mod admin;
pub(super) mod compress;
pub(super) mod limit;
pub(super) mod observe;
