//! What the address of a Postgres says.
//!
//! Owns: its forms, what of TLS this side decides, and the bounds of a connection that it may set. An address
//! with several hosts is one configuration for each: the driver has no bound on the time of one of several.
//! Connects to nothing.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::config::Secret;

/// Longest time of a connection being made, handshakes included.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A host that is gone is noticed without traffic after so long.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Bytes that nobody acknowledges for so long end the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// How the bytes are protected on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tls {
    Never,
    /// Encrypted if the server can; nobody is verified.
    Prefer,
    /// Encrypted; nobody is verified.
    Require,
    /// Encrypted, and the server's name and certificate are right, by this file of authorities or by
    /// those of the web.
    Verify(Option<PathBuf>),
}

/// An address that was read without a mistake; its text is hidden in `Debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    text: Secret,
    /// Whether it names a standby, which is only read; else the primary.
    is_replica: bool,
}

impl PostgresAddress {
    /// # Errors
    /// What is wrong with it, without the password.
    pub(in crate::database) fn read(text: &str, is_replica: bool) -> Result<Self, String> {
        if text.contains(char::is_whitespace) {
            return Err("white space must be percent-encoded".to_owned());
        }
        let address = Self { text: Secret::new(text), is_replica };
        address.parts().map(|_| address)
    }

    /// The file of the authorities that vouch for the server, if one is named.
    pub(in crate::database) fn authorities(&self) -> Option<PathBuf> {
        match self.parts() {
            Ok((_, Tls::Verify(authorities))) => authorities,
            Ok(_) | Err(_) => None,
        }
    }

    pub(in crate::database) fn expose(&self) -> &str {
        self.text.expose()
    }

    pub(in crate::database) const fn is_replica(&self) -> bool {
        self.is_replica
    }

    /// Host and port of each server that it names.
    pub fn servers(&self) -> String {
        let all = self.parts().map(|(servers, _)| servers).unwrap_or_default();
        let server = |config: &Config| {
            let hosts = config.get_hosts().iter().map(|host| match host {
                Host::Tcp(host) => host.clone(),
                Host::Unix(path) => path.display().to_string(),
            });
            let hosts = hosts.chain(config.get_hostaddrs().iter().map(ToString::to_string)).next();
            let port = config.get_ports().first().copied().unwrap_or(5_432);
            format!("{}:{port}", hosts.unwrap_or_default())
        };
        all.iter().map(server).collect::<Vec<_>>().join(",")
    }

    /// One configuration a server, in their order.
    pub(super) fn parts(&self) -> Result<(Vec<Config>, Tls), String> {
        let texts = each_server(self.expose());
        let mut servers = Vec::with_capacity(texts.len());
        let mut of_all = Tls::Prefer;
        for text in &texts {
            let (mut config, tls) = parts(text)?;
            if texts.len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
                let wanted = if self.is_replica {
                    TargetSessionAttrs::ReadOnly
                } else {
                    TargetSessionAttrs::ReadWrite
                };
                config.target_session_attrs(wanted);
            }
            servers.push(config);
            of_all = tls;
        }
        Ok((servers, of_all))
    }
}

/// `postgres://u:p@a,b/d` → `postgres://u:p@a/d` and `postgres://u:p@b/d`: the driver has no bound on the time of
/// one of several, so that a server that hangs would hide the others.
fn each_server(text: &str) -> Vec<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("postgres", text));
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    hosts.split(',').map(|host| format!("{scheme}://{login}{host}{tail}")).collect()
}

/// Splits off what this side decides about TLS; the driver reads the rest.
fn parts(text: &str) -> Result<(Config, Tls), String> {
    let (base, options) = text.split_once('?').unwrap_or((text, ""));
    let (mut mode, mut authorities, mut others) = ("prefer".to_owned(), None, Vec::new());
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let decoded = || {
            let mut pairs = url::form_urlencoded::parse(option.as_bytes());
            pairs.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        match option.split_once('=').map_or(option, |(name, _)| name) {
            "sslmode" => mode = decoded(),
            "sslrootcert" => authorities = Some(PathBuf::from(decoded())),
            _ => others.push(option),
        }
    }
    let tls = match mode.as_str() {
        "disable" => Tls::Never,
        "prefer" => Tls::Prefer,
        "require" => Tls::Require,
        "verify-full" => Tls::Verify(authorities.take()),
        _ => return Err("sslmode is disable, prefer, require or verify-full".to_owned()),
    };
    if authorities.is_some() {
        return Err("sslrootcert is used with sslmode=verify-full only".to_owned());
    }
    let text = format!("{base}?{}", others.join("&"));
    let mut config: Config = text.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("the host is missing".to_owned());
    }
    if config.get_dbname().is_none() {
        return Err("the name of the database is missing".to_owned());
    }
    config.ssl_mode(match tls {
        Tls::Never => SslMode::Disable,
        Tls::Prefer => SslMode::Prefer,
        Tls::Require | Tls::Verify(_) => SslMode::Require,
    });
    if config.get_application_name().is_none() {
        config.application_name("breakwater");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_WITHIN);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    config.keepalives_idle(config.get_keepalives_idle().min(KEEPALIVE));
    Ok((config, tls))
}
