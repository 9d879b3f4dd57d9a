//! What `REDIS_URL` names.
//!
//! Owns: its forms, and what people may see of it. Connects to nothing.

use deadpool_redis::redis::{ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use url::Url;

use crate::config::kinds::Refusal;
use crate::config::redact;

pub(super) const EXPECTED: &str = "redis[s]://[[user]:password@]host[:port][/database], \
     redis[s]+cluster://[[user]:password@]host[:port],…, \
     redis[s]+sentinel://[[user]:password@]host[:port],…/service[/database] or unix:///path";
/// Where sentinels listen, unless the address says so.
const SENTINEL_PORT: u16 = 26_379;

/// How the servers belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// One server, or one address that always leads to the primary.
    Single,
    /// The servers are nodes of a cluster; they know the others.
    Cluster,
    /// The servers are sentinels; they know the primary of this service.
    Sentinel { service: String },
}

/// It holds the password: it is not to be shown.
pub(super) struct Address {
    pub(super) form: Form,
    /// One at least; sentinels are asked without a password.
    pub(super) servers: Vec<ConnectionInfo>,
    /// How to get in, and the database.
    pub(super) login: RedisConnectionInfo,
}

/// Whether connections to this address are encrypted.
pub(super) fn uses_tls(url: &str) -> bool {
    url.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("rediss"))
}

/// What the address names; an error without words where it is none at all.
pub(super) fn read(text: &str) -> Result<Address, Refusal> {
    let (scheme, rest) = text.split_once("://").ok_or(None)?;
    let plain = if uses_tls(scheme) { "rediss" } else { "redis" };
    match scheme.to_ascii_lowercase().as_str() {
        "redis" | "rediss" | "unix" | "redis+unix" => single(text),
        "redis+cluster" | "rediss+cluster" => cluster(plain, rest),
        "redis+sentinel" | "rediss+sentinel" => sentinels(plain, rest),
        _ => Err(None),
    }
}

fn refused<T>(reason: &str) -> Result<T, Refusal> {
    Err(Some(reason.to_owned()))
}

fn single(text: &str) -> Result<Address, Refusal> {
    let url = Url::parse(text).map_err(|_| None)?;
    match url.scheme() {
        "unix" | "redis+unix" if !url.path().is_empty() => {}
        "redis" | "rediss" if url.has_host() => {
            if !is_number(url.path().trim_start_matches('/')) {
                return refused("the database is a number");
            }
            if url.fragment().is_some() {
                return refused("without #; certificates are always checked");
            }
        }
        _ => return Err(None),
    }
    let server = url.into_connection_info().map_err(|error| Some(error.to_string()))?;
    let login = server.redis_settings().clone();
    Ok(Address { form: Form::Single, servers: vec![server], login })
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn cluster(plain: &str, rest: &str) -> Result<Address, Refusal> {
    let Several { hosts, path, database } = several(plain, rest)?;
    if !(path.is_empty() || path == "0") || !database.is_empty() {
        return refused("a cluster has no databases: redis+cluster://host,host");
    }
    let info = |url: Url| url.into_connection_info().map_err(|error| Some(error.to_string()));
    let servers = hosts.into_iter().map(info).collect::<Result<Vec<_>, Refusal>>()?;
    let login = servers.first().map(|server| server.redis_settings().clone()).unwrap_or_default();
    Ok(Address { form: Form::Cluster, servers, login })
}

fn sentinels(plain: &str, rest: &str) -> Result<Address, Refusal> {
    let Several { hosts, path, database } = several(plain, rest)?;
    let service = match path {
        "" => return refused("the name of the service is missing: redis+sentinel://host/service"),
        service => service.to_owned(),
    };
    let mut servers = Vec::with_capacity(hosts.len());
    let mut login = RedisConnectionInfo::default();
    for mut url in hosts {
        if url.port().is_none() && url.set_port(Some(SENTINEL_PORT)).is_err() {
            return Err(None);
        }
        url.set_path(database);
        let server = url.into_connection_info().map_err(|error| Some(error.to_string()))?;
        login = server.redis_settings().clone();
        servers.push(server.set_redis_settings(RedisConnectionInfo::default()));
    }
    Ok(Address { form: Form::Sentinel { service }, servers, login })
}

/// An address with several hosts: each as an address of its own, with the same user and password.
struct Several<'a> {
    hosts: Vec<Url>,
    path: &'a str,
    database: &'a str,
}

fn several<'a>(plain: &str, rest: &'a str) -> Result<Several<'a>, Refusal> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if tail.contains(['?', '#']) {
        return refused("without ? and #");
    }
    let (login, hosts) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let url = |host: &str| {
        let url = Url::parse(&format!("{plain}://{login}{host}")).map_err(|_| None)?;
        if url.has_host() && !host.is_empty() { Ok(url) } else { Err(None) }
    };
    let hosts = hosts.split(',').map(|host| url(host.trim())).collect::<Result<_, Refusal>>()?;
    let tail = tail.trim_matches('/');
    let (path, database) = tail.split_once('/').unwrap_or((tail, ""));
    if is_number(database) {
        Ok(Several { hosts, path, database })
    } else {
        refused("the database is a number")
    }
}

/// The address as people may see it.
pub(super) fn show(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let Some(rest) = scheme.contains('+').then_some(rest).filter(|_| !scheme.ends_with("unix"))
    else {
        // As it is read: what would end a password in a text is encoded there.
        return Some(redact(Url::parse(text).ok()?.as_str()).into_owned());
    };
    let Several { hosts, path, database } = several("redis", rest).ok()?;
    let mut urls = hosts.iter();
    let first = redact(urls.next()?.as_str()).into_owned();
    let first = first.strip_prefix("redis")?.trim_end_matches('/');
    let others = urls.filter_map(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!(",{}{port}", url.host_str()?))
    });
    let tail = [path, database]
        .map(|part| if part.is_empty() { part.to_owned() } else { format!("/{part}") });
    Some(format!("{scheme}{first}{}{}", others.collect::<String>(), tail.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_asked_without_the_password_and_the_database_of_the_primary() {
        let address =
            read("rediss+sentinel://me:p%40ss@one,[::1]:7/shop/3").unwrap_or_else(|_| panic!());
        let places: Vec<_> =
            address.servers.iter().map(|server| server.addr().to_string()).collect();
        assert_eq!(places, ["one:26379", "::1:7"]);
        let sentinel = address.servers[0].redis_settings();
        assert_eq!((sentinel.password(), sentinel.db()), (None, 0));
        let login = &address.login;
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("p@ss"), 3));
        assert_eq!(address.form, Form::Sentinel { service: "shop".to_owned() });
    }
}
