//! What Redis means by an error: one table for everyone.
//!
//! Owns: the kind of each error by its code or its words, which of them are kept, whether it stops writes only, and what an
//! operator can do about it. A code that is not in the table counts as a failure that passes.

use super::health::Fault;
use crate::config::said;

/// What an error asks of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another connection may lead to a server that does it.
    Reconnect,
    /// It stays until an operator changes something.
    Misconfigured,
    /// It passes by itself.
    Transient,
    /// It says nothing about any other command.
    ThisCommand,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnecting",
            Self::Misconfigured => "misconfigured",
            Self::Transient => "transient",
            Self::ThisCommand => "this command only",
        }
    }
}

/// How much of Redis an error takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stops {
    All,
    Writes,
    /// Redis is healthy and refuses the command at hand.
    This,
}

struct Row {
    /// The code of an error answer; empty for what names none.
    code: &'static str,
    /// What has to stand in the text.
    words: &'static str,
    kind: Kind,
    stops: Stops,
    advice: &'static str,
}

const fn row(
    code: &'static str,
    words: &'static str,
    kind: Kind,
    stops: Stops,
    advice: &'static str,
) -> Row {
    Row { code, words, kind, stops, advice }
}

const PASSWORD: &str = "check user and password in REDIS_URL";
const PERMISSION: &str = "the user of REDIS_URL needs permission for this command";
const REPLICA: &str = "REDIS_URL leads to a replica; connecting anew until it leads to the primary";
const NODE: &str =
    "REDIS_URL names one node of a cluster: write redis+cluster://host:port,host:port";
const NO_CLUSTER: &str = "this Redis is no cluster: write redis://host:port";
const DATABASE: &str = "check the number of the database in REDIS_URL";
const HOST: &str = "check host and port in REDIS_URL, where a password must be percent-encoded";
const NAME: &str = "write the host in REDIS_URL as in the certificate";
const PLAIN: &str = "this port speaks without TLS: redis:// instead of rediss://";
const RESET: &str = "if it stays so, does this port want TLS? rediss:// instead of redis:// then";
const FILE: &str = "mend the file; it is read again with the next connection";
const RENEW: &str = "renew the certificate of Redis";
const LOADS: &str = "Redis reads its data from disk and answers after that";
const SLOTS: &str = "the cluster does not serve all of its slots";
const SCRIPT: &str = "a script runs too long there; SCRIPT KILL ends it";
const REPLICAS: &str = "too few replicas are connected to Redis";
const SERVICE: &str = "check the service in REDIS_URL: redis+sentinel://host,host/service";
const MEMORY: &str =
    "raise maxmemory, or set maxmemory-policy to volatile-lru: every key of the gateway has an end";
const AUTHORITY: &str = "name who vouches for Redis in REDIS_CA_FILE";
const UNTRUSTED: &str = "Redis does not trust the certificate in REDIS_CERT_FILE";
const OWN_CERTIFICATE: &str = "Redis wants a certificate: set REDIS_CERT_FILE and REDIS_KEY_FILE";

/// The first row that fits counts.
const TABLE: &[Row] = &{
    use Kind::{Misconfigured, Reconnect, ThisCommand, Transient};
    use Stops::{All, This, Writes};
    [
        row("READONLY", "", Reconnect, Writes, REPLICA),
        row("MASTERDOWN", "", Reconnect, All, REPLICA),
        row("MOVED", "", Misconfigured, All, NODE),
        row("ASK", "", Misconfigured, All, NODE),
        row("CROSSSLOT", "", Misconfigured, All, NODE),
        row("CLUSTERDOWN", "", Transient, All, SLOTS),
        row("TRYAGAIN", "", Transient, All, ""),
        row("LOADING", "", Transient, All, LOADS),
        row("BUSY", "", Transient, All, SCRIPT),
        row("NOREPLICAS", "", Transient, Writes, REPLICAS),
        row("OOM", "", Misconfigured, Writes, MEMORY),
        row("MISCONF", "", Misconfigured, Writes, "Redis cannot save to its disk"),
        row("NOPERM", "", Misconfigured, Writes, PERMISSION),
        row("NOAUTH", "", Misconfigured, All, PASSWORD),
        row("WRONGPASS", "", Misconfigured, All, PASSWORD),
        row("WRONGTYPE", "", ThisCommand, This, ""),
        row("NOSCRIPT", "", ThisCommand, This, ""),
        row("ERR", "unknown command", Misconfigured, This, PERMISSION),
        row("ERR", "Unknown Redis command", Misconfigured, This, PERMISSION),
        row("ERR", "script", Misconfigured, This, PERMISSION),
        row("ERR", "cluster support disabled", Misconfigured, All, NO_CLUSTER),
        row("ERR", "DB index", Misconfigured, All, DATABASE),
        row("ERR", "SELECT is not allowed in cluster", Misconfigured, All, NODE),
        row("ERR", "invalid password", Misconfigured, All, PASSWORD),
        row("ERR", "No such master", Misconfigured, All, SERVICE),
        row("ERR", "AUTH", Misconfigured, All, PASSWORD),
        row("", "AuthenticationFailed", Misconfigured, All, PASSWORD),
        row("", "DB index", Misconfigured, All, DATABASE),
        row("", "certificate: UnknownIssuer", Misconfigured, All, AUTHORITY),
        row("", "certificate: BadSignature", Misconfigured, All, AUTHORITY),
        row("", "alert: UnknownCA", Misconfigured, All, UNTRUSTED),
        row("", "alert: BadCertificate", Misconfigured, All, UNTRUSTED),
        row("", "not valid for name", Misconfigured, All, NAME),
        row("", "certificate expired", Misconfigured, All, RENEW),
        row("", "CertificateRequired", Misconfigured, All, OWN_CERTIFICATE),
        row("", "InvalidContentType", Misconfigured, All, PLAIN),
        row("", "REDIS_C", Misconfigured, All, FILE),
        row("", "REDIS_KEY", Misconfigured, All, FILE),
        row("", "lookup address", Misconfigured, All, HOST),
        row("", "onnection reset", Transient, All, RESET),
        row("", "onnection refused", Transient, All, HOST),
    ]
};

fn find(code: &str, text: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| (row.code.is_empty() || row.code == code) && text.contains(row.words))
}

/// What an error answer with this code and text is.
pub(super) fn fault(code: &str, detail: &str) -> Fault {
    let text = said(&format!("{code}: {detail}"));
    match find(code, detail).map_or(Stops::All, |row| row.stops) {
        Stops::All => Fault::Failed(text),
        Stops::Writes => Fault::NoWrites(text),
        Stops::This => Fault::Refused(text),
    }
}

/// The row of what was said, with the code in front where there is one.
fn said_by(said: &str) -> Option<&'static Row> {
    let (code, detail) = said.split_once(": ").unwrap_or(("", said));
    find(code, detail).or_else(|| find("", said))
}

/// The kind of what was said.
pub(super) fn kind(said: &str) -> Kind {
    said_by(said).map_or(Kind::Transient, |row| row.kind)
}

/// What was said, its kind, and what an operator can do about it.
pub(super) fn explain(said: &str) -> String {
    let kind = kind(said).as_str();
    match said_by(said).map_or("", |row| row.advice) {
        "" => format!("{said}; {kind}"),
        advice => format!("{said}; {kind}: {advice}"),
    }
}

#[cfg(test)]
#[path = "meaning_tests.rs"]
mod tests;
