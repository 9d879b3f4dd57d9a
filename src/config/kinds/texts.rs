//! The kinds of texts that a setting can be: names, secrets, paths, addresses.
//!
//! Owns: their form, and what of them people may see. Refuses: whatever could not travel in a request or
//! could not work later, with a sentence that says why. Opens nothing: whether a file can be written or
//! an address answers is found out elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use url::Url;

use super::{Kind, Refusal, Rollout, Whole, quoted};
use crate::config::Secret;
use crate::config::redact::HIDDEN;

/// Bits before an IPv4 address in IPv6.
const MAPPED_BITS: u8 = 96;

/// A kind that is a function from text to value, and one back.
pub struct Text<T> {
    /// To be read after "expected".
    pub expected: fn() -> String,
    pub read: fn(&str) -> Result<T, Refusal>,
    pub show: fn(&T) -> String,
    pub quote: fn(&str) -> String,
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn expected(&self) -> String {
        (self.expected)()
    }

    fn read(&self, text: &str) -> Result<T, Refusal> {
        (self.read)(text)
    }

    fn show(&self, value: &T) -> Option<String> {
        Some((self.show)(value))
    }

    fn quote(&self, text: &str) -> String {
        (self.quote)(text)
    }
}

/// On or off.
pub const SWITCH: Text<bool> = Text {
    expected: || "true or false".to_owned(),
    read: |text| match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err(None),
    },
    show: bool::to_string,
    quote: quoted,
};

pub const SHARE: Text<Rollout> = Text {
    expected: || "on, off, or a percentage of clients from 0 to 100".to_owned(),
    read: |text| match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" => Ok(Rollout(100)),
        "off" | "false" | "no" => Ok(Rollout(0)),
        number => {
            let digits = number.strip_suffix('%').unwrap_or(number).trim_end();
            Whole(0, 100).read(digits).map(Rollout)
        }
    },
    show: |rollout| match rollout.0 {
        0 => "off".to_owned(),
        100 => "on".to_owned(),
        percent => format!("{percent}%"),
    },
    quote: quoted,
};

/// So many times a second. Below a thousandth a wait between two calls would be longer than any deadline.
pub const RATE: Text<f64> = Text {
    expected: || "a number from 0.001 to 10000".to_owned(),
    read: |text| {
        let number: f64 = text.parse().map_err(|_| None)?;
        if (0.001..=10_000.0).contains(&number) { Ok(number) } else { Err(None) }
    },
    show: f64::to_string,
    quote: quoted,
};

/// A name that travels in requests.
pub const WORD: Text<String> = Text {
    expected: || "up to 256 visible ASCII characters without white space".to_owned(),
    read: |text| {
        let fits = text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(text.to_owned()) } else { Err(None) }
    },
    show: String::clone,
    quote: quoted,
};

/// A word nobody may see.
pub const SECRET_WORD: Text<Secret> = Text {
    expected: WORD.expected,
    read: |text| WORD.read(text).map(Secret::new),
    show: |_| HIDDEN.to_owned(),
    quote: |_| HIDDEN.to_owned(),
};

pub const FILE_PATH: Text<PathBuf> = Text {
    expected: || "the path of a file".to_owned(),
    read: |text| {
        let is_directory = text.ends_with('/');
        if is_directory { Err(Some("this is a directory".to_owned())) } else { Ok(text.into()) }
    },
    show: |path| path.display().to_string(),
    quote: quoted,
};

/// The address of a network interface.
pub const INTERFACE: Text<IpAddr> = Text {
    expected: || "an IP address such as 127.0.0.1, 0.0.0.0 or ::1, or localhost".to_owned(),
    read: |text| {
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        text.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| None)
    },
    show: IpAddr::to_string,
    quote: quoted,
};

