//! Room: limits.
