//! Everything about HTTP: the pipeline of a request, the envelope, the errors.
//!
//! A request becomes a question to another room, and an answer becomes bytes. Whatever is malformed,
//! over a limit or not allowed is refused in one error format. This room decides nothing about
//! services, caching or limits; when those fail, the answer has the failure's own code.

mod accept_encoding;
pub mod breakers;
pub mod connection;
pub mod context;
pub mod envelope;
pub mod error;
pub mod explain;
pub mod extract;
pub mod forms;
pub mod handlers;
mod headers;
pub mod live;
pub mod load_shedder;
pub mod log_sampler;
pub mod openapi;
pub mod page_files;
mod pipeline;
mod public_address;
pub mod reload;
pub mod route;
pub mod routes;
pub mod served;
pub mod server;
pub mod service;
pub mod settings;
pub mod start_page;
pub mod state;
pub mod stops;
mod wishes;

pub use envelope::Integration;
pub use error::{ApiError, ErrorCode};
