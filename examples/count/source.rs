//! A source file as lines of code, its tests and comments left out.
//!
//! Owns: what counts as code. A file that cannot be read counts as empty.

use std::fs;
use std::path::Path;

/// One file below `src`.
pub(crate) struct Source {
    /// Path below `src`, with `/`.
    pub(crate) path: String,
    /// Lines that are neither blank nor comments nor tests, trimmed.
    pub(crate) code: Vec<String>,
    /// Lines that are comments.
    pub(crate) comments: usize,
}

impl Source {
    /// Whether a line of code holds the text.
    pub(crate) fn names(&self, text: &str) -> bool {
        self.code.iter().any(|line| line.contains(text))
    }

    /// Whether a line of code holds the word in any case, as it stands or inside a name.
    pub(crate) fn names_word(&self, word: &str) -> bool {
        self.code.iter().any(|line| line.to_lowercase().contains(word))
    }
}

/// Every file that is not a test, in order of its path.
pub(crate) fn read_all(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    collect(root, root, &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, sources);
            continue;
        }
        let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if below.ends_with(".rs") && !is_test(&below) {
            sources.push(read(below, &fs::read_to_string(&path).unwrap_or_default()));
        }
    }
}

fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.split('/').any(|part| part == "tests")
        || name == "tests.rs"
        || name == "fixtures.rs"
        || name.ends_with("_tests.rs")
}

fn read(path: String, text: &str) -> Source {
    let mut source = Source { path, code: Vec::new(), comments: 0 };
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(test)]") {
            skip_item(&mut lines);
        } else if line.starts_with("//") {
            source.comments += 1;
        } else if !line.is_empty() {
            source.code.push(line.to_owned());
        }
    }
    source
}

/// Skips the item behind a `#[cfg(test)]`: up to its `;`, or to the brace that closes it.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let mut depth = 0_i32;
    let mut opened = false;
    for line in lines.filter(|line| !line.starts_with("#[")) {
        let bare = without_texts(line);
        opened |= bare.contains('{');
        depth += braces(&bare);
        if opened && depth <= 0 || !opened && bare.ends_with(';') {
            return;
        }
    }
}

fn braces(line: &str) -> i32 {
    line.chars().map(|c| i32::from(c == '{') - i32::from(c == '}')).sum()
}

/// The line without what stands in quotes or behind `//`.
fn without_texts(line: &str) -> String {
    let line = line.replace("'{'", "").replace("'}'", "").replace("'\"'", "").replace("\\\"", "");
    let outside: String = line.split('"').step_by(2).collect();
    outside.split("//").next().unwrap_or_default().to_owned()
}
