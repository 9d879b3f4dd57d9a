//! A log file that never outgrows its share of the disk.
//!
//! Owns: one file and those before it (`name.1` is the youngest). The file is opened anew when its name
//! is another file's or nobody's, so a tool that renames it needs no signal. Refuses a path it cannot open
//! at the start. When the files cannot be moved later, or a new one cannot be made, it goes on in the old
//! one, says so with every line, and tries again (to move them when the file has grown by as much again): a
//! log that is too long is better than none. An old file that nobody can reach any more takes no line.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::losses::Kept;

/// When a file is rotated and how many are kept beside the current one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    pub(super) longest: u64,
    pub(super) kept: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { longest: 10_000_000, kept: 5 }
    }
}

/// Expects one whole line with each call of `write`.
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    length: u64,
    rotation: Rotation,
    /// The file ends in the middle of a line that met a full disk.
    is_torn: bool,
    /// Why the files could not be moved the last time.
    unmoved: Option<String>,
}

impl RotatingFile {
    /// Opens the file to append to it, and makes its directory when there is none.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = append_to(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, rotation, is_torn: false, unmoved: None })
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.length = 0;
        for number in (1..self.rotation.kept).rev() {
            moved(&self.numbered(number), &self.numbered(number + 1))?;
        }
        moved(&self.path, &self.numbered(1))?;
        self.file = append_to(&self.path)?;
        Ok(())
    }

    /// Opens the file anew when another process renamed or removed it, and counts what is in it: another
    /// process may have emptied it.
    fn follow_name(&mut self) -> io::Result<()> {
        let open = self.file.metadata()?;
        let is_named = fs::metadata(&self.path)
            .is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino()));
        if is_named {
            self.length = self.length.min(open.len());
        } else {
            self.file = append_to(&self.path)?;
            self.length = self.file.metadata()?.len();
            self.is_torn = false;
        }
        Ok(())
    }

    /// All of a line, or what there is room for.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_torn = rest.len() < line.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Whether the file can be opened, or made, without making anything.
pub(super) fn probe(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return OpenOptions::new().append(true).open(path).map(drop);
    }
    let mut above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    match above.find_map(|above| fs::metadata(above).ok()) {
        Some(found) if !found.is_dir() => Err(ErrorKind::NotADirectory.into()),
        Some(found) if found.permissions().readonly() => Err(ErrorKind::PermissionDenied.into()),
        Some(_) | None => Ok(()),
    }
}

/// For its owner only: lines hold addresses of clients.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Moves a file over another; one that is not there leaves a gap and is no error.
fn moved(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let followed = self.follow_name();
        if let Err(error) = &followed
            && self.file.metadata().is_ok_and(|file| file.nlink() == 0)
        {
            return Err(io::Error::new(error.kind(), format!("cannot be opened anew: {error}")));
        }
        if self.length > 0 && self.length.saturating_add(length) > self.rotation.longest {
            self.unmoved = self.rotate().err().map(|error| format!("cannot be rotated: {error}"));
        }
        self.put(line)?;
        self.length = self.length.saturating_add(length);
        let unopened = followed.err().map(|error| format!("cannot be opened anew: {error}"));
        match unopened.or_else(|| self.unmoved.clone()) {
            Some(why) => Err(io::Error::other(Kept(format!("{why}; the old file goes on")))),
            None => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Rotation = Rotation { longest: 8, kept: 2 };

    fn read(path: &Path, suffix: &str) -> Option<String> {
        fs::read_to_string(format!("{}{suffix}", path.display())).ok()
    }

    #[test]
    fn a_file_is_moved_before_it_grows_too_long_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/log");
        let mut log = RotatingFile::open(&path, SMALL).unwrap();
        for line in ["one1\n", "two\n", "three\n", "four\n", "a very long line\n", "six\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path, "").unwrap(), "six\n");
        assert_eq!(read(&path, ".1").unwrap(), "a very long line\n");
        assert_eq!(read(&path, ".2").unwrap(), "four\n");
        assert_eq!(read(&path, ".3"), None);
    }

    #[test]
    fn a_file_that_is_there_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "old\n").unwrap();
        RotatingFile::open(&path, SMALL).unwrap().write_all(b"new\n").unwrap();
        assert_eq!(read(&path, "").unwrap(), "old\nnew\n");
        RotatingFile::open(&path, SMALL).unwrap().write_all(b"!\n").unwrap();
        assert_eq!(read(&path, "").unwrap(), "!\n");
        assert_eq!(read(&path, ".1").unwrap(), "old\nnew\n");
    }

    #[test]
    fn a_file_that_was_renamed_or_removed_is_made_again_with_the_next_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = RotatingFile::open(&path, Rotation::default()).unwrap();
        log.write_all(b"one\n").unwrap();
        fs::rename(&path, directory.path().join("log-yesterday")).unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(read(&path, "-yesterday").unwrap(), "one\n");
        assert_eq!(read(&path, "").unwrap(), "two\n");
        fs::remove_file(&path).unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(read(&path, "").unwrap(), "three\n");
    }

    #[test]
    fn a_file_that_was_emptied_has_room_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = RotatingFile::open(&path, SMALL).unwrap();
        log.write_all(b"1234567\n").unwrap();
        File::create(&path).unwrap();
        log.write_all(b"8\n").unwrap();
        assert_eq!((read(&path, "").unwrap().as_str(), read(&path, ".1")), ("8\n", None));
    }

    #[test]
    fn only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        RotatingFile::open(&path, SMALL).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn when_files_cannot_be_moved_the_old_one_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = RotatingFile::open(&path, SMALL).unwrap();
        // A directory that is not empty cannot be replaced by a file.
        fs::create_dir_all(directory.path().join("log.1/x")).unwrap();
        fs::write(directory.path().join("log.2"), "").unwrap();
        log.write_all(b"one1\n").unwrap();
        for line in ["two\n", "three\n"] {
            let problem = log.write_all(line.as_bytes()).unwrap_err();
            assert!(problem.to_string().starts_with("cannot be rotated: "), "{problem}");
            assert!(problem.get_ref().unwrap().is::<Kept>());
        }
        assert_eq!(read(&path, "").unwrap(), "one1\ntwo\nthree\n");
    }

    #[test]
    fn a_file_out_of_everybodys_reach_takes_no_line() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("logs");
        let path = folder.join("log");
        let mut log = RotatingFile::open(&path, Rotation::default()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let problem = log.write_all(b"one\n").unwrap_err();
        assert!(problem.to_string().contains("cannot be opened anew: No such file"), "{problem}");
        fs::create_dir(&folder).unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(read(&path, "").unwrap(), "two\n");
    }

    #[test]
    fn a_line_that_met_a_full_disk_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = RotatingFile::open(&path, Rotation::default()).unwrap();
        log.write_all(b"{\"half").unwrap();
        log.is_torn = true;
        log.write_all(b"{}\n").unwrap();
        assert_eq!(read(&path, "").unwrap(), "{\"half\n{}\n");
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        assert!(RotatingFile::open(directory.path(), SMALL).is_err());
    }
}
