//! What happens at each address of the gateway itself.
//!
//! Owns: one file for each family of endpoints: its routes, what the document says of them, and
//! their handlers. Nothing here asks a neighbour that could be down, but for admins.

pub mod admin;
pub mod documents;
pub mod health;
pub mod rendered;
pub mod status;

use super::error::{ApiError, ErrorCode};
use super::extract::Answer;

/// For addresses that do not exist.
pub(super) async fn not_found() -> Answer {
    Err(ApiError::new(ErrorCode::NotFound))
}

/// For addresses that exist, but not with this method.
pub(super) async fn method_not_allowed() -> Answer {
    Err(ApiError::new(ErrorCode::MethodNotAllowed))
}
