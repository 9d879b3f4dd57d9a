//! Declarations: logging, features and fault endpoints. Owns no logic and refuses nothing; see the
//! parent.

use super::{Declaration, setting};
use crate::config::kinds::{Format, Kind, Level, Share, Switch};
use crate::config::texts::{FilePath, Optional};

pub(super) const SETTINGS: &[Declaration] = &[
    setting!("LOG_LEVEL", "log", "level", in settings.log.level, Level, "how much is logged; trace in debug builds only"),
    setting!("LOG_FORMAT", "log", "format", in settings.log.format, Format,
        "one JSON object a line, or text for a person"),
    setting!("LOG_FILE", "log", "file", in settings.log.file, Optional(FilePath),
        "log to this file instead of standard error; rotated at 10 MB, five kept"),
    setting!("ENABLE_ENHANCED_CACHING", "features", "enhanced_caching",
        in settings.features.enhanced_caching, Share, "caching in three tiers"),
    setting!("ENABLE_RETRY_LOGIC", "features", "retry_logic", in settings.features.retry_logic,
        Share, "retries of failed upstream calls"),
    setting!("ENABLE_DATA_VALIDATION", "features", "data_validation",
        in settings.features.data_validation, Share, "dropping of products that make no sense"),
    setting!("ENABLE_STRUCTURED_LOGGING", "features", "structured_logging",
        in settings.features.structured_logging, Share,
        "log lines as JSON; off means text whatever the format says"),
    setting!("CHAOS_ENABLED", "chaos", "enabled", in settings.chaos_enabled, Switch,
        "opens the fault endpoints under /admin/chaos; for tests only"),
];
