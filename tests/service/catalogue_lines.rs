//! Catalogue files for the simulator: bad lines are skipped and named, a file of them is refused.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::support::gateway::{breakwater, simulate};
use crate::support::process::wait_until;

const LINES: &str = r#"{"id": "1001", "title": "Copper kettle, one litre", "price": "19.90", "currency": "USD", "category_path": ["Home", "Kitchen"]}
this is no JSON
{"title": "A product without an id", "price": "1.00", "currency": "USD"}

{"id": "1002", "title": "Copper pan, 24 cm", "price": "29.90", "currency": "USD", "category_path": ["Home", "Kitchen"]}
"#;

#[test]
fn a_bad_line_is_skipped_with_its_number_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalogue.jsonl");
    std::fs::write(&file, LINES).unwrap();
    let running = simulate(folder.path(), Some(&file));
    assert_eq!(running.connection().get("/__simulator/stats").unwrap().status, 200);
    let log = folder.path().join("simulator.log");
    let mut lines = Vec::new();
    wait_until("both are told", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(&log).unwrap();
        let parsed = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines = parsed.filter(|line| line["msg"] == "catalogue line skipped").collect();
        lines.len() == 2
    });
    let told: Vec<_> =
        lines.iter().map(|line| (line["line"].as_u64(), line["reason"].as_str())).collect();
    assert_eq!(told, [(Some(2), Some("not_json")), (Some(3), Some("id_missing"))]);
    running.stop();
}

#[test]
fn a_file_without_a_good_line_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in
        [("empty.jsonl", ""), ("bad.jsonl", "nonsense\n{}\n"), ("bad.jsonl.gz", "no gzip")]
    {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let (status, complaint) = refused(folder.path(), &file);
        assert_eq!(status, Some(1), "{name}: {complaint}");
        assert!(complaint.contains(name), "{complaint}");
    }
    let (status, complaint) = refused(folder.path(), &folder.path().join("absent.jsonl"));
    assert_eq!(status, Some(1), "{complaint}");
    assert!(complaint.contains("absent.jsonl"), "{complaint}");
}

fn refused(folder: &std::path::Path, file: &std::path::Path) -> (Option<i32>, String) {
    let mut command = breakwater(folder);
    command.args(["simulate", "--listen", "127.0.0.1:0", "--catalog"]).arg(file);
    let Output { status, stderr, stdout } = command.output().expect("it runs");
    assert!(stdout.is_empty(), "it does not listen");
    (status.code(), String::from_utf8(stderr).unwrap())
}
