//! The configuration file as a list of settings with their lines.
//!
//! Owns: the file's form (`[section]`, `key = value`). Refuses: broken TOML, unknown sections and
//! unknown keys, each with its line and the known ones. Does not check values.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::{fs, io};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::load::Place;
use super::settings::Declaration;
use super::{Mistakes, Schema, removed};

/// The file that is read when none is named, relative to the working directory.
pub const DEFAULT_FILE: &str = "breakwater.toml";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    /// As it was named; for messages.
    pub name: String,
    pub text: String,
}

impl FileText {
    /// Reads the file that was named, or the default one if there is one.
    ///
    /// # Errors
    /// When a named file, or a default file that exists, cannot be read as UTF-8 text.
    pub(super) fn read(named: Option<&Path>) -> io::Result<Option<Self>> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self { name: path.display().to_string(), text })),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(super) struct Entry {
    pub(super) setting: &'static Declaration,
    pub(super) place: Place,
    /// The value in the form the environment would have it; `Err` names a type no setting has.
    pub(super) value: Result<String, &'static str>,
}

/// Reads every setting in the file; what cannot be one is added to the mistakes.
pub(super) fn entries(file: &FileText, schema: Schema, mistakes: &mut Mistakes) -> Vec<Entry> {
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    let mut reader = Reader { file, schema, mistakes, broken: BTreeSet::new(), found: Vec::new() };
    for error in &errors {
        reader.broken_syntax(error);
    }
    for (name, value) in document.get_ref().iter() {
        reader.section(name.get_ref(), &name.span(), value.get_ref());
    }
    reader.found
}

struct Reader<'a> {
    file: &'a FileText,
    schema: Schema,
    mistakes: &'a mut Mistakes,
    /// Lines with broken syntax: what the parser made of them is not worth a second complaint.
    broken: BTreeSet<usize>,
    found: Vec<Entry>,
}

impl Reader<'_> {
    fn broken_syntax(&mut self, error: &toml::de::Error) {
        let line = self.line(&error.span().unwrap_or_default());
        // One stray character can upset the parser several times; a line is named once.
        if self.broken.insert(line) {
            // The parser's message names what it met by kind and never quotes a value.
            let expected = format!("valid TOML ({})", error.message());
            let place = self.place(line, String::new());
            self.mistakes.add_in_file(place, None, expected);
        }
    }

    fn section(&mut self, name: &str, at: &Range<usize>, value: &DeValue<'_>) {
        let line = self.line(at);
        if self.broken.contains(&line) {
            return;
        }
        let known = self.schema.sections();
        match value.as_table() {
            Some(table) if known.contains(&name) || removed::had_section(name) => {
                for (key, value) in table.iter() {
                    self.key(name, key, value);
                }
            }
            Some(_) => {
                let expected = format!("one of the sections {}", known.join(", "));
                self.unknown(line, format!("[{name}]"), expected);
            }
            None => self.unknown(line, name.to_owned(), "every key in a section".to_owned()),
        }
    }

    fn key(
        &mut self,
        section: &str,
        key: &Spanned<toml::de::DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let line = self.line(&key.span());
        if self.broken.contains(&line) {
            return;
        }
        let name = key.get_ref();
        let path = format!("{section}.{name}");
        match (self.schema.by_key(section, name), removed::by_path(section, name)) {
            (Some(setting), _) => self.found.push(Entry {
                setting,
                place: self.place(line, path),
                value: text_of(value.get_ref()),
            }),
            (None, Some(removed)) => self.unknown(line, path, removed.expected()),
            (None, None) => {
                let of_section = self.schema.all().filter(|setting| setting.section == section);
                let keys: Vec<_> = of_section.map(|setting| setting.key).collect();
                self.unknown(line, path, format!("one of the keys {}", keys.join(", ")));
            }
        }
    }

    fn unknown(&mut self, line: usize, what: String, expected: String) {
        let place = self.place(line, what);
        self.mistakes.add_in_file(place, None, expected);
    }

    fn place(&self, line: usize, what: String) -> Place {
        Place { file: self.file.name.clone(), line, what }
    }

    fn line(&self, at: &Range<usize>) -> usize {
        let before = self.file.text.get(..at.start).unwrap_or(&self.file.text);
        before.matches('\n').count() + 1
    }
}

/// A TOML value as the environment would spell it.
fn text_of(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::Array(items) if items.is_empty() => Ok("none".to_owned()),
        DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
            let items: Result<Vec<_>, _> =
                items.iter().map(|item| json_of(item.get_ref())).collect();
            items.map(|items| serde_json::Value::Array(items).to_string())
        }
        DeValue::Array(items) => {
            let texts: Result<Vec<_>, _> =
                items.iter().map(|item| text_of(item.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::String(text) => Ok(text.trim().to_owned()),
        DeValue::Integer(number) => Ok(i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Datetime(_) | DeValue::Table(_) => Err(value.type_str()),
    }
}

/// An item of an array of tables as JSON: an object of texts.
fn json_of(value: &DeValue<'_>) -> Result<serde_json::Value, &'static str> {
    let Some(table) = value.as_table() else { return text_of(value).map(Into::into) };
    let pair = |(key, value): (&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)| {
        text_of(value.get_ref()).map(|text| (key.get_ref().to_string(), text.into()))
    };
    table.iter().map(pair).collect::<Result<serde_json::Map<_, _>, _>>().map(Into::into)
}
