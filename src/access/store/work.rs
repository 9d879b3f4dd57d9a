//! Exchanges with the database as they are made while the process runs.
//!
//! Owns: running one on a thread that may block, with the position between them. Refuses nothing;
//! what failed is told and tried again by whoever calls, in his own time.

use super::{Exchanged, Position, exchange};
use crate::access::table::Access;
use crate::database::Store;

/// Makes exchanges until nothing is owed.
///
/// # Errors
/// The database is away, locked, full or broken; what is owed still is.
pub async fn keep_in_step(
    store: &Store,
    access: &Access,
    position: &mut Position,
) -> Result<Exchanged, String> {
    let mut all = Exchanged::default();
    loop {
        let (store, access, mut at) = (store.clone(), access.clone(), position.clone());
        let work = tokio::task::spawn_blocking(move || {
            let exchanged = exchange(&store, &access, &mut at);
            (exchanged, at)
        });
        let (exchanged, at) = work.await.map_err(|died| died.to_string())?;
        *position = at;
        let Exchanged { new, dropped, more } = exchanged?;
        (all.new, all.dropped) = (all.new + new, all.dropped + dropped);
        if !more {
            return Ok(all);
        }
    }
}
