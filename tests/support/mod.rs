//! What tests of the running service start and speak to: processes, Redis, Postgres, plain HTTP.
//!
//! Every part stands alone, so that a test binary takes only what it uses. Refuses: to let a
//! started process outlive its test; one that is left running fails the test.

pub(crate) mod bad_input;
pub(crate) mod callers;
pub(crate) mod fault_proxy;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod redis;
