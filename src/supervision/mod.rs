//! Room: supervision.
