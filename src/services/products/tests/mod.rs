//! Tests of what spans several files of this service, and of files too long to carry theirs.

mod openapi;
mod product;
mod quality;
mod records;
