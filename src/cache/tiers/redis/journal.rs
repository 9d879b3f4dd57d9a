//! The journal of invalidations: a Redis stream that every instance writes and reads.
//!
//! Owns: appending, reading on from where one was, and noticing that the journal is another one:
//! Redis was flushed, restarted empty or replaced. Then it is read from its beginning, which does no
//! harm since an invalidation is a time. Refuses: to interpret records. Without Redis nothing is
//! read, and what was to be written belongs to the arrears.

use crate::redis::{self, Effect, Pipeline, keys};

use super::RedisTier;
use crate::failure::StoreError;

/// Records kept in the journal, roughly: Redis cuts off whole blocks only.
const KEPT: u32 = 10_000;
/// The name of a record's only field.
const FIELD: &str = "r";
/// The name of the field of a record that only makes the journal one that can be told from others.
const MARK: &str = "begun";
/// The position before the first record.
const START: &str = "0";

/// One record as it was read: its id, and its fields and values in turn.
type Record = (String, Vec<Vec<u8>>);

/// What was read from the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Ids and texts, oldest first.
    pub records: Vec<(String, String)>,
    /// Where to read on; to be given to the next [`RedisTier::read_after`].
    pub position: String,
    /// The record last read is gone, because the journal is another one or because it was too long
    /// ago: these are read from the beginning, and others may have been missed.
    pub begun_anew: bool,
}

impl Page {
    /// Whether nothing was ever read: whether the journal is lost from here on could not be told.
    #[must_use]
    pub fn is_at_start(&self) -> bool {
        self.position == START
    }
}

/// How to go on after a look at the journal.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// These follow what was read before.
    On(Vec<Record>),
    /// What was read before is gone: read from the beginning.
    Anew,
}

/// Decides by what was found from the record last read (`last`, included) on. A journal that still
/// has that record is the one that was read; any other, whether its ids are lower or higher, is not.
fn way(last: &str, mut found: Vec<Record>) -> Way {
    if last == START {
        return Way::On(found);
    }
    if found.first().is_none_or(|(id, _)| id != last) {
        return Way::Anew;
    }
    found.remove(0);
    Way::On(found)
}

/// Whether Redis would take this for an id: a number, or two with a dash between.
fn is_position(text: &str) -> bool {
    let number = |part: &str| part.parse::<u64>().is_ok();
    text.split_once('-').map_or_else(|| number(text), |(time, count)| number(time) && number(count))
}

/// A page of records; those that Breakwater did not write are passed over.
fn page(from: &str, records: Vec<Record>, begun_anew: bool) -> Page {
    let position = records.last().map_or(from, |(id, _)| id).to_owned();
    let text = |(id, fields): Record| {
        let mut fields = fields.into_iter();
        let ours = fields.next().is_some_and(|name| name == FIELD.as_bytes());
        let value = fields.next().filter(|_| ours)?;
        Some((id, String::from_utf8(value).ok()?))
    };
    Page { records: records.into_iter().filter_map(text).collect(), position, begun_anew }
}

