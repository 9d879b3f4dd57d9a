//! Reading a catalogue: a file, plain or gzip, or the built-in one.
//!
//! Owns: walking over lines and the report of what was skipped. Refuses: a file that cannot be
//! read to its end, and one without a single good line. A bad line costs only itself.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::product::{BadLine, Categories, Product};

const BUILTIN: &str = include_str!("builtin.jsonl");

/// A line longer than this is bad; nothing is read into memory without a bound.
const LONGEST_LINE: u64 = 1 << 20;

/// How many skipped lines are described one by one.
const DESCRIBED: usize = 20;

#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// Where the lines came from: a path, or `built-in`.
    pub source: String,
    pub products: usize,
    pub categories: usize,
    pub skipped: BTreeMap<&'static str, usize>,
    pub first_skipped: Vec<SkippedLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine {
    pub number: usize,
    pub reason: &'static str,
    pub detail: String,
}

impl LoadReport {
    #[must_use]
    pub fn skipped_lines(&self) -> usize {
        self.skipped.values().sum()
    }

    fn skip(&mut self, number: usize, (reason, detail): BadLine) {
        *self.skipped.entry(reason).or_default() += 1;
        if self.first_skipped.len() < DESCRIBED {
            self.first_skipped.push(SkippedLine { number, reason, detail });
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, products, categories, .. } = self;
        write!(out, "{source}: {products} products in {categories} categories")?;
        if !self.skipped.is_empty() {
            write!(out, ", {} lines skipped", self.skipped_lines())?;
        }
        self.skipped.iter().try_for_each(|(reason, count)| write!(out, ", {reason} {count}"))
    }
}

/// The good lines of a file, and what became of the others.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) products: Vec<Product>,
    pub(super) categories: Categories,
    pub(super) report: LoadReport,
}

/// Reads the file at `path`, or the built-in catalogue.
pub(super) fn read(path: Option<&Path>) -> io::Result<Lines> {
    let mut lines = Lines::default();
    lines.report.source = path.map_or("built-in".to_owned(), |path| path.display().to_string());
    let source = lines.report.source.clone();
    let mut last = 0;
    let read = match path {
        Some(path) => open(path).and_then(|from| lines.read(from, &mut last)),
        None => lines.read(BUILTIN.as_bytes(), &mut last),
    };
    read.map_err(|cause| {
        let place = if last == 0 { String::new() } else { format!(" beyond line {last}") };
        let text = format!("catalogue {source} cannot be read{place}: {cause}");
        io::Error::new(cause.kind(), text)
    })?;
    if lines.products.is_empty() {
        let skipped = lines.report.first_skipped.iter();
        let skipped =
            skipped.map(|line| format!("; line {}: {}: {}", line.number, line.reason, line.detail));
        let text = format!("catalogue {source} has no good line{}", skipped.collect::<String>());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    lines.report.products = lines.products.len();
    lines.report.categories = lines.categories.flat().len();
    Ok(lines)
}

/// Opens a file, unpacking it when its first two bytes say gzip, whatever its name says.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

impl Lines {
    /// Reads to the end; `last` is the number of the last line that was read.
    fn read(&mut self, mut from: impl BufRead, last: &mut usize) -> io::Result<()> {
        let (mut seen, mut buffer) = (HashSet::new(), Vec::new());
        loop {
            buffer.clear();
            let mut limited = from.by_ref().take(LONGEST_LINE + 1);
            if limited.read_until(b'\n', &mut buffer)? == 0 {
                return Ok(());
            }
            let is_whole = buffer.ends_with(b"\n") || limited.limit() > 0;
            if !is_whole {
                from.skip_until(b'\n')?;
            }
            *last += 1;
            let line = if *last == 1 { without_bom(&buffer) } else { &buffer }.trim_ascii();
            let read = if is_whole {
                Product::read(line, &mut self.categories)
            } else {
                Err(("too_long", "the line is longer than 1 MiB".to_owned()))
            };
            match read {
                // Blank lines are nothing, not bad.
                _ if line.is_empty() => {}
                Ok(product) if seen.insert(product.id) => self.products.push(product),
                Ok(product) => {
                    let detail = format!("id {} was on an earlier line", product.id);
                    self.report.skip(*last, ("id_repeated", detail));
                }
                Err(bad) => self.report.skip(*last, bad),
            }
        }
    }
}

fn without_bom(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(text: &[u8]) -> Lines {
        let mut lines = Lines::default();
        lines.read(text, &mut 0).unwrap();
        lines
    }

    #[test]
    fn bad_lines_cost_only_themselves() {
        let mut text = b"\xef\xbb\xbf{\"id\":1,\"title\":\"a\"}\r\n\nnonsense\n{\"id\":1,\"title\":\"again\"}\n".to_vec();
        text.extend(vec![b'x'; usize::try_from(LONGEST_LINE).unwrap() + 10]);
        text.extend(b"\n{\"id\":2,\"title\":\"last, without a line end\"}");
        let Lines { products, report, .. } = lines(&text);
        assert_eq!(products.iter().map(|line| line.id).collect::<Vec<_>>(), [1, 2]);
        let found: Vec<_> = report.first_skipped.iter().map(|l| (l.number, l.reason)).collect();
        assert_eq!(found, [(3, "not_json"), (4, "id_repeated"), (5, "too_long")]);
        assert_eq!(report.skipped_lines(), 3);
    }

    #[test]
    fn only_the_first_twenty_are_described() {
        let Lines { report, .. } = lines("x\n".repeat(50).as_bytes());
        assert_eq!((report.first_skipped.len(), report.skipped_lines()), (20, 50));
    }

    #[test]
    fn packed_and_plain_files_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let line = b"{\"id\":1,\"title\":\"a\"}\n";
        let plain = folder.path().join("plain.jsonl");
        std::fs::write(&plain, line).unwrap();
        let packed = folder.path().join("packed.jsonl.gz");
        let mut encoder = flate2::write::GzEncoder::new(
            File::create(&packed).unwrap(),
            flate2::Compression::fast(),
        );
        encoder.write_all(line).unwrap();
        encoder.finish().unwrap();
        for path in [&plain, &packed] {
            assert_eq!(read(Some(path)).unwrap().products.len(), 1);
        }
        let whole = std::fs::read(&packed).unwrap();
        std::fs::write(&packed, &whole[..whole.len() - 9]).unwrap();
        let torn = read(Some(&packed)).unwrap_err().to_string();
        assert!(torn.contains("cannot be read beyond line 1: "), "{torn}");
    }

    #[test]
    fn a_file_without_a_good_line_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.jsonl");
        std::fs::write(&path, "nonsense\n").unwrap();
        let refused = read(Some(&path)).unwrap_err().to_string();
        assert!(refused.contains("has no good line; line 1: not_json"), "{refused}");
        let none = read(Some(&folder.path().join("none"))).unwrap_err();
        assert!(none.to_string().contains("none cannot be read: "), "{none}");
    }

    #[test]
    fn the_built_in_catalogue_is_clean() {
        let Lines { products, categories, report } = read(None).unwrap();
        assert!(products.len() >= 300, "{}", products.len());
        assert_eq!(report.skipped_lines(), 0, "{:?}", report.first_skipped);
        let tops = categories.flat().iter().filter(|category| category.parent.is_none());
        assert!(tops.count() >= 8);
    }
}
