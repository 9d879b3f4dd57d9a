//! An operator's desk: a gateway with its simulator inside, clients that ask all the time, and a browser.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::gateway::{ADMIN_KEY, Plan, Running, demo};
use crate::webdriver::Browser;

/// Longest wait for what takes one look of the page.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// One browser at a time: several would wait for each other's processors.
static ONE: Mutex<()> = Mutex::new(());

pub(crate) struct Desk {
    browser: Browser,
    pub(crate) gateway: Running,
    // Dropped after who uses them.
    pub(crate) folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Desk {
    /// The page of `breakwater demo`, opened by the link that it prints; the link comes with it.
    pub(crate) fn of_demo() -> Option<(Self, String)> {
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let mut browser = Browser::start(folder.path())?;
        let (gateway, _, link) = demo(folder.path());
        browser.open(&link);
        Some((Self { browser, gateway, folder, _alone: alone }, link))
    }

    /// `None` where there is no browser.
    pub(crate) fn open(settings: &[(&'static str, &str)]) -> Option<Self> {
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let mut browser = Browser::start(folder.path())?;
        let plan = Plan::in_folder(folder.path())
            .with("RETRY_MAX_ATTEMPTS", "1")
            .with("BREAKER_OPEN_SECONDS", "1")
            .with("CHAOS_ENABLED", "true");
        let plan = settings.iter().fold(plan, |plan, (name, value)| plan.with(name, *value));
        let gateway = plan.start();
        // Whoever is not signed in is told so.
        browser.expects("admin/live?since=0 - Failed to load resource: the server responded with a status of 403");
        let mut desk = Self { browser, gateway, folder, _alone: alone };
        let page = desk.page();
        desk.browser.open(&page);
        Some(desk)
    }

    /// The same, signed in.
    pub(crate) fn signed_in(settings: &[(&'static str, &str)]) -> Option<Self> {
        let mut desk = Self::open(settings)?;
        desk.sign_in(ADMIN_KEY);
        desk.wait_for("#age", "Live", SOON);
        Some(desk)
    }

    pub(crate) fn page(&self) -> String {
        format!("http://{}/admin", self.gateway.address)
    }

    pub(crate) fn sign_in(&mut self, key: &str) {
        self.wait_for("#login", "Admin key", SOON);
        self.write("#login-key", key);
        self.click("#login-form button");
    }

    /// Presses a button, reads its question, says yes, and reads what came of it.
    pub(crate) fn act(&mut self, name: &str) -> (String, String) {
        self.click(&format!("[data-name={name:?}]"));
        let question = self.text("dialog");
        self.click("#dialog-yes");
        self.wait_for("#dialog-result", "one", SOON);
        let result = self.text("#dialog-result");
        self.click("#dialog-no");
        (question, result)
    }

    /// Ends gateway and browser.
    pub(crate) fn leave(self) {
        let Self { browser, mut gateway, folder: _folder, _alone } = self;
        browser.finish();
        if gateway.process.is_running() {
            gateway.stop();
        } else {
            assert!(gateway.process.wait().success(), "it ended well");
        }
    }
}

impl Deref for Desk {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl DerefMut for Desk {
    fn deref_mut(&mut self) -> &mut Browser {
        &mut self.browser
    }
}

/// Clients that ask, for things that are known and new ones in turn, until they are dropped.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn of(gateway: &Running) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut connection) = (Arc::clone(&stop), gateway.connection());
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let word = if number % 3 == 0 { number } else { number % 5 };
                drop(connection.get(&format!("/api/products/search?keywords=lamp+{word}")));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}
