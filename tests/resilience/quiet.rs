//! Panics that were asked for are not printed.
//!
//! Owns: a panic hook that leaves out what tests provoke; every other panic is printed as ever.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;

/// Beginnings of the texts of provoked panics.
const PROVOKED: [&str; 2] = ["chaos:", "provoked:"];

/// From now on keeps quiet about provoked panics.
pub(crate) fn panics_on_request() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !is_provoked(panic) {
                usual(panic);
            }
        }));
    });
}

fn is_provoked(panic: &PanicHookInfo<'_>) -> bool {
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.is_some_and(|text| PROVOKED.iter().any(|start| text.starts_with(start)))
}
