//! Records that all instances share: a map in Redis, of each subject the latest.
//!
//! Owns: merging records in (a script, so that of two instances neither overwrites the other), reading
//! those that came after a version, and noticing that something was lost: the map was flushed, a part
//! of it evicted, something else put in its place, or it is an older one than it was (restored from a
//! file, or on a replica that was behind). For that every merge that changes something leaves a mark
//! in the map, a number and a text that is never drawn twice, and whoever asks shows the mark he was
//! told last. The last [`MARKS`] are known; who shows an older one reads all of it again. A record is a
//! text that begins with [`STAMP`] digits, and the greater digits win; what has no such beginning is
//! replaced by what has. Refuses: to interpret the rest.

use crate::redis::{self, Effect, keys};

use super::RedisTier;
use crate::failure::StoreError;

/// Digits that a record begins with.
const STAMP: usize = 35;

/// Marks that are known.
const MARKS: usize = 1_024;

/// Whether the three parts belong together; the last mark; whether a mark is known. `KEYS`: what is
/// known about the map (its version, how many merges there were, and their last marks), the subjects
/// by version, the records by subject. `ARGV[1]`: the mark that was told last, `ARGV[2]`: how many
/// are known.
const COMMON: &str = "local function about(f) return redis.call('HGET',KEYS[1],f) end \
    local function whole() for i,t in ipairs({'hash','zset','hash'}) do \
    if redis.call('TYPE',KEYS[i]).ok~=t then return false end end \
    return redis.call('HLEN',KEYS[3])==redis.call('ZCARD',KEYS[2]) \
    and tonumber(about('version') or '') and tonumber(about('merges') or '') end \
    local function field(n) return 'mark:'..(n%tonumber(ARGV[2])) end \
    local function last() return about(field(tonumber(about('merges')))) or '' end \
    local function known() if ARGV[1]=='' then return true end \
    local n=tonumber(string.match(ARGV[1],'^%d+') or '') return n and about(field(n))==ARGV[1] end ";

/// `ARGV` goes on: the version read last, and how many at most. Answers the last mark, 1 if the one
/// told last is known, the version read to, 1 if there is more, and subjects and records in turn.
const READ: &str = "if not whole() then return {'',ARGV[1]=='' and '1' or '0','0','0'} end \
    local on,from='1',ARGV[3] if not known() then on='0' from='0' end local now=about('version') \
    local found=redis.call('ZRANGEBYSCORE',KEYS[2],'('..from,'+inf','WITHSCORES','LIMIT',0,ARGV[4]) \
    local more='0' if #found>=2*tonumber(ARGV[4]) then more='1' now=found[#found] end \
    local out={last(),on,now,more} \
    for i=1,#found,2 do out[#out+1]=found[i] out[#out+1]=redis.call('HGET',KEYS[3],found[i]) or '' end \
    return out";

/// `ARGV` goes on: what to make a mark of, the digits of a stamp, and subjects and records in turn.
/// Answers the last mark, and 1 if the one told last is known.
const MERGE: &str = "local on=ARGV[1]=='' if whole() then on=known() else \
    redis.call('DEL',KEYS[1],KEYS[2],KEYS[3]) \
    redis.call('HSET',KEYS[1],'version','0') redis.call('HSET',KEYS[1],'merges','0') end \
    local n=tonumber(ARGV[4]) local form='^'..string.rep('%d',n) local changed=false \
    for i=5,#ARGV,2 do local s,r=ARGV[i],ARGV[i+1] local held=redis.call('HGET',KEYS[3],s) \
    if not held or not string.find(held,form) or string.sub(held,1,n)<string.sub(r,1,n) then \
    changed=true redis.call('HSET',KEYS[3],s,r) \
    redis.call('ZADD',KEYS[2],redis.call('HINCRBY',KEYS[1],'version',1),s) end end \
    if changed then local m=redis.call('HINCRBY',KEYS[1],'merges',1) \
    redis.call('HSET',KEYS[1],field(m),m..' '..ARGV[3]) end \
    return {last(),on and '1' or '0'}";

