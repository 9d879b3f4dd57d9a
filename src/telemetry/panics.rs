//! A panic as one line of the log.
//!
//! Owns: the process's panic hook. Refuses to repeat passwords. When the log is down, the line is
//! lost and counted; the panic goes its way either way.

use std::any::Any;
use std::panic::PanicHookInfo;

use slog::{Logger, error};

use crate::config::redact;

/// Longest message that is logged, in characters.
const LONGEST: usize = 500;

/// From now on a panic of any thread is one error line with its message and place, in place of the
/// text on standard error.
///
/// ```
/// use breakwater::config::kinds::Rollout;
/// use breakwater::telemetry::{LogSettings, install_panic_hook, start};
///
/// let file = std::env::temp_dir().join(format!("breakwater-{}.log", std::process::id()));
/// let settings = LogSettings { file: Some(file.clone()), ..LogSettings::default() };
/// let telemetry = start(&settings, Rollout(100))?;
/// install_panic_hook(telemetry.logger().clone());
///
/// let died = std::thread::spawn(|| panic!("redis://:pw@cache is gone")).join();
/// assert!(died.is_err());
/// drop(telemetry);
/// let lines = std::fs::read_to_string(&file)?;
/// assert_eq!(lines.lines().count(), 1);
/// assert!(lines.contains(r#""level":"error","msg":"panic""#));
/// assert!(lines.contains(r#""panic":"redis://:[hidden]@cache is gone""#));
/// # std::fs::remove_file(file)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn install_panic_hook(logger: Logger) {
    std::panic::set_hook(Box::new(move |info| report(&logger, info)));
}

fn report(logger: &Logger, info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    error!(logger, "panic";
        "panic" => panic_message(info.payload()),
        "location" => info.location().map(ToString::to_string),
        "thread" => thread.name().unwrap_or("unnamed").to_owned(),
    );
}

/// What a panic said, without passwords and cut where it gets too long.
#[must_use]
pub fn panic_message(payload: &(dyn Any + Send)) -> String {
    let said = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text");
    redact(said).chars().take(LONGEST).collect()
}
