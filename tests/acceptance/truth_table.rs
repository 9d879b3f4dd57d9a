//! `docs/truth-table.md`, as the test reads it.
//!
//! Owns: the tables of the page and what they say about a case. Refuses: a page with a table that
//! is missing, or a row with another number of cells than its heading.

/// A state of Redis, SQL or the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    Slow,
    Down,
}

impl State {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Up, Self::Slow, Self::Down];

    /// As the page names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Slow => "slow",
            Self::Down => "down",
        }
    }
}

/// A case: the states of the parts, and the kind of key that is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) redis: State,
    pub(crate) sql: State,
    pub(crate) upstream: State,
}

/// What was answered, in the words of the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: String,
    pub(crate) tier: String,
    pub(crate) stale: String,
    pub(crate) degraded: Vec<String>,
}

/// The page.
#[derive(Debug)]
pub(crate) struct Page {
    answers: Vec<Vec<String>>,
    words: Vec<Vec<String>>,
    health: Vec<Vec<String>>,
}

impl Page {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let text = include_str!("../../docs/truth-table.md");
        Self {
            answers: table(text, "Answers", 8),
            words: table(text, "Words", 4),
            health: table(text, "Health", 3),
        }
    }

    /// Which line of the answers' table says this, if the page foresees it.
    pub(crate) fn line_for(&self, case: Case, key: &str, seen: &Seen) -> Option<usize> {
        let fitting = self.lines_of(case, key);
        fitting.into_iter().find(|line| self.says(&self.answers[*line], case, seen))
    }

    /// The lines that speak of this case.
    pub(crate) fn lines_of(&self, case: Case, key: &str) -> Vec<usize> {
        let states = [case.redis, case.sql, case.upstream].map(State::name);
        let speaks = |row: &Vec<String>| {
            row.iter().zip(states).all(|(cell, state)| names(cell, state)) && row[3] == key
        };
        (0..self.answers.len()).filter(|line| speaks(&self.answers[*line])).collect()
    }

    /// How many lines there are.
    pub(crate) const fn lines(&self) -> usize {
        self.answers.len()
    }

    fn says(&self, row: &[String], case: Case, seen: &Seen) -> bool {
        let told = [&seen.status, &seen.tier, &seen.stale];
        let own: Vec<&str> = list(&row[7]).filter(|word| *word != "-").collect();
        let always = if seen.status == "200" { self.words_for(case, "always") } else { Vec::new() };
        let sometimes = self.words_for(case, "sometimes");
        let named = |word: &&str| seen.degraded.iter().any(|seen| seen == word);
        let foreseen = |word: &String| {
            [&own, &always, &sometimes].iter().any(|words| words.contains(&word.as_str()))
        };
        row[4..7].iter().eq(told)
            && own.iter().chain(&always).all(named)
            && seen.degraded.iter().all(foreseen)
    }

    fn words_for(&self, case: Case, named: &str) -> Vec<&str> {
        let of_case = self
            .words
            .iter()
            .filter(|row| names(&row[1], state_of(case, &row[0]).name()) && row[3] == named);
        of_case.map(|row| row[2].as_str()).collect()
    }

    /// What health may say of a part (`Redis`, `SQL`, `upstream`) in this state.
    pub(crate) fn health_of(&self, part: &str, state: State) -> Vec<&str> {
        let rows = self.health.iter();
        let mut rows = rows.filter(|row| row[0] == part && names(&row[1], state.name()));
        let row = rows.next().unwrap_or_else(|| panic!("nothing about the health of {part}"));
        list(&row[2]).collect()
    }
}

fn state_of(case: Case, part: &str) -> State {
    match part {
        "Redis" => case.redis,
        "SQL" => case.sql,
        "upstream" => case.upstream,
        other => panic!("{other} is no part"),
    }
}

fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(',').map(str::trim)
}

fn names(cell: &str, state: &str) -> bool {
    cell == "any" || list(cell).any(|named| named == state)
}

/// The rows of the first table under this heading, without its own head.
fn table(text: &str, heading: &str, columns: usize) -> Vec<Vec<String>> {
    let start = text.find(&format!("\n## {heading}\n"));
    let start = start.unwrap_or_else(|| panic!("the page has no heading {heading}"));
    let lines = text[start..].lines().skip_while(|line| !line.starts_with('|'));
    let rows: Vec<Vec<String>> = lines
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "{heading}: no rows");
    let wrong = rows.iter().find(|row| row.len() != columns);
    assert!(wrong.is_none(), "{heading}: not {columns} cells: {wrong:?}");
    rows
}
