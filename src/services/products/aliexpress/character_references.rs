//! Character references of HTML (`&amp;`, `&#39;`, `&#x27;`) in titles and names.
//!
//! Owns: decoding them once, so that `&amp;lt;` becomes `&lt;`. Only whole ones count: `AT&T` and `R&D;`
//! stay. Tags stay as well: this is text for a JSON answer, and only its reader knows where it will
//! stand. Has no neighbour.

use std::borrow::Cow;

/// Longest reference that is looked for, in bytes, with its `&` and without its `;`.
const LONGEST: usize = 10;

/// Names of the characters from U+00A0 on.
const LATIN: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf",
    "laquo", "not", "shy", "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro",
    "para", "middot", "cedil", "sup1", "ordm", "raquo", "frac14", "frac12", "frac34", "iquest",
    "Agrave", "Aacute", "Acirc", "Atilde", "Auml", "Aring", "AElig", "Ccedil", "Egrave", "Eacute",
    "Ecirc", "Euml", "Igrave", "Iacute", "Icirc", "Iuml", "ETH", "Ntilde", "Ograve", "Oacute",
    "Ocirc", "Otilde", "Ouml", "times", "Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute",
    "THORN", "szlig", "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil",
    "egrave", "eacute", "ecirc", "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde",
    "ograve", "oacute", "ocirc", "otilde", "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc",
    "uuml", "yacute", "thorn", "yuml",
];

const OTHERS: [(&str, char); 24] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("sbquo", '‚'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bdquo", '„'),
    ("bull", '•'),
    ("hellip", '…'),
    ("prime", '′'),
    ("Prime", '″'),
    ("euro", '€'),
    ("trade", '™'),
    ("ensp", '\u{2002}'),
    ("emsp", '\u{2003}'),
    ("thinsp", '\u{2009}'),
    ("oelig", 'œ'),
    ("OElig", 'Œ'),
];

/// What the numbers 128 to 159 mean where somebody wrote Windows' code page; the code points
/// themselves are controls.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.find('&').and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        let (character, after) = first(from).unwrap_or(('&', from.get(1..).unwrap_or_default()));
        out.push(character);
        rest = after;
    }
    out.push_str(rest);
    out.into()
}

/// The character that `text` begins with a reference to, and what follows.
fn first(text: &str) -> Option<(char, &str)> {
    let (reference, after) = text.split_once(';').filter(|(before, _)| before.len() <= LONGEST)?;
    let name = reference.strip_prefix('&')?;
    let character = match name.strip_prefix('#') {
        Some(number) => numbered(number)?,
        None => named(name)?,
    };
    Some((character, after))
}

fn named(name: &str) -> Option<char> {
    let latin = || {
        let place = LATIN.iter().position(|known| *known == name)?;
        char::from_u32(u32::try_from(place).ok()?.checked_add(0xA0)?)
    };
    OTHERS.iter().find(|(known, _)| *known == name).map(|(_, character)| *character).or_else(latin)
}

fn numbered(number: &str) -> Option<char> {
    // A sign would be read as part of the number.
    if !number.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    let place = usize::try_from(code.wrapping_sub(0x80)).ok()?;
    let character = WINDOWS.get(place).copied().or_else(|| char::from_u32(code))?;
    (!character.is_control() || character.is_whitespace()).then_some(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_decoded_once() {
        for (text, expected) in [
            ("Men&#39;s &amp; &quot;Sport&quot;", "Men's & \"Sport\""),
            ("2&nbsp;pcs", "2\u{A0}pcs"),
            ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
            ("caf&eacute; &Eacute;t&eacute; &yuml;", "café Été ÿ"),
            ("&#x27;&#X41;&#146;&#8364;&hellip;", "'A’€…"),
            ("\u{1F600}&apos;", "\u{1F600}'"),
        ] {
            assert_eq!(decoded(text), expected);
        }
    }

    #[test]
    fn what_is_no_reference_stays() {
        for text in [
            "AT&T",
            "R&D;",
            "&",
            "&;",
            "&#;",
            "&#x;",
            "&#0;",
            "&#7;",
            "&#xD800;",
            "&#99999999999;",
            "a & b; c",
            "&amp",
            "&verylongname;",
            "&é;",
            "<b>LED</b>",
            "&#-1;",
            "&#+65;&",
        ] {
            assert_eq!(decoded(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[&#x0-9a-z;é ]{0,30}") {
            prop_assert!(decoded(&text).len() <= text.len() + 3);
        }
    }
}
