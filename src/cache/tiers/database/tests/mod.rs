//! The table of rows and its writer, over real files.

mod rows;
mod upkeep;
mod writer;
