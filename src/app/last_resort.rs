//! The catalogue of the last resort: read once at the start.
//!
//! Owns: telling of bad lines in the log, as the simulator's start does. Refuses: a file that cannot
//! be read or has no good line; who asked for a last resort must not believe that there is one.

use std::sync::Arc;

use slog::{Logger, info, warn};

use crate::cli::Failure;
use crate::services::products::last_resort::LastResort;
use crate::services::products::settings::ProductSettings;

/// Reads the catalogue of the last resort, if one is set. Blocks while it reads.
pub(super) fn load(
    settings: &ProductSettings,
    log: &Logger,
) -> Result<Option<Arc<LastResort>>, Failure> {
    let Some(path) = &settings.last_resort_catalog else { return Ok(None) };
    let (last_resort, report) =
        LastResort::load(path).map_err(|error| format!("LAST_RESORT_CATALOG: {error}"))?;
    info!(log, "last resort is loaded"; "catalogue" => %report);
    for skipped in &report.first_skipped {
        warn!(log, "catalogue line skipped"; "line" => skipped.number,
            "reason" => skipped.reason, "detail" => &skipped.detail);
    }
    Ok(Some(Arc::new(last_resort)))
}
