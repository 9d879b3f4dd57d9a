//! The table, error by error, as Redis 7 and rustls write them.

use super::*;

fn of(code: &str, detail: &str) -> (Kind, u8, Option<bool>) {
    use crate::redis::Effect;
    let fault = fault(code, detail);
    let health = Fault::health(&Err::<(), _>(fault.clone()), Effect::Adds);
    (kind(&format!("{code}: {detail}")), fault.weight(), health)
}

#[test]
fn every_answer_is_of_one_kind() {
    use Kind::{Misconfigured, Reconnect, ThisCommand, Transient};
    let failed = Some(false);
    let rows = [
        ("READONLY", "You can't write against a read only replica.", Reconnect, 1, None),
        ("MASTERDOWN", "Link with MASTER is down", Reconnect, 2, failed),
        ("MOVED", "866 10.0.0.7:6379", Misconfigured, 2, failed),
        ("ASK", "866 10.0.0.7:6379", Misconfigured, 2, failed),
        ("CROSSSLOT", "Keys in request don't hash to the same slot", Misconfigured, 2, failed),
        ("CLUSTERDOWN", "Hash slot not served", Transient, 2, failed),
        ("TRYAGAIN", "Multiple keys request during rehashing of slot", Transient, 2, failed),
        ("LOADING", "Redis is loading the dataset in memory", Transient, 2, failed),
        ("BUSY", "Redis is busy running a script.", Transient, 2, failed),
        ("NOREPLICAS", "Not enough good replicas to write.", Transient, 1, None),
        ("OOM", "command not allowed when used memory > 'maxmemory'.", Misconfigured, 1, None),
        ("MISCONF", "Redis is configured to save RDB snapshots", Misconfigured, 1, None),
        ("NOPERM", "this user has no permissions to run 'get'", Misconfigured, 1, None),
        ("NOAUTH", "Authentication required.", Misconfigured, 2, failed),
        ("WRONGPASS", "invalid username-password pair", Misconfigured, 2, failed),
        ("WRONGTYPE", "Operation against a key", ThisCommand, 0, None),
        ("NOSCRIPT", "No matching script.", ThisCommand, 0, None),
        ("ERR", "unknown command 'XADD', with args beginning with: 'x'", Misconfigured, 0, None),
        ("ERR", "Error running script (call to f_1): unknown", Misconfigured, 0, None),
        ("ERR", "DB index is out of range", Misconfigured, 2, failed),
        ("ERR", "invalid password", Misconfigured, 2, failed),
        ("ERR", "AUTH <password> called without any password", Misconfigured, 2, failed),
        ("ERR", "This instance has cluster support disabled", Misconfigured, 2, failed),
        ("ERR", "something new", Transient, 2, failed),
        ("NEWCODE", "something new", Transient, 2, failed),
    ];
    for (code, detail, kind, weight, health) in rows {
        assert_eq!(of(code, detail), (kind, weight, health), "{code} {detail}");
    }
}

#[test]
fn what_an_operator_can_do_is_told() {
    let rows = [
        ("Password authentication failed - AuthenticationFailed", "misconfigured: check user and"),
        ("ERR: DB index is out of range", "misconfigured: check the number of the database"),
        ("failed to lookup address information", "misconfigured: check host and port"),
        ("Connection refused (os error 111)", "transient: check host and port"),
        (
            "Connection reset by peer (os error 104)",
            "transient: if it stays so, does this port want TLS",
        ),
        ("READONLY: You can't write against a read only replica.", "reconnecting: REDIS_URL leads"),
        ("MOVED: 866 10.0.0.7:6379", "misconfigured: REDIS_URL names one node of a cluster"),
        ("invalid peer certificate: UnknownIssuer", "misconfigured: name who vouches"),
        ("REDIS_CA_FILE `ca.pem`: expected a readable file", "misconfigured: mend the file"),
        ("OOM: command not allowed", "maxmemory-policy"),
    ];
    for (said, expected) in rows {
        let told = explain(said);
        assert!(told.starts_with(said) && told.contains(expected), "{told}");
    }
    assert_eq!(explain("NEWCODE: words"), "NEWCODE: words; transient");
}