/// An address with a port.
pub const LISTENER: Text<SocketAddr> = Text {
    expected: || {
        "an IP address and a port such as 127.0.0.1:9100, 0.0.0.0:9100 or [::1]:9100".to_owned()
    },
    read: |text| {
        let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        local.as_deref().unwrap_or(text).parse().map_err(|_| None)
    },
    show: SocketAddr::to_string,
    quote: quoted,
};

/// A network, or one address.
pub const NETWORK: Text<IpNet> = Text {
    expected: || "networks or addresses such as 10.0.0.0/8 or ::1".to_owned(),
    read: |text| {
        let address = || text.parse().map(|address: IpAddr| IpNet::from(address));
        canonical(text.parse().or_else(|_| address()).map_err(|_| None)?)
    },
    show: IpNet::to_string,
    quote: quoted,
};

/// IPv4 in IPv6 is IPv4: that is how addresses are compared.
fn canonical(network: IpNet) -> Result<IpNet, Refusal> {
    let mapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().map(|address| (address, v6.prefix_len())),
    };
    let Some((address, length)) = mapped else { return Ok(network.trunc()) };
    let network = length.checked_sub(MAPPED_BITS).and_then(|bits| Ipv4Net::new(address, bits).ok());
    let network = network.ok_or_else(|| {
        Some("an IPv4 network written as IPv6 has a prefix of 96 bits at least".to_owned())
    })?;
    Ok(IpNet::V4(network.trunc()))
}

/// A web origin, as a browser sends it: scheme, host and port, nothing else.
pub const WEB_ORIGIN: Text<String> = Text {
    expected: || "origins such as https://chatgpt.com or http://localhost:3000".to_owned(),
    read: |text| {
        if text == "*" {
            return Err(Some("origins are compared exactly, so * would match none".to_owned()));
        }
        let text = text.to_ascii_lowercase();
        let url = Url::parse(&text).map_err(|_| None)?;
        let origin = url.origin().ascii_serialization();
        if url.has_host() && origin == text {
            Ok(origin)
        } else {
            Err(Some("no path, no slash at the end, no standard port".to_owned()))
        }
    },
    show: String::clone,
    quote: |text| {
        let mut origins = text.split(|letter: char| letter == ',' || letter.is_whitespace());
        if origins.all(has_no_password) { quoted(text) } else { HIDDEN.to_owned() }
    },
};

/// The address of a server that is called.
pub const WEB_ADDRESS: Text<String> = Text {
    expected: || "an http or https address such as https://api-sg.aliexpress.com/sync".to_owned(),
    read: |text| {
        let url = Url::parse(text).map_err(|_| None)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(None);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Some("without user name and password".to_owned()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Some("without ? and #".to_owned()));
        }
        Ok(text.to_owned())
    },
    show: String::clone,
    quote: quoted_address,
};

/// An address that could not be read may hold a password anywhere: only one that has no room for one
/// is shown, a scheme, a host, a port and a path.
pub fn quoted_address(text: &str) -> String {
    if has_no_password(text) { quoted(text) } else { HIDDEN.to_owned() }
}

fn has_no_password(text: &str) -> bool {
    let (_, rest) = text.split_once("://").unwrap_or(("", text));
    let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
    let port = host.split_once(':').map_or("", |(_, port)| port);
    !text.contains(|letter: char| "@?=#".contains(letter) || letter.is_whitespace())
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_may_hold_a_password_is_not_shown() {
        for hidden in [
            "redis://:hunter2@cache:6379/x",
            "rediss://me:hunter2",
            "cache:hunter2",
            "host=h password=hunter2",
            "redis://cache/0?pass=hunter2",
            "redis://cache:hunter2/0",
            "hunter2 @cache",
        ] {
            assert_eq!(quoted_address(hidden), HIDDEN, "{hidden}");
        }
        for plain in ["cache:6379", "http://cache:80/a", "redis://cache/first", "redis://"] {
            assert!(quoted_address(plain).contains(plain), "{plain}");
        }
    }
}
