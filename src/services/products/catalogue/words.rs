//! From text to the words it is found by.
//!
//! Owns: what a word is. The same function reads titles and keywords, so that both agree on case,
//! accents and plurals. Refuses: nothing; text without a letter or digit has no words.

/// The words of `text`: lower case, without accents, singular; one word for each ideograph.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    for letter in text.chars().flat_map(char::to_lowercase) {
        if is_mark(letter) {
            continue;
        }
        if is_ideograph(letter) {
            finish(&mut word, &mut found);
            found.push(letter.to_string());
        } else if letter.is_alphanumeric() {
            unaccented(letter, &mut word);
        } else if !matches!(letter, '\'' | '’') {
            finish(&mut word, &mut found);
        }
    }
    finish(&mut word, &mut found);
    found
}

fn finish(word: &mut String, found: &mut Vec<String>) {
    if !word.is_empty() {
        let whole = std::mem::take(word);
        found.push(singular(whole));
    }
}

/// Drops the plural's `s`; what is left need not be a word, only be the same on both sides.
fn singular(mut word: String) -> String {
    let plural = word.len() > 3 && word.ends_with('s') && !word.ends_with("ss");
    if plural && word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        word.pop();
    }
    word
}

/// Combining accents stand behind their letter and are dropped.
const fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

const fn is_ideograph(letter: char) -> bool {
    matches!(letter, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{3040}'..='\u{30ff}')
}

fn unaccented(letter: char, into: &mut String) {
    let plain = match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => 'c',
        'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        'ì'..='ï' | 'ī' | 'ı' | 'į' => 'i',
        'ł' | 'ľ' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' | 'ș' => 's',
        'ť' | 'ţ' | 'ț' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ß' => return into.push_str("ss"),
        'æ' => return into.push_str("ae"),
        'œ' => return into.push_str("oe"),
        other => other,
    };
    into.push(plain);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_and_keywords_agree() {
        assert_eq!(words("USB-C Cables, 2m"), ["usb", "c", "cable", "2m"]);
        assert_eq!(words("Café cafe\u{301}"), ["cafe", "cafe"]);
        assert_eq!(words("Men's glass dresses"), ["men", "glass", "dresse"]);
        assert_eq!(words("Straße 蓝牙耳机"), ["strasse", "蓝", "牙", "耳", "机"]);
        assert_eq!(words("GTX5s is is"), ["gtx5s", "is", "is"]);
        assert!(words(" \u{0}—!? ").is_empty());
    }
}
