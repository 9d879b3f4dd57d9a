//! Every section of settings, one line each, in the order of the settings page.

use crate::access::AccessSettings;
use crate::cache::CacheSettings;
use crate::config::{Group, Schema};
use crate::database::DatabaseSettings;
use crate::http::settings::{Chaos, Features, Server};
use crate::limits::Limits;
use crate::origin::settings::{BreakerSettings, RetrySettings, UpstreamSettings};
use crate::redis::RedisSettings;
use crate::services::products::settings::{AliExpressSettings, ProductSettings};
use crate::telemetry::LogSettings;

pub const SCHEMA: Schema = Schema(&[
    Group::of::<Server>(),
    Group::of::<AliExpressSettings>(),
    Group::of::<UpstreamSettings>(),
    Group::of::<RetrySettings>(),
    Group::of::<BreakerSettings>(),
    Group::of::<RedisSettings>(),
    Group::of::<DatabaseSettings>(),
    Group::of::<CacheSettings>(),
    Group::of::<ProductSettings>(),
    Group::of::<AccessSettings>(),
    Group::of::<Limits>(),
    Group::of::<LogSettings>(),
    Group::of::<Features>(),
    Group::of::<Chaos>(),
]);
