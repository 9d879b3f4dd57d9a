//! Marks: by which a file is known to be what it was, and to have only grown since.
//!
//! Owns: the statements on `access_marks`. Whoever changes keys or lists leaves a mark that is never
//! drawn twice. A file that does not know the mark it showed last is another one, or was put back to
//! older contents; that it has as many changes, or more, proves nothing. Refuses nothing; a file that
//! takes no writes has no new marks, and needs none.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::database::Connection;

/// Marks that are kept. Whoever has not looked for longer reads everything again.
const KEPT: i64 = 1_000;

const LAST: &str = "SELECT number, CAST(mark AS TEXT) AS mark FROM access_marks \
     ORDER BY number DESC LIMIT 1";
const AT: &str = "SELECT number, CAST(mark AS TEXT) AS mark FROM access_marks WHERE number = ?";
const LEAVE: &str = "INSERT INTO access_marks (mark) VALUES (?)";
const FORGET: &str =
    "DELETE FROM access_marks WHERE number <= (SELECT max(number) FROM access_marks) - ?";

/// A mark, and which it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, QueryableByName)]
pub(super) struct Mark {
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Nullable<Text>)]
    mark: Option<String>,
}

/// The last one, if there is any.
pub(super) fn last(connection: &mut Connection) -> QueryResult<Option<Mark>> {
    sql_query(LAST).get_result(connection).optional()
}

/// Whether a mark is still there; of none, whether there is none still.
pub(super) fn is_known(connection: &mut Connection, mark: Option<&Mark>) -> QueryResult<bool> {
    let Some(mark) = mark else { return last(connection).map(|last| last.is_none()) };
    let found = sql_query(AT).bind::<BigInt, _>(mark.number).get_result(connection).optional()?;
    Ok(found.as_ref() == Some(mark))
}

/// Leaves one, in a file that showed this one last, which may be behind by now. The new one, if the
/// file knows the other; whoever shows the old one otherwise will find out.
pub(super) fn leave_after(
    connection: &mut Connection,
    mark: Option<&Mark>,
) -> QueryResult<Option<Mark>> {
    let goes_on = is_known(connection, mark)?;
    let drawn = format!("{:032x}", fastrand::u128(..));
    sql_query(LEAVE).bind::<Text, _>(drawn).execute(connection)?;
    sql_query(FORGET).bind::<BigInt, _>(KEPT).execute(connection)?;
    if goes_on { last(connection) } else { Ok(mark.cloned()) }
}
