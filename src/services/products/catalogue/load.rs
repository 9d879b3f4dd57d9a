//! Reading a catalogue: a file, plain or gzip, or the built-in one.
//!
//! Owns: walking over lines and the report of what was skipped. Refuses: a file that cannot be
//! read to its end, and one without a single good line. A bad line costs only itself.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::line::{BadLine, Line};
use super::report::{LoadError, LoadReport};

/// The catalogue written for this project.
pub(crate) const BUILTIN: &str = include_str!("builtin.jsonl");

/// A line longer than this is bad; nothing is read into memory without a bound.
const LONGEST_LINE: u64 = 1 << 20;

/// Reads the file at `path`, or the built-in catalogue.
pub(crate) fn read(path: Option<&Path>) -> Result<(Vec<Line>, LoadReport), LoadError> {
    let Some(path) = path else {
        return finished(read_lines(BUILTIN.as_bytes()), "built-in", path);
    };
    let source = path.display().to_string();
    let read = open(path).map_err(|cause| Interrupted { lines: 0, cause }).and_then(read_lines);
    finished(read, &source, Some(path))
}

/// Reading ended before the file did.
#[derive(Debug)]
struct Interrupted {
    lines: usize,
    cause: io::Error,
}

fn finished(
    read: Result<(Vec<Line>, LoadReport), Interrupted>,
    source: &str,
    path: Option<&Path>,
) -> Result<(Vec<Line>, LoadReport), LoadError> {
    let (lines, mut report) = read.map_err(|Interrupted { lines, cause }| {
        let path = path.unwrap_or_else(|| Path::new(source)).to_owned();
        LoadError::Read { path, lines, cause }
    })?;
    source.clone_into(&mut report.source);
    if lines.is_empty() {
        return Err(LoadError::NoGoodLine(Box::new(report)));
    }
    Ok((lines, report))
}

/// Opens a file, unpacking it when its first two bytes say gzip, whatever its name says.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

fn read_lines(mut from: impl BufRead) -> Result<(Vec<Line>, LoadReport), Interrupted> {
    let (mut lines, mut report, mut seen) = (Vec::new(), LoadReport::default(), HashSet::new());
    let mut buffer = Vec::new();
    for number in 1.. {
        buffer.clear();
        let interrupted = |cause| Interrupted { lines: number - 1, cause };
        let mut limited = from.by_ref().take(LONGEST_LINE + 1);
        if limited.read_until(b'\n', &mut buffer).map_err(interrupted)? == 0 {
            break;
        }
        let read = match bounded(&mut from, &buffer).map_err(interrupted)? {
            true => read_line(&buffer, number),
            false => Err(BadLine::new("too_long", "the line is longer than 1 MiB")),
        };
        match read {
            Ok(Some(line)) if seen.insert(line.id) => lines.push(line),
            Ok(Some(line)) => {
                let detail = format!("id {} was on an earlier line", line.id);
                report.skip(number, BadLine::new("id_repeated", detail));
            }
            Ok(None) => {}
            Err(bad) => report.skip(number, bad),
        }
    }
    report.products = lines.len();
    Ok((lines, report))
}

/// Whether `buffer` holds a whole line; the rest of an overlong one is passed over.
fn bounded(from: &mut impl BufRead, buffer: &[u8]) -> io::Result<bool> {
    if buffer.ends_with(b"\n") || u64::try_from(buffer.len()).unwrap_or(u64::MAX) <= LONGEST_LINE {
        return Ok(true);
    }
    from.skip_until(b'\n')?;
    Ok(false)
}

/// Reads one line; blank ones are nothing, not bad.
fn read_line(line: &[u8], number: usize) -> Result<Option<Line>, BadLine> {
    let line = match line.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) if number == 1 => rest,
        _ => line,
    };
    let line = line.trim_ascii();
    if line.is_empty() { Ok(None) } else { Line::read(line).map(Some) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bad_lines_cost_only_themselves() {
        let mut text = b"\xef\xbb\xbf{\"id\":1,\"title\":\"a\"}\r\n\nnonsense\n{\"id\":1,\"title\":\"again\"}\n".to_vec();
        text.extend(vec![b'x'; usize::try_from(LONGEST_LINE).unwrap() + 10]);
        text.extend(b"\n{\"id\":2,\"title\":\"last, without a line end\"}");
        let (lines, report) = read_lines(&text[..]).unwrap();
        assert_eq!(lines.iter().map(|line| line.id).collect::<Vec<_>>(), [1, 2]);
        let found: Vec<_> = report.first_skipped.iter().map(|l| (l.number, l.reason)).collect();
        assert_eq!(found, [(3, "not_json"), (4, "id_repeated"), (5, "too_long")]);
        assert_eq!(report.skipped_lines(), 3);
    }

    #[test]
    fn only_the_first_twenty_are_described() {
        let (_, report) = read_lines("x\n".repeat(50).as_bytes()).unwrap();
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
            assert_eq!(read(Some(path)).unwrap().0.len(), 1);
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
        assert!(matches!(read(Some(&folder.path().join("none"))), Err(LoadError::Read { .. })));
    }

    #[test]
    fn the_built_in_catalogue_is_clean() {
        let (lines, report) = read(None).unwrap();
        assert!(lines.len() >= 300, "{}", lines.len());
        assert_eq!(report.skipped_lines(), 0, "{:?}", report.first_skipped);
        let tops: HashSet<_> = lines.iter().filter_map(|line| line.category_path.first()).collect();
        assert!(tops.len() >= 8, "{tops:?}");
    }
}
