//! Tests of what spans several files of this room, and of files too long to carry theirs.

mod links;
mod openapi;
mod product;
mod quality;
mod query;
mod smart;