/// `ARGV`: subjects and records in turn; each is taken out if it is still the same. The last one
/// stays: a map without any would be a lost one.
const FORGET: &str = "local n=0 for i=1,#ARGV,2 do \
    if redis.call('HLEN',KEYS[3])>1 and redis.call('HGET',KEYS[3],ARGV[i])==ARGV[i+1] then \
    redis.call('HDEL',KEYS[3],ARGV[i]) redis.call('ZREM',KEYS[2],ARGV[i]) n=n+1 end end return n";

/// A page of the map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// The mark of the last merge; empty if there is no map.
    pub mark: String,
    /// Whether the mark that was told last is known: the map went on from there, and so does this
    /// page. Otherwise it is from the map's beginning.
    pub goes_on: bool,
    /// The version that was read to.
    pub version: u64,
    /// Whether there is more.
    pub more: bool,
    /// Subjects and records.
    pub records: Vec<(String, String)>,
}

impl RedisTier {
    /// At most `most` records that came after a version of the map that told this mark; from its
    /// beginning if it does not know the mark. Every map knows the empty one.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn read_records(
        &self,
        mark: &str,
        version: u64,
        most: usize,
    ) -> Result<Records, StoreError> {
        let mut command = script(READ, mark);
        command.arg(version).arg(most);
        let told: Vec<Vec<u8>> = self.redis.one(command, Effect::Reads).await?;
        Ok(read(told))
    }

    /// Puts records in, each unless one with greater digits is there. The mark of the last merge then,
    /// if the map knows the one it told last; `chance` makes the mark of this one.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been put in.
    pub async fn merge_records(
        &self,
        mark: &str,
        chance: u128,
        records: &[(String, String)],
    ) -> Result<Option<String>, StoreError> {
        let mut command = script(MERGE, mark);
        command.arg(format!("{chance:032x}")).arg(STAMP);
        for (subject, record) in records {
            command.arg(subject).arg(record);
        }
        let told = self.redis.one::<(String, String)>(command, Effect::Adds).await;
        told.map(|(mark, goes_on)| Some(mark).filter(|_| goes_on == "1"))
    }

    /// Takes records out, each unless it has changed.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been taken out.
    pub async fn forget_records(&self, records: &[(String, String)]) -> Result<(), StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(FORGET).arg(keys::RECORDS.len()).arg(&keys::RECORDS);
        for (subject, record) in records {
            command.arg(subject).arg(record);
        }
        self.redis.one::<u64>(command, Effect::Drops).await.map(drop)
    }
}

fn script(rest: &str, mark: &str) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(format!("{COMMON}{rest}")).arg(keys::RECORDS.len()).arg(&keys::RECORDS);
    command.arg(mark).arg(MARKS);
    command
}

/// What is no text is passed over.
fn read(told: Vec<Vec<u8>>) -> Records {
    let mut told = told.into_iter().map(|word| String::from_utf8(word).unwrap_or_default());
    let mark = told.next().unwrap_or_default();
    let goes_on = told.next().is_some_and(|on| on == "1");
    let version = told.next().and_then(|version| version.parse().ok()).unwrap_or_default();
    let more = told.next().is_some_and(|more| more == "1");
    let mut records = Vec::new();
    while let (Some(subject), Some(record)) = (told.next(), told.next()) {
        records.push((subject, record));
    }
    Records { mark, goes_on, version, more, records }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_it_was_told() {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(read(words(&["", "0", "0", "0"])), Records::default());
        let page = read(words(&["3 n", "1", "7", "1", "a", "1", "b", "2", "odd"]));
        let (mark, goes_on) = (page.mark.as_str(), page.goes_on);
        assert_eq!((mark, goes_on, page.version, page.more), ("3 n", true, 7, true));
        assert_eq!(page.records, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(read(Vec::new()), Records::default());
    }
}
