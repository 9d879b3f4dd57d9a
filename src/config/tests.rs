//! A few settings of a room that does not exist, for the tests of the loader.

use super::kinds::{Choice, Optional, SECRET_WORD, Whole};
use super::{Group, Schema, Secret, Section};
use crate::settings;

settings! {
    pub(super) struct Sample in "sample" {
        port: u16 = 8080, "API_PORT", "port", Whole(0, 65_535), "a number";
        level: u8 = 3, "LOG_LEVEL", "level", Choice(&[("info", 3), ("debug", 4)]), "a word", live();
        secret: Option<Secret> = None, "ADMIN_API_KEY", "admin_key", Optional(SECRET_WORD), "hidden";
    }
}

impl Section for Sample {}

pub(super) const SCHEMA: Schema = Schema(&[&[Group::of::<Sample>()]]);
