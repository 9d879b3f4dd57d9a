//! A browser that a test drives: chromedriver (W3C WebDriver) and chromium without a window.
//!
//! Owns: starting both, what a test does with a page, and their end. A page that wrote an error to its
//! console, or tried what its policy forbids, fails the test that drove it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::support::http::Connection;
use crate::support::process::Process;

const START_WITHIN: Duration = Duration::from_secs(30);
/// The name of an element's id in answers (WebDriver, section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A page under the control of a test.
pub(crate) struct Browser {
    driver: Option<Process>,
    connection: Connection,
    session: String,
    /// What the test expects to see in the console; whoever refuses a key says so there.
    expected: Vec<&'static str>,
}

impl Browser {
    /// `None`, and a line that says so, where there is no browser.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        let missing = ["chromium", "chromedriver"].into_iter().find(|program| !is_here(program));
        if let Some(program) = missing {
            // Not through the macro: the harness would keep it to itself.
            let said = writeln!(std::io::stderr(), "left out: {program} is not installed");
            said.expect("standard error takes a line");
            return None;
        }
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let mut driver = Process::start("chromedriver", &mut command, &folder.join("browser.log"));
        let port: u16 = driver.line(START_WITHIN, |line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut connection = Connection::to(([127, 0, 0, 1], port).into())
            .with_header("content-type", "application/json");
        let options = json!({
            "binary": "/usr/bin/chromium",
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--hide-scrollbars", "--window-size=1280,1000", "--no-first-run",
                format!("--user-data-dir={}", folder.join("profile").display())],
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let answer = connection.send("POST", "/session", wanted.to_string().as_bytes());
        let made = answer.expect("chromedriver answers").json();
        let session = made["value"]["sessionId"].as_str();
        let session = session.unwrap_or_else(|| panic!("no browser: {made}")).to_owned();
        Some(Self { driver: Some(driver), connection, session, expected: Vec::new() })
    }

    /// The console may say this.
    pub(crate) fn expects(&mut self, text: &'static str) {
        self.expected.push(text);
    }

    fn try_command(&mut self, method: &str, what: &str, body: &Value) -> Result<Value, Value> {
        let path = format!("/session/{}/{what}", self.session);
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let answer = self.connection.send(method, &path, body.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        let value = answer.json()["value"].clone();
        if answer.status == 200 { Ok(value) } else { Err(value) }
    }

    fn command(&mut self, method: &str, what: &str, body: &Value) -> Value {
        let done = self.try_command(method, what, body);
        done.unwrap_or_else(|error| {
            panic!("{what} {body}: {} {}", error["error"], error["message"])
        })
    }

    pub(crate) fn open(&mut self, address: &str) {
        self.command("POST", "url", &json!({"url": address}));
    }

    pub(crate) fn reload(&mut self) {
        self.command("POST", "refresh", &json!({}));
    }

    /// Opens the page in one more tab.
    pub(crate) fn open_tab(&mut self, address: &str) {
        let tab = self.command("POST", "window/new", &json!({"type": "tab"}));
        self.command("POST", "window", &json!({"handle": tab["handle"]}));
        self.open(address);
    }

    /// What a script of the test says.
    pub(crate) fn script(&mut self, script: &str) -> Value {
        self.command("POST", "execute/sync", &json!({"script": script, "args": []}))
    }

    /// A command of the developer tools.
    pub(crate) fn tools(&mut self, command: &str, parameters: &Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.command("POST", "goog/cdp/execute", &body)
    }

    /// The text that is shown in the first element of a selector; empty if it is not shown.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let script = format!(
            "const one = document.querySelector({selector:?});
            return one?.checkVisibility() ? one.innerText : ''"
        );
        self.script(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text of an element has a word in it.
    pub(crate) fn wait_for(&mut self, selector: &str, word: &str, within: Duration) {
        let deadline = monotonic() + within;
        loop {
            let text = self.text(selector);
            if text.contains(word) {
                return;
            }
            if monotonic() > deadline {
                let page = self.text("body");
                panic!("{selector} does not say {word:?} within {within:?} but {text:?}:\n{page}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn element(&mut self, selector: &str) -> Result<String, Value> {
        let found = json!({"using": "css selector", "value": selector});
        let found = self.try_command("POST", "element", &found)?;
        Ok(found[ELEMENT].as_str().unwrap_or_default().to_owned())
    }

    /// Does something with an element, again while the page is just being made anew.
    fn with_element(&mut self, selector: &str, action: &str, body: &Value) {
        let deadline = monotonic() + Duration::from_secs(5);
        loop {
            let element = self.element(selector);
            let done = element.and_then(|element| {
                self.try_command("POST", &format!("element/{element}/{action}"), body)
            });
            match done {
                Ok(_) => return,
                Err(error) if monotonic() > deadline => panic!("{action} {selector}: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    pub(crate) fn click(&mut self, selector: &str) {
        self.with_element(selector, "click", &json!({}));
    }

    pub(crate) fn write(&mut self, selector: &str, text: &str) {
        self.with_element(selector, "value", &json!({"text": text}));
    }

    /// Presses keys wherever the focus is.
    pub(crate) fn press(&mut self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})))
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]});
        self.command("POST", "actions", &actions);
    }

    /// The names that assistive technology says for all controls that are shown within an element, with
    /// their markup.
    pub(crate) fn controls(&mut self, within: &str) -> Vec<(String, String)> {
        // The page draws sections anew each second; what was found before is gone then.
        let mut tries = 0..50;
        tries.find_map(|_| self.controls_of_now(within)).expect("a page that stands still for once")
    }

    /// The same; `None` when the page has drawn one of them anew meanwhile.
    fn controls_of_now(&mut self, within: &str) -> Option<Vec<(String, String)>> {
        const CONTROLS: &str = "a[href], button, input, select, textarea, summary, progress, \
            [role=img], [tabindex='0']";
        let all = json!({"using": "css selector", "value": format!("{within} :is({CONTROLS})")});
        let found = self.command("POST", "elements", &all);
        let mut controls = Vec::new();
        for element in found.as_array().expect("a list") {
            let id = element[ELEMENT].as_str().unwrap_or_default();
            if self.of_element("GET", &format!("element/{id}/displayed"), &json!({}))? == true {
                let label = format!("element/{id}/computedlabel");
                let name = self.of_element("GET", &label, &json!({}))?;
                let markup = json!({"script": "return arguments[0].outerHTML", "args": [element]});
                let markup = self.of_element("POST", "execute/sync", &markup)?;
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                controls.push((text(&name), text(&markup)));
            }
        }
        Some(controls)
    }

    /// What is said of an element; `None` when it is no part of the page any more.
    fn of_element(&mut self, method: &str, what: &str, body: &Value) -> Option<Value> {
        match self.try_command(method, what, body) {
            Ok(value) => Some(value),
            Err(error) if error["error"] == "stale element reference" => None,
            Err(error) => panic!("{what} {body}: {} {}", error["error"], error["message"]),
        }
    }

    /// Keeps a picture of what is shown, beside what was built.
    pub(crate) fn picture(&mut self, name: &str) {
        let picture = self.command("GET", "screenshot", &json!({}));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("admin-{name}.png"));
        let bytes = unbase64(picture.as_str().unwrap_or_default());
        std::fs::write(path, bytes).expect("a picture can be kept");
    }

    /// Ends the browser. Nothing went wrong in its console.
    pub(crate) fn finish(mut self) {
        let log = self.command("POST", "se/log", &json!({"type": "browser"}));
        let bad: Vec<_> = log
            .as_array()
            .into_iter()
            .flatten()
            .filter(|line| line["level"] == "SEVERE" || line["source"] == "security")
            .map(|line| line["message"].as_str().unwrap_or_default())
            .filter(|line| !self.expected.iter().any(|known| line.contains(known)))
            .collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its browser ends with the session. A test that fails shows its own reason.
        drop(self.connection.send("DELETE", &format!("/session/{}", self.session), b""));
        if let Some(driver) = self.driver.take() {
            driver.kill();
        }
    }
}

fn is_here(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// RFC 4648, section 4.
fn unbase64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let four = |letters: &[u8]| {
        let bits =
            (0..4).fold(0, |bits, at| bits << 6 | letters.get(at).map_or(0, |one| value(*one)));
        let [_, bytes @ ..] = bits.to_be_bytes();
        bytes.into_iter().take(letters.len() * 3 / 4).collect::<Vec<_>>()
    };
    text.chunks(4).flat_map(four).collect()
}
