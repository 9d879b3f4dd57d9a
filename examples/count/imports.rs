//! Which file imports which, and the circles in that.
//!
//! Owns: reading `use` lines and following what a module passes on with `pub use` to the file that
//! defines it. A module that passes on what is inside it does not count as importing it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The imports between the files.
pub(crate) struct Imports {
    files: Graph,
}

impl Imports {
    pub(crate) fn of(sources: &[Source]) -> Self {
        let modules: BTreeMap<String, &Source> =
            sources.iter().map(|source| (module(&source.path), source)).collect();
        let passed: BTreeMap<&str, Vec<Vec<String>>> = modules
            .iter()
            .map(|(name, source)| (name.as_str(), uses(source, name, true)))
            .collect();
        let mut files = Graph::new();
        for (name, source) in &modules {
            let found = uses(source, name, false).into_iter();
            let targets = found.filter_map(|path| resolve(&modules, &passed, &path, 0));
            let others = targets.filter(|target| target != name).collect();
            files.insert(name.clone(), others);
        }
        Self { files }
    }

    /// Sets of files that import each other.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        circles(&self.files)
    }

    /// Sets of rooms that import each other; `app` and `main` put all together and do not count.
    pub(crate) fn room_circles(&self) -> Vec<Vec<String>> {
        let room = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
        let mut rooms = Graph::new();
        for (from, targets) in &self.files {
            let to = targets.iter().map(|target| room(target)).filter(|to| *to != room(from));
            rooms.entry(room(from)).or_default().extend(to);
        }
        circles(&rooms)
    }
}

/// `cache/tiers/mod.rs` is the module `cache::tiers`.
fn module(path: &str) -> String {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.replace('/', "::")
}

/// The full paths of what a file uses (`passing`: of what it passes on), from the root of the crate.
fn uses(source: &Source, module: &str, passing: bool) -> Vec<Vec<String>> {
    let text = source.code.join(" ");
    let mut paths = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("use ") {
        let (before, after) = rest.split_at(at);
        let Some((statement, behind)) = after.split_once(';') else { break };
        let tail = before.trim_end();
        let starts =
            tail.is_empty() || tail.ends_with([';', '}', ')', '{', ']']) || tail.ends_with("pub");
        let passes = tail.ends_with("pub") || tail.ends_with(')') && tail.contains("pub(");
        if starts && passes == passing {
            let mut found = Vec::new();
            expand(statement.trim_start_matches("use "), &mut Vec::new(), &mut found);
            paths.extend(found.into_iter().filter_map(|path| absolute(&path, module)));
        }
        rest = behind;
    }
    paths
}

/// Writes `a::{b, c::d}` as `a::b` and `a::c::d`.
fn expand(text: &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let text = text.trim();
    if let Some((head, group)) = text.split_once('{') {
        let depth = prefix.len();
        prefix.extend(
            head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned),
        );
        for part in parts(group.trim_end().trim_end_matches('}')) {
            expand(part, prefix, found);
        }
        prefix.truncate(depth);
    } else if !text.is_empty() {
        let name = text.split(" as ").next().unwrap_or(text);
        let mut path = prefix.clone();
        path.extend(name.split("::").map(|part| part.trim().to_owned()));
        found.push(path);
    }
}

/// Splits at the commas that stand in no inner braces.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.extend(text.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    found.extend(text.get(from..));
    found
}

/// From the crate's root; nothing for other crates.
fn absolute(path: &[String], module: &str) -> Option<Vec<String>> {
    let mut here: Vec<String> = module.split("::").map(str::to_owned).collect();
    let mut path = path.iter().peekable();
    match path.peek()?.as_str() {
        "crate" => {
            path.next();
            here.clear();
        }
        "self" => {
            path.next();
        }
        "super" => {
            while path.next_if(|part| *part == "super").is_some() {
                here.pop();
            }
        }
        _ => {}
    }
    here.extend(path.filter(|part| *part != "self").cloned());
    Some(here)
}

/// The module that defines what a path leads to.
fn resolve(
    modules: &BTreeMap<String, &Source>,
    passed: &BTreeMap<&str, Vec<Vec<String>>>,
    path: &[String],
    depth: usize,
) -> Option<String> {
    let known = (1..=path.len()).rev().find_map(|length| {
        let name = path.get(..length)?.join("::");
        modules.contains_key(&name).then_some((length, name))
    });
    let (length, name) = known?;
    let item = path.get(length);
    let passes = passed.get(name.as_str()).into_iter().flatten();
    let onward = item.and_then(|item| passes.into_iter().find(|path| path.last() == Some(item)));
    match onward {
        Some(onward) if depth < 8 => resolve(modules, passed, onward, depth + 1).or(Some(name)),
        _ => Some(name),
    }
}

/// Strongly connected sets of more than one node: those that reach each other.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for from in graph.keys() {
        let both = |to: &&String| {
            let forth = reach.get(from).is_some_and(|reached| reached.contains(*to));
            forth && reach.get(*to).is_some_and(|reached| reached.contains(from))
        };
        let circle: Vec<String> = graph.keys().filter(both).cloned().collect();
        if circle.len() > 1 && seen.insert(circle.clone()) {
            found.push(circle);
        }
    }
    found
}

fn reachable<'a>(graph: &'a Graph, from: &'a String) -> BTreeSet<&'a String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(node) = open.pop() {
        for next in graph.get(node).into_iter().flatten() {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}
