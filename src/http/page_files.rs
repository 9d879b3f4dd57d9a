//! The files of the operator's page, as they are sent.
//!
//! Owns: what is in `handlers/admin/page/`, built into the binary and packed once at the start. A leaf: it
//! knows no route, and packing fails for nobody.

use std::io::Write as _;

use actix_web::http::header::HeaderValue;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Name, type and text of every file; the first is the page.
const FILES: [(&str, &str, &str); 14] = [
    ("", HTML, include_str!("handlers/admin/page/index.html")),
    (
        "page.css",
        STYLE,
        concat!(
            include_str!("handlers/admin/page/page.css"),
            include_str!("handlers/admin/page/uplot.css")
        ),
    ),
    ("main.js", SCRIPT, include_str!("handlers/admin/page/main.js")),
    ("api.js", SCRIPT, include_str!("handlers/admin/page/api.js")),
    ("dom.js", SCRIPT, include_str!("handlers/admin/page/dom.js")),
    ("charts.js", SCRIPT, include_str!("handlers/admin/page/charts.js")),
    ("sections.js", SCRIPT, include_str!("handlers/admin/page/sections.js")),
    ("actions.js", SCRIPT, include_str!("handlers/admin/page/actions.js")),
    ("dialog.js", SCRIPT, include_str!("handlers/admin/page/dialog.js")),
    ("explain.js", SCRIPT, include_str!("handlers/admin/page/explain.js")),
    ("runbook.js", SCRIPT, include_str!("handlers/admin/page/runbook.js")),
    ("runbook.md", TEXT, include_str!("../../docs/runbook.md")),
    ("uplot.js", SCRIPT, include_str!("handlers/admin/page/uplot.js")),
    ("uplot.LICENSE", TEXT, include_str!("handlers/admin/page/uplot.LICENSE")),
];

/// The page where no key is configured: it says so at once, and asks for nothing.
pub(super) const CLOSED: &str = "closed";

/// The files as they are sent.
#[derive(Debug)]
pub struct PageFiles(Vec<File>);

#[derive(Debug)]
pub(super) struct File {
    name: &'static str,
    pub(super) kind: HeaderValue,
    pub(super) plain: Bytes,
    pub(super) packed: Bytes,
}

impl File {
    fn new(name: &'static str, kind: &'static str, plain: Bytes) -> Self {
        let packed = packed(&plain);
        Self { name, kind: HeaderValue::from_static(kind), plain, packed }
    }
}

impl PageFiles {
    /// Packs every file; once, at the start.
    #[must_use]
    pub fn pack() -> Self {
        let file = |(name, kind, text): (&'static str, &'static str, &'static str)| {
            File::new(name, kind, Bytes::from_static(text.as_bytes()))
        };
        let mut files: Vec<_> = FILES.into_iter().map(file).collect();
        let [(_, kind, page), ..] = FILES;
        files.push(File::new(CLOSED, kind, page.replacen("<html", "<html data-closed", 1).into()));
        Self(files)
    }

    pub(super) fn named(&self, name: &str) -> Option<&File> {
        self.0.iter().find(|file| file.name == name)
    }
}

/// Writing to memory does not fail; if it did, the text is empty and the plain one is sent.
fn packed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let done = encoder.write_all(plain).and_then(|()| encoder.finish());
    done.map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema as _;

    use super::*;
    use crate::http::live::summary::Kind;

    /// Packed, all of it.
    const LARGEST: usize = 60_000;

    #[test]
    fn the_page_is_small_and_names_every_script_it_needs() {
        let files = PageFiles::pack();
        let size: usize = files.0.iter().map(|file| file.packed.len()).sum();
        assert!(size < LARGEST, "{size}");
        let text: String = FILES.iter().map(|(.., text)| *text).collect();
        for (name, ..) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            assert!(text.contains(&format!("/{name}\"")), "nothing loads {name}");
        }
    }

    #[test]
    fn what_to_do_is_in_the_runbook() {
        let text = |wanted: &str| FILES.iter().find(|(name, ..)| *name == wanted).unwrap().2;
        let entries = text("runbook.js").split('"').filter(|word| word.starts_with("Breakwater"));
        let missing: Vec<_> =
            entries.filter(|one| !text("runbook.md").contains(&format!("\n## {one}\n"))).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let kinds = serde_json::to_value(Kind::schema()).unwrap();
        let kinds = kinds["enum"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap());
        let known = |kind: &&str| text("runbook.js").contains(&format!("  {kind}: \"Breakwater"));
        let unknown: Vec<_> = kinds.filter(|kind| !known(kind)).collect();
        assert!(unknown.is_empty(), "the page has no entry for {unknown:?}");
    }

    #[test]
    fn no_text_of_the_page_can_become_markup_or_come_from_elsewhere() {
        for (name, _, text) in FILES.iter().filter(|(name, ..)| !name.starts_with("uplot")) {
            for word in
                ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", " style="]
            {
                assert!(!text.contains(word), "{name}: {word}");
            }
            let far: Vec<_> = text.match_indices("://").collect();
            assert!(far.is_empty(), "{name}: {far:?}");
            for absolute in ["href=\"/", "src=\"/", "fetch(\"/", "from \"/"] {
                assert!(!text.contains(absolute), "{name}: {absolute} is not relative");
            }
        }
    }
}
