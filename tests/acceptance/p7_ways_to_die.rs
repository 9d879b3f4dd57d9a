//! The ways in which P7 breaks the database under a running gateway, and how each ends.
//!
//! Owns: the folder of the file, which is a small disk of its own where the system lets us mount one
//! (else a limit on the size of files stands in for a full disk), and what is done to the file from
//! outside. Refuses: to shorten what others have mapped into memory; no
//! database survives that.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;

use crate::stored::{FILE, connect};

/// A way to break the database.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether the file goes on to exist, so that what is not counted as dropped must be in it.
    pub(crate) keeps: bool,
    /// Breaks it.
    pub(crate) strike: fn(&mut Bench),
    /// Mends it, where that is not the gateway's own task.
    pub(crate) mend: fn(&mut Bench),
}

/// Every way of a running gateway.
pub(crate) const WAYS: [Way; 4] = [
    Way {
        name: "locked",
        keeps: true,
        strike: |bench| {
            let mut beside = connect(&bench.file());
            beside.batch_execute("BEGIN EXCLUSIVE").expect("the lock is to be had");
            bench.beside = Some(beside);
        },
        // What is begun and not ended is taken back.
        mend: |bench| drop(bench.beside.take()),
    },
    Way { name: "disk full", keeps: true, strike: Bench::fill, mend: Bench::make_space },
    Way { name: "garbage in place", keeps: false, strike: Bench::garble, mend: |_| {} },
    Way { name: "garbage by rename", keeps: false, strike: Bench::replace, mend: |_| {} },
];

/// A folder for a database that will not live long.
pub(crate) struct Bench {
    folder: PathBuf,
    mounted: bool,
    beside: Option<SqliteConnection>,
    /// The id of the gateway's process.
    pub(crate) gateway: Option<u32>,
}

/// A process that is started through this is told when a file may not become larger; it would be
/// killed otherwise.
pub(crate) const TOLD_OF_LIMITS: &[&str] = &["/usr/bin/env", "--ignore-signal=XFSZ"];
/// Where no disk can be filled: files of the process may not become larger than this.
const FILE_LIMIT: &str = "4096";

impl Bench {
    /// A new folder of this name, on a small disk of its own if the system lets us.
    pub(crate) fn make(parent: &Path, name: &str) -> Self {
        let folder = parent.join(name.replace(' ', "-"));
        fs::create_dir(&folder).expect("a new folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&folder);
        let mounted = mount.output().is_ok_and(|done| done.status.success());
        Self { folder, mounted, beside: None, gateway: None }
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Fills the disk to its last byte, or forbids the process to let a file grow.
    fn fill(&mut self) {
        // What the log of the database holds already would give it room to go on.
        let truncated = "PRAGMA wal_checkpoint(TRUNCATE)";
        drop(connect(&self.file()).batch_execute(truncated));
        if !self.mounted {
            return self.limit_files(FILE_LIMIT);
        }
        let mut ballast = fs::File::create(self.ballast()).expect("a file");
        let piece = vec![1; 1 << 12];
        while ballast.write_all(&piece).is_ok() {}
        while ballast.write_all(&[1]).is_ok() {}
    }

    fn make_space(&mut self) {
        if !self.mounted {
            return self.limit_files("unlimited");
        }
        fs::remove_file(self.ballast()).expect("the ballast is there");
    }

    fn limit_files(&self, to: &str) {
        let process = self.gateway.expect("a gateway runs").to_string();
        let mut command = Command::new("prlimit");
        let done = command.args([&format!("--fsize={to}:"), "--pid", &process]).status();
        assert!(done.is_ok_and(|done| done.success()), "the limit can be changed");
    }

    /// Overwrites every byte of the file and of what belongs to it.
    fn garble(&mut self) {
        for name in [FILE, "gateway.db-wal", "gateway.db-shm"] {
            let path = self.folder.join(name);
            let Ok(of) = fs::metadata(&path) else { continue };
            let garbage = garbage(usize::try_from(of.len()).expect("a small file"));
            let mut file = fs::File::options().write(true).open(&path).expect("it is there");
            file.write_all(&garbage).expect("it can be written");
        }
    }

    /// Puts another file in its place, as a failed copy of a backup would.
    fn replace(&mut self) {
        let other = self.folder.join("other");
        fs::write(&other, garbage(1 << 16)).expect("a new file");
        fs::rename(&other, self.file()).expect("the same folder");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.beside.take());
        if self.mounted {
            drop(Command::new("umount").arg("-l").arg(&self.folder).status());
        }
    }
}

fn garbage(length: usize) -> Vec<u8> {
    b"this is no database any more. ".iter().copied().cycle().take(length).collect()
}
