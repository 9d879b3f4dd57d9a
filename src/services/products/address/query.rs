//! The query of an address: what of it only tracks, and the address that it may hold.
//!
//! Owns: the two lists of names. What is not known to track is kept: promotion pages, campaigns and
//! searches of the shop are told apart by their query alone. Has no neighbour.

use std::borrow::Cow;

use url::{Url, form_urlencoded};

/// Names that only track, in lower case; `*` stands for any ending.
const TRACKING: &[&str] = &[
    // The shop's own: where on its pages somebody came from, and in which experiment.
    "spm*",
    "scm*",
    "algo_*",
    "pdp_*",
    "gps-id",
    "pvid",
    "ad_pvid",
    "aem_p4p_detail",
    "utparam*",
    "curpageloguid",
    "initiative_id",
    "btsid",
    "expid",
    "sdom",
    "ws_ab_test*",
    "_t",
    "gatewayadapt",
    "_randl_*",
    // Partners' links and links that were shared.
    "aff_*",
    "afsmartredirect",
    "aftraceinfo",
    "af",
    "cv",
    "dp",
    "sk",
    "tt",
    "terminal_id",
    "mall_affr",
    "spreadtype",
    "social_params",
    "shareid",
    "srcsns",
    "businesstype",
    // Advertisements and letters.
    "utm_*",
    "src",
    "alb*",
    "acnt",
    "slnk",
    "trgt",
    "plac",
    "crea",
    "netw",
    "mtctp",
    "memo1",
    "isdl",
    "device",
    "issmbactive",
    "issmbautocall",
    "needsmbhouyi",
    "gclid",
    "gclsrc",
    "gad_*",
    "gbraid",
    "wbraid",
    "dclid",
    "fbclid",
    "ttclid",
    "twclid",
    "yclid",
    "igshid",
    "_gl",
    "mc_*",
    "tracelog",
    "rowan_*",
    "msclkid",
    "srsltid",
    "edm_*",
];

/// How often a held address may be escaped.
const MOST_ESCAPES: usize = 3;
/// Names that hold the address that is meant, in lower case.
const REDIRECTS: [&str; 6] =
    ["redirecturl", "redirect_url", "dl_target_url", "target_url", "targeturl", "return_url"];

/// The rest of the query, sorted by name; several values of one name keep their order.
pub(super) fn without_tracking(url: &Url) -> Option<String> {
    let pairs = url.query()?.split('&').filter(|pair| !pair.is_empty());
    let mut kept: Vec<_> = pairs.filter_map(Pair::read).filter(|pair| !pair.tracks()).collect();
    kept.sort_by(|left, right| left.name.cmp(&right.name));
    kept.dedup();
    let kept: Vec<_> = kept.into_iter().map(|pair| pair.written).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

#[derive(PartialEq)]
struct Pair<'a> {
    name: Cow<'a, str>,
    /// In one spelling, but for what is no UTF-8, which nobody can spell anew.
    written: String,
}

impl<'a> Pair<'a> {
    fn read(raw: &'a str) -> Option<Self> {
        let (name, value) = form_urlencoded::parse(raw.as_bytes()).next()?;
        let is_text = ![&name, &value].iter().any(|part| part.contains('\u{FFFD}'));
        let spelled = || {
            let mut spelled = form_urlencoded::Serializer::new(String::new());
            spelled.append_pair(&name, &value).finish()
        };
        let written = if is_text { spelled() } else { raw.to_owned() };
        Some(Self { name, written })
    }

    fn tracks(&self) -> bool {
        is_tracking(&self.name)
    }
}

fn is_tracking(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TRACKING.iter().any(|known| {
        known.strip_suffix('*').map_or(name == *known, |start| name.starts_with(start))
    })
}

/// Whether the pair, as it is written, only tracks; false where the name would first have to be read.
pub(super) fn plainly_tracks(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or(pair);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    // Behind a colon another address may lie.
    !pair.bytes().any(|byte| matches!(byte, b'#' | b':'))
        && name.bytes().all(is_plain)
        && is_tracking(name)
}

/// Whether an address begins within the text, but for what a redirect is meant to lead to.
pub(super) fn holds_second(text: &str) -> bool {
    let (page, query) = text.split_once('?').unwrap_or((text, ""));
    begins_within(page) || query.split('&').any(second_in)
}

fn second_in(pair: &str) -> bool {
    match pair.split_once('=') {
        Some((name, held)) if is_redirect(name) => holds_second(held.trim()),
        _ => begins_within(&format!("?{pair}")),
    }
}

/// Whether one begins behind the first character: with its scheme anywhere, or with a host of the shop
/// behind what parts lists.
fn begins_within(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let has_scheme = ["http://", "https://"]
        .into_iter()
        .any(|scheme| text.match_indices(scheme).any(|(at, _)| at > 0));
    let is_separator = |c: char| matches!(c, ',' | ';' | '|') || c.is_whitespace();
    let begins = |part: &str| {
        super::is_shop(part.trim_start_matches('/').split(['/', ':']).next().unwrap_or_default())
    };
    has_scheme || text.split(is_separator).skip(1).any(begins)
}

fn is_redirect(name: &str) -> bool {
    REDIRECTS.contains(&name.to_ascii_lowercase().as_str())
}

/// The address that the query holds; it may be escaped again, or lie on the same host.
pub(super) fn target_of(url: &Url) -> Option<String> {
    url.query_pairs()
        .filter(|(name, _)| is_redirect(name))
        .find_map(|(_, held)| address_in(url, held))
}

fn address_in(url: &Url, mut held: Cow<'_, str>) -> Option<String> {
    for _ in 0..MOST_ESCAPES {
        let text = held.trim();
        let start = text.get(..8).unwrap_or_default().to_ascii_lowercase();
        if start.starts_with("http://") || start.starts_with("https://") {
            return Some(text.to_owned());
        }
        if text.len() > 1 && text.starts_with('/') {
            return url.join(text).ok().map(String::from);
        }
        held = form_urlencoded::parse(text.as_bytes()).next()?.0.into_owned().into();
    }
    None
}
