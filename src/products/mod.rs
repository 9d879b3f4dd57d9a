//! Room: products.
