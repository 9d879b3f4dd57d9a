//! Room: database.