impl RedisTier {
    /// Appends a record; its id.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn append(&self, record: &str) -> Result<String, StoreError> {
        let ids = self.append_many(&[record]).await?;
        ids.into_iter().next().ok_or_else(|| StoreError::Failed("no id for a record".to_owned()))
    }

    /// Appends records in their order, in one round trip; their ids. Something else in the
    /// journal's place is replaced.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been appended.
    pub async fn append_many(&self, records: &[&str]) -> Result<Vec<String>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.redis.many(additions(records), Effect::Adds).await;
        match &appended {
            Err(StoreError::Refused(cause)) if cause.starts_with("WRONGTYPE") => {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys::JOURNAL);
                let () = self.redis.one(unlink, Effect::Drops).await?;
                self.redis.many(additions(records), Effect::Adds).await
            }
            Ok(_) | Err(_) => appended,
        }
    }

    /// Puts a record into an empty journal that says nothing: whoever has read it notices when the
    /// journal is lost, which nobody could tell of a journal that was empty before.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn mark_journal(&self) -> Result<(), StoreError> {
        let mut command = redis::cmd("XADD");
        command.arg(keys::JOURNAL).arg("MAXLEN").arg("~").arg(KEPT).arg("*").arg(MARK).arg(1);
        self.redis.one::<String>(command, Effect::Adds).await.map(drop)
    }

    /// At most `count` records after `last`, which is the last [`Page::position`], or `0` for the
    /// beginning. Usually one round trip; two when the record last read is gone.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn read_after(&self, last: &str, count: usize) -> Result<Page, StoreError> {
        let last = if is_position(last) { last } else { START };
        // From the last one on, itself included: that it is there shows that nothing was lost.
        let itself = usize::from(last != START);
        match way(last, self.range(last, count.saturating_add(itself)).await?) {
            Way::On(records) => Ok(page(last, records, false)),
            Way::Anew => Ok(page(START, self.range(START, count).await?, true)),
        }
    }

    async fn range(&self, from: &str, count: usize) -> Result<Vec<Record>, StoreError> {
        let mut command = redis::cmd("XRANGE");
        command.arg(keys::JOURNAL).arg(from).arg("+").arg("COUNT").arg(count);
        self.redis.one(command, Effect::Reads).await
    }
}

fn additions(records: &[&str]) -> Pipeline {
    let mut commands = Pipeline::with_capacity(records.len());
    for record in records {
        commands.cmd("XADD").arg(keys::JOURNAL).arg("MAXLEN").arg("~").arg(KEPT);
        commands.arg("*").arg(FIELD).arg(*record);
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(ids: &[&str]) -> Vec<Record> {
        ids.iter().map(|id| ((*id).to_owned(), vec![b"r".to_vec(), b"text".to_vec()])).collect()
    }

    #[test]
    fn the_journal_is_read_on_while_the_last_record_is_there() {
        assert_eq!(way("5-0", records(&["5-0", "6-0"])), Way::On(records(&["6-0"])));
        assert_eq!(way("5-0", records(&["5-0"])), Way::On(Vec::new()));
        assert_eq!(way("0", records(&["1-0"])), Way::On(records(&["1-0"])));
        assert_eq!(way("0", Vec::new()), Way::On(Vec::new()));
    }

    #[test]
    fn another_journal_is_read_from_the_beginning() {
        // Flushed, or the last id there is lower than ours.
        assert_eq!(way("5-0", Vec::new()), Way::Anew);
        // Flushed and written since, cut off, or another server's that happens to be ahead.
        assert_eq!(way("5-0", records(&["5-1", "6-0"])), Way::Anew);
    }

    #[test]
    fn the_position_is_that_of_the_last_record_or_stays() {
        assert_eq!(page("5-0", records(&["6-0", "7-0"]), false).position, "7-0");
        assert_eq!(page("5-0", Vec::new(), false).position, "5-0");
        assert_eq!(page("0", Vec::new(), true).position, "0");
    }

    #[test]
    fn what_others_wrote_is_passed_over_but_counts_as_read() {
        let mut found = records(&["6-0"]);
        found.push(("7-0".to_owned(), vec![b"x".to_vec(), b"y".to_vec()]));
        found.push(("8-0".to_owned(), vec![b"r".to_vec(), vec![0xff]]));
        found.push(("9-0".to_owned(), Vec::new()));
        let page = page("5-0", found, false);
        assert_eq!(page.records, [("6-0".to_owned(), "text".to_owned())]);
        assert_eq!(page.position, "9-0");
    }

    #[test]
    fn only_ids_are_positions() {
        assert!(is_position("0") && is_position("1700000000000-3"));
        for text in ["", "-", "+", "$", "(5-0", "5-", "5-0-0", "-5", " 5"] {
            assert!(!is_position(text), "{text}");
        }
    }
}
