//! Records that all instances share: a map in Redis, of each subject the latest.
//!
//! Owns: merging records in (a script, so that of two instances neither overwrites the other), reading
//! those that came after a version, and noticing that something was lost: the map was flushed, a part
//! of it evicted, or something else put in its place. A record is a text that begins with [`STAMP`] digits, and the greater digits
//! win; what has no such beginning is replaced by what has. Refuses: to interpret the rest.

use deadpool_redis::redis;

use super::standing::Effect;
use super::{RedisTier, names};
use crate::cache::tiers::TierError;

/// Digits that a record begins with.
const STAMP: usize = 35;

/// Whether the three parts belong together. `KEYS`: what the map is called and its version, the
/// subjects by version, the records by subject.
const WHOLE: &str = "local function whole() for i,t in ipairs({'hash','zset','hash'}) do \
    if redis.call('TYPE',KEYS[i]).ok~=t then return false end end \
    return redis.call('HLEN',KEYS[3])==redis.call('ZCARD',KEYS[2]) \
    and redis.call('HEXISTS',KEYS[1],'name')==1 end ";

/// `ARGV`: the name and version read last, and how many at most. Answers name, version read to, 1 if
/// there is more, and subjects and records in turn.
const READ: &str = "if not whole() then return {'','0','0'} end \
    local name=redis.call('HGET',KEYS[1],'name') \
    local now=redis.call('HGET',KEYS[1],'version') or '0' \
    local from=ARGV[2] if name~=ARGV[1] then from='0' end \
    local found=redis.call('ZRANGEBYSCORE',KEYS[2],'('..from,'+inf','WITHSCORES','LIMIT',0,ARGV[3]) \
    local more='0' if #found>=2*tonumber(ARGV[3]) then more='1' now=found[#found] end \
    local out={name,now,more} \
    for i=1,#found,2 do out[#out+1]=found[i] out[#out+1]=redis.call('HGET',KEYS[3],found[i]) or '' end \
    return out";

/// `ARGV`: a name for a map that is begun, the digits of a stamp, and subjects and records in turn.
const MERGE: &str = "if not whole() then redis.call('DEL',KEYS[1],KEYS[2],KEYS[3]) \
    redis.call('HSET',KEYS[1],'name',ARGV[1]) end \
    local n=tonumber(ARGV[2]) local form='^'..string.rep('%d',n) \
    for i=3,#ARGV,2 do local s,r=ARGV[i],ARGV[i+1] local held=redis.call('HGET',KEYS[3],s) \
    if not held or not string.find(held,form) or string.sub(held,1,n)<string.sub(r,1,n) then \
    redis.call('HSET',KEYS[3],s,r) \
    redis.call('ZADD',KEYS[2],redis.call('HINCRBY',KEYS[1],'version',1),s) end end \
    return redis.call('HGET',KEYS[1],'name')";

/// `ARGV`: subjects and records in turn; each is taken out if it is still the same. The last one
/// stays: a map without any would be a lost one.
const FORGET: &str = "local n=0 for i=1,#ARGV,2 do \
    if redis.call('HLEN',KEYS[3])>1 and redis.call('HGET',KEYS[3],ARGV[i])==ARGV[i+1] then \
    redis.call('HDEL',KEYS[3],ARGV[i]) redis.call('ZREM',KEYS[2],ARGV[i]) n=n+1 end end return n";

/// A page of the map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// What the map is called; empty if there is none.
    pub name: String,
    /// The version that was read to.
    pub version: u64,
    /// Whether there is more.
    pub more: bool,
    /// Subjects and records.
    pub records: Vec<(String, String)>,
}

impl RedisTier {
    /// At most `most` records that came after a version of the map of this name; from its beginning
    /// if it has another name.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn read_records(
        &self,
        name: &str,
        version: u64,
        most: usize,
    ) -> Result<Records, TierError> {
        let mut command = script(READ);
        command.arg(name).arg(version).arg(most);
        let told: Vec<Vec<u8>> = self.exchange.one(command, Effect::Reads).await?;
        Ok(read(told))
    }

    /// Puts records in, each unless one with greater digits is there. A map that is not there is begun
    /// under this name; the name it has.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been put in.
    pub async fn merge_records(
        &self,
        name: &str,
        records: &[(String, String)],
    ) -> Result<String, TierError> {
        let mut command = script(MERGE);
        command.arg(name).arg(STAMP);
        for (subject, record) in records {
            command.arg(subject).arg(record);
        }
        self.exchange.one(command, Effect::Adds).await
    }

    /// Takes records out, each unless it has changed.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been taken out.
    pub async fn forget_records(&self, records: &[(String, String)]) -> Result<(), TierError> {
        let mut command = redis::cmd("EVAL");
        command.arg(FORGET).arg(names::RECORDS.len()).arg(&names::RECORDS);
        for (subject, record) in records {
            command.arg(subject).arg(record);
        }
        self.exchange.one::<u64>(command, Effect::Drops).await.map(drop)
    }
}

fn script(rest: &str) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(format!("{WHOLE}{rest}")).arg(names::RECORDS.len()).arg(&names::RECORDS);
    command
}

/// What is no text is passed over.
fn read(told: Vec<Vec<u8>>) -> Records {
    let mut told = told.into_iter().map(|word| String::from_utf8(word).unwrap_or_default());
    let name = told.next().unwrap_or_default();
    let version = told.next().and_then(|version| version.parse().ok()).unwrap_or_default();
    let more = told.next().is_some_and(|more| more == "1");
    let mut records = Vec::new();
    while let (Some(subject), Some(record)) = (told.next(), told.next()) {
        records.push((subject, record));
    }
    Records { name, version, more, records }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_it_was_told() {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(read(words(&["", "0", "0"])), Records::default());
        let page = read(words(&["n", "7", "1", "a", "1", "b", "2", "odd"]));
        assert_eq!((page.name.as_str(), page.version, page.more), ("n", 7, true));
        assert_eq!(page.records, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(read(Vec::new()), Records::default());
    }
}
