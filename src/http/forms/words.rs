//! Texts that mean the same, in one form.
//!
//! Owns: white space as one blank, and the canonical form of words to search for, which is both the cache
//! key and what is sent on: a key that unites what is sent apart would give one client the answer of
//! another question. A leaf. Decided here:
//! - Case does not count (the default lower case of Unicode, of no language in particular): no search engine
//!   of a shop tells `USB` from `usb`.
//! - Letters are composed (NFC, UAX #15): `é` is one letter however it was typed.
//! - Letters in another shape, such as `ｐｈｏｎｅ`, are the letters themselves. Only the blocks of [`SHAPES`]:
//!   the compatibility form of everything else (NFKC) would change what is meant, `LEGO™` to `legotm`, `1½` to
//!   `11⁄2`, `10⁵` to `105`.
//! - Nothing is dropped: joiners make emoji and Persian words what they are.

use std::iter::once;
use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization as _;

/// Blocks of Unicode that hold other shapes of letters and digits: mathematical letters, ligatures and
/// letters of Arabic and Hebrew in their places, full and half width.
const SHAPES: [RangeInclusive<char>; 4] = [
    '\u{fb00}'..='\u{fdff}',
    '\u{fe70}'..='\u{fefc}',
    '\u{ff00}'..='\u{ffef}',
    '\u{1d400}'..='\u{1d7ff}',
];

/// Trims, and makes every run of white space one blank.
pub fn fold_white_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Words to search for: two texts that mean the same are equal.
pub(super) fn canonical_words(text: &str) -> String {
    if text.is_ascii() {
        return fold_white_space(text).to_ascii_lowercase();
    }
    let mut letters = String::with_capacity(text.len());
    for letter in text.chars() {
        if has_usual_shape(letter) {
            letters.push(letter);
        } else {
            letters.extend(once(letter).nfkc());
        }
    }
    // Composed before, because a capital may have no small letter of its own until it is, and after,
    // because the parts of a small letter may compose.
    let small: String = letters.nfc().collect::<String>().to_lowercase().nfc().collect();
    fold_white_space(&small)
}

/// Marks that stand alone count as usual: the form for them is a blank and a mark, which would part a word.
fn has_usual_shape(letter: char) -> bool {
    let is_shape = SHAPES.iter().any(|block| block.contains(&letter));
    !is_shape || once(letter).nfkc().next() == Some(' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_the_same_is_the_same() {
        for (written, canonical) in [
            ("  USB\t\n Cable ", "usb cable"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("Cafe\u{301}", "caf\u{e9}"),
            ("CAFE\u{301}", "caf\u{e9}"),
            ("a\u{323}\u{307}", "\u{1ea1}\u{307}"),
            ("a\u{307}\u{323}", "\u{1ea1}\u{307}"),
            ("J\u{30c}", "\u{1f0}"),
            ("ｐｈｏｎｅ", "phone"),
            ("ＰＨＯＮＥ　１５", "phone 15"),
            ("𝗽𝗵𝗼𝗻𝗲 𝟏𝟓", "phone 15"),
            ("ｶﾞﾗｽ", "ガラス"),
            ("ﬁlter", "filter"),
            ("\u{212b}ngstr\u{f6}m", "\u{e5}ngstr\u{f6}m"),
            // "Hand bag" in Arabic, as letters in their places, lam and alef joined in the last.
            ("\u{fea3}\u{fed8}\u{fef4}\u{fe92}\u{fe94}", "حقيبة"),
            ("\u{fefb}", "لا"),
            ("ÉCRAN", "écran"),
            ("ЧЕХОЛ", "чехол"),
            ("usb\u{a0}\u{2003}cable\u{2028}", "usb cable"),
            ("\u{3000}", ""),
        ] {
            assert_eq!(canonical_words(written), canonical, "{written:?}");
        }
    }

    #[test]
    fn what_means_something_else_stays() {
        for text in [
            "lego™",
            "1½",
            "10⁵ m²",
            "straße",
            "👩\u{200d}👩\u{200d}👧 ❤\u{fe0f} 👍🏽 1\u{fe0f}\u{20e3} 🇩🇪",
            "می\u{200c}خواهم",
            // A mark that stands alone does not part a word.
            "ك\u{fe76}ت",
            "شَنطة",
            "हिन्दी",
            "กระเป๋า",
            "手机壳",
            "kalın",
            "naïve\u{ad}ly",
        ] {
            assert_eq!(canonical_words(text), text);
        }
        for different in ["cafe", "kalin", "strasse", "lego", "11/2"] {
            assert!(
                !["café", "kalın", "straße", "lego™", "1½"]
                    .map(canonical_words)
                    .contains(&different.to_owned())
            );
        }
    }

    proptest! {
        #[test]
        fn a_canonical_text_is_its_own(text in any::<String>()) {
            let once = canonical_words(&text);
            prop_assert_eq!(canonical_words(&once), once.clone());
            prop_assert!(!once.contains("  "));
        }

        #[test]
        fn case_and_composition_do_not_count(text in "[\\p{Latin}\\p{Cyrillic} ]{0,12}") {
            let decomposed: String = text.nfd().collect();
            prop_assert_eq!(canonical_words(&decomposed), canonical_words(&text));
            prop_assert_eq!(canonical_words(&text.to_lowercase()), canonical_words(&text));
        }
    }
}
