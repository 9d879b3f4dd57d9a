//! The settings in force, and reading them again while the process runs.
//!
//! Owns: what was taken over since the start. Refuses: a configuration with any mistake, as a whole;
//! then all stays as it was. What cannot change while running is named, so that nobody believes it
//! has: it counts from the next start.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize;
use utoipa::ToSchema;

use super::redact::HIDDEN;
use super::settings::{Declaration, Declared};
use super::{Described, Environment, Mistakes, Settings, load};
use crate::clock::{self, Timestamp};

/// What reading again has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reloaded {
    /// Settings with another value, which is in force now.
    #[schema(value_type = Vec<String>)]
    pub taken_over: Vec<&'static str>,
    /// Settings with another value, which counts from the next start.
    #[schema(value_type = Vec<String>)]
    pub need_restart: Vec<&'static str>,
    /// What is allowed, and unwise.
    pub cautions: Vec<String>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[&str]| match names {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        write!(
            f,
            "taken over: {}; from the next start: {}",
            list(&self.taken_over),
            list(&self.need_restart)
        )?;
        self.cautions.iter().try_for_each(|caution| write!(f, "; but: {caution}"))
    }
}

/// The last time that the configuration was read, the start included.
#[derive(Debug, Clone)]
pub struct LastRead {
    pub at: Timestamp,
    pub outcome: Result<Reloaded, Mistakes>,
}

/// A value that a reload replaces while others read it; nobody waits for anybody.
#[derive(Debug, Default)]
pub struct Current<T>(ArcSwap<T>);

impl<T: Clone> Current<T> {
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    pub fn get(&self) -> T {
        self.with(T::clone)
    }

    /// The same without a copy of all of it.
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.0.load())
    }

    pub fn set(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

/// The file that was named, if one was.
type FileName = Option<PathBuf>;

pub struct InForce {
    /// `None`: nothing is read again.
    source: Option<FileName>,
    read: Mutex<Settings>,
    last: Current<LastRead>,
    take_over: Box<dyn Fn(&Settings) + Send + Sync>,
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InForce").field("source", &self.source).finish_non_exhaustive()
    }
}

impl InForce {
    /// Settings that came from this file, if one was named, and from the environment. `take_over`
    /// puts new ones into force, as far as that is possible while running.
    pub fn new(
        file: Option<PathBuf>,
        settings: Settings,
        take_over: impl Fn(&Settings) + Send + Sync + 'static,
    ) -> Self {
        Self { source: Some(file), ..Self::began(settings, Box::new(take_over)) }
    }

    /// Settings that came from nowhere else: to read again changes nothing.
    pub fn fixed(settings: Settings) -> Self {
        Self::began(settings, Box::new(|_| ()))
    }

    fn began(settings: Settings, take_over: Box<dyn Fn(&Settings) + Send + Sync>) -> Self {
        let last = LastRead { at: clock::now(), outcome: Ok(Reloaded::default()) };
        let (read, last) = (Mutex::new(settings), Current::new(last));
        Self { source: None, read, last, take_over }
    }

    /// The settings as they were read at the start, with what was taken over since.
    pub fn settings(&self) -> Settings {
        self.read().clone()
    }

    /// Those of a section.
    pub fn of<S: Declared>(&self) -> S {
        self.read().of()
    }

    pub fn last_read(&self) -> LastRead {
        self.last.get()
    }

    /// Every setting as it is in force, secrets hidden.
    pub fn describe(&self) -> Vec<Described> {
        self.read().describe()
    }

    /// Reads the file again, and the environment; `take_over` puts more into force than the start knew.
    ///
    /// # Errors
    /// Every mistake in both; nothing has changed then.
    pub fn reload(
        &self,
        environment: &Environment,
        take_over: impl FnOnce(&Settings),
    ) -> Result<Reloaded, Mistakes> {
        // Under the lock: of two at once the later one has read later.
        let mut settings = self.read();
        let outcome = self.read_again(&mut settings, environment);
        if outcome.is_ok() {
            (self.take_over)(&settings);
            take_over(&settings);
        }
        self.last.set(LastRead { at: clock::now(), outcome: outcome.clone() });
        outcome
    }

    fn read_again(
        &self,
        settings: &mut Settings,
        environment: &Environment,
    ) -> Result<Reloaded, Mistakes> {
        let Some(file) = &self.source else { return Ok(Reloaded::default()) };
        let mut read = load(settings.schema, file.as_deref(), environment)?;
        let cautions = read.cautions().collect();
        let mut reloaded = Reloaded { cautions, ..Reloaded::default() };
        let fixed = settings.schema.groups().filter(|group| !(group.can_become)(settings, &read));
        let fixed: Vec<_> =
            fixed.flat_map(|group| group.declarations).map(|setting| setting.variable).collect();
        for setting in changed(settings, &read) {
            if setting.live && !fixed.contains(&setting.variable) {
                reloaded.taken_over.push(setting.variable);
                match read.given.remove(setting.variable) {
                    Some(given) => settings.given.insert(setting.variable, given),
                    None => settings.given.remove(setting.variable),
                };
            } else {
                reloaded.need_restart.push(setting.variable);
            }
        }
        Ok(reloaded)
    }

