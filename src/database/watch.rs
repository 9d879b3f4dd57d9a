//! Watching statements: what kind each was, how long it took, and the shape of one that was slow.
//!
//! Owns: the kinds that are told apart, from when on a statement is slow, and its shape: the text
//! without what is bound and without numbers. Whoever watches must not block and cannot fail.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::{DebugQuery, Instrumentation, InstrumentationEvent};

use crate::clock;

/// From here on a statement is slow: a reader of the cache has given up long before the statement ends.
const SLOW: Duration = Duration::from_millis(100);
/// Bytes of a statement that are shown.
const LONGEST: usize = 1_000;

/// What a statement does, by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryType {
    Select,
    Insert,
    Update,
    Delete,
    /// Begins, ends or takes back a transaction.
    Transaction,
    /// Settings of a connection, locks, steps of the schema.
    Other,
}

impl QueryType {
    pub const ALL: [Self; 6] =
        [Self::Select, Self::Insert, Self::Update, Self::Delete, Self::Transaction, Self::Other];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Transaction => "transaction",
            Self::Other => "other",
        }
    }

    fn of(statement: &str) -> Self {
        let word = statement.split(|letter: char| !letter.is_ascii_alphabetic()).next();
        match word.unwrap_or_default().to_ascii_lowercase().as_str() {
            "select" => Self::Select,
            "insert" => Self::Insert,
            "update" => Self::Update,
            "delete" => Self::Delete,
            "begin" | "commit" | "rollback" | "savepoint" | "release" => Self::Transaction,
            _ => Self::Other,
        }
    }
}

/// A statement that has ended, well or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub kind: QueryType,
    pub took: Duration,
    /// The beginning of a slow one.
    pub statement: Option<String>,
}

/// Told of every statement. Clones tell the same.
#[derive(Clone)]
pub struct Watch {
    slow: Duration,
    told: Arc<dyn Fn(Ran) + Send + Sync>,
}

impl Watch {
    pub fn new(told: impl Fn(Ran) + Send + Sync + 'static) -> Self {
        Self { slow: SLOW, told: Arc::new(told) }
    }

    /// Every statement is slow enough to be shown.
    pub fn of_all_statements(self) -> Self {
        Self { slow: Duration::ZERO, ..self }
    }

    /// Watches one connection.
    pub(super) fn timer(&self) -> impl Instrumentation {
        Timer { watch: self.clone(), began: None }
    }
}

impl Default for Watch {
    /// Nobody is told.
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

struct Timer {
    watch: Watch,
    began: Option<Instant>,
}

impl Instrumentation for Timer {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { .. } = event {
            self.began = Some(clock::monotonic());
        } else if let InstrumentationEvent::FinishQuery { query, .. } = event
            && let Some(began) = self.began.take()
        {
            let took = clock::monotonic().saturating_duration_since(began);
            let statement = (took >= self.watch.slow).then(|| beginning(query, LONGEST));
            let kind = QueryType::of(&beginning(query, LONGEST_WORD));
            (self.watch.told)(Ran { kind, took, statement });
        }
    }
}

/// Enough for the longest first word and what follows it.
const LONGEST_WORD: usize = 12;

/// The beginning of a statement; what comes after, and what is bound, is not written out.
fn beginning(query: &dyn DebugQuery, bytes: usize) -> String {
    let mut beginning = Beginning { text: String::with_capacity(bytes), left: bytes };
    // It ends with an error when it has enough.
    write!(beginning, "{query}").unwrap_or_default();
    if let Some(bound) = beginning.text.find(" -- binds:") {
        beginning.text.truncate(bound);
    }
    beginning.text
}

struct Beginning {
    text: String,
    left: usize,
}

impl Write for Beginning {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let end = piece.char_indices().map(|(at, _)| at).take_while(|at| *at <= self.left).last();
        let end = if piece.len() <= self.left { piece.len() } else { end.unwrap_or_default() };
        self.text.push_str(piece.get(..end).unwrap_or_default());
        self.left = self.left.saturating_sub(end);
        if end < piece.len() || self.left == 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

/// `LIMIT 100` → `LIMIT ?`; marks of what is bound (`$1`) and names (`md5`) stay.
pub fn shape(statement: &str) -> String {
    let mut shape = String::with_capacity(statement.len());
    let mut before = ' ';
    for letter in statement.chars() {
        let is_part = before.is_ascii_alphanumeric() || matches!(before, '$' | '_' | '?');
        if !letter.is_ascii_digit() || is_part && before != '?' {
            shape.push(letter);
            before = letter;
        } else if before != '?' {
            shape.push('?');
            before = '?';
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use diesel::connection::{Connection as _, SimpleConnection as _};
    use diesel::sql_types::Text;
    use diesel::{RunQueryDsl as _, SqliteConnection, sql_query};

    use super::*;

    #[test]
    fn every_statement_is_told_with_its_kind() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&told);
        let watch = Watch::new(move |ran| noted.lock().unwrap().push(ran)).of_all_statements();
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection.set_instrumentation(watch.timer());
        connection.batch_execute("CREATE TABLE t (x TEXT)").unwrap();
        let insert = |connection: &mut SqliteConnection| {
            sql_query("INSERT INTO t VALUES (?)").bind::<Text, _>("x").execute(connection)
        };
        connection.transaction(insert).unwrap();
        sql_query("SELECT nothing").execute(&mut connection).unwrap_err();
        assert!(!format!("{:?}", told.lock().unwrap()).contains("binds"));
        let kinds: Vec<_> = told.lock().unwrap().iter().map(|ran| ran.kind.as_str()).collect();
        assert_eq!(kinds, ["other", "transaction", "insert", "transaction", "select"]);
    }

    #[test]
    fn a_shape_has_no_numbers() {
        let statement = "SELECT md5 FROM t2 WHERE a = $12 AND b < 1234 LIMIT 10";
        assert_eq!(shape(statement), "SELECT md5 FROM t2 WHERE a = $12 AND b < ? LIMIT ?");
    }

    #[test]
    fn of_a_long_statement_only_the_beginning_is_written() {
        let mut text = Beginning { text: String::new(), left: 4 };
        assert!(text.write_str("ab").is_ok());
        assert!(text.write_str("üüü").is_err());
        assert_eq!(text.text, "abü");
    }
}