    fn read(&self) -> MutexGuard<'_, Settings> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The settings with another value. A secret is shown as hidden whatever it is, so its texts are
/// compared.
fn changed(before: &Settings, after: &Settings) -> Vec<&'static Declaration> {
    let differs = |setting: &&Declaration| {
        let shown = [before, after].map(|settings| settings.shown(setting));
        let hidden = shown[0].as_deref().is_some_and(|shown| shown.contains(HIDDEN));
        let texts = [before, after].map(|settings| settings.given.get(setting.variable));
        shown[0] != shown[1] || hidden && texts[0].map(|g| &g.text) != texts[1].map(|g| &g.text)
    };
    before.schema.all().filter(differs).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::super::tests::{SCHEMA, Sample};
    use super::super::{Source, resolve};
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().copied().collect()
    }

    fn in_force(pairs: &[(&str, &str)]) -> (InForce, Arc<AtomicU8>) {
        let level = Arc::new(AtomicU8::new(0));
        let seen = Arc::clone(&level);
        let settings = resolve(SCHEMA, None, &environment(pairs)).unwrap();
        let take_over =
            move |settings: &Settings| seen.store(settings.of::<Sample>().level, Ordering::Relaxed);
        (InForce::new(None, settings, take_over), level)
    }

    fn shown(in_force: &InForce, variable: &str) -> (Option<String>, Source) {
        let all = in_force.describe();
        let one = all.into_iter().find(|one| one.name == variable).unwrap();
        (one.value, one.source)
    }

    #[test]
    fn the_log_level_is_taken_over_and_the_rest_is_named() {
        let (in_force, level) =
            in_force(&[("API_PORT", "1"), ("LOG_LEVEL", "info"), ("ADMIN_API_KEY", "sesame")]);
        let other = [("API_PORT", "2"), ("LOG_LEVEL", "debug"), ("ADMIN_API_KEY", "simsim")];
        let reloaded = in_force.reload(&environment(&other), |_| ()).unwrap();
        assert_eq!(reloaded.taken_over, ["LOG_LEVEL"]);
        assert_eq!(reloaded.need_restart, ["API_PORT", "ADMIN_API_KEY"]);
        let text = reloaded.to_string();
        assert_eq!(text, "taken over: LOG_LEVEL; from the next start: API_PORT, ADMIN_API_KEY");
        assert_eq!(level.load(Ordering::Relaxed), 4);
        let debug = (Some("debug".to_owned()), Source::Environment);
        assert_eq!(shown(&in_force, "LOG_LEVEL"), debug);
        assert_eq!(shown(&in_force, "API_PORT").0.as_deref(), Some("1"));
        // What still waits for a start is named again.
        let again = in_force.reload(&environment(&other), |_| ()).unwrap();
        assert!(again.taken_over.is_empty() && again.need_restart == reloaded.need_restart);
    }

    #[test]
    fn a_mistake_anywhere_changes_nothing() {
        let (in_force, level) = in_force(&[("LOG_LEVEL", "info")]);
        let wrong = environment(&[("LOG_LEVEL", "debug"), ("API_PORT", "many")]);
        assert!(
            in_force
                .reload(&wrong, |_| panic!("nothing is taken over"))
                .unwrap_err()
                .to_string()
                .contains("API_PORT")
        );
        assert_eq!(level.load(Ordering::Relaxed), 0);
        assert_eq!(shown(&in_force, "LOG_LEVEL").0.as_deref(), Some("info"));
        assert!(in_force.last_read().outcome.is_err());
        in_force.reload(&environment(&[]), |_| ()).unwrap();
        assert!(in_force.last_read().outcome.is_ok());
    }

    #[test]
    fn the_same_again_changes_nothing_and_a_default_is_a_value() {
        let (in_force, _) = in_force(&[("ADMIN_API_KEY", "sesame")]);
        let same = environment(&[("ADMIN_API_KEY", "sesame"), ("API_PORT", "8080")]);
        assert_eq!(in_force.reload(&same, |_| ()).unwrap(), Reloaded::default());
        let reloaded = in_force.reload(&environment(&[]), |_| ()).unwrap();
        assert_eq!(reloaded.need_restart, ["ADMIN_API_KEY"]);
        let fixed = InForce::fixed(in_force.settings());
        let wrong = environment(&[("LOG_LEVEL", "debug"), ("API_PORT", "many")]);
        assert_eq!(fixed.reload(&wrong, |_| ()).unwrap(), Reloaded::default());
        assert_eq!(shown(&fixed, "LOG_LEVEL").1, Source::Default);
    }
}
