//! A real `redis-server` of a test's own.
//!
//! Owns: a process on a free port of the loopback address and an empty folder for it. Refuses: to
//! share anything with a Redis that may run on this machine already.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, wait_until};

/// A running `redis-server`.
pub(crate) struct Redis {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_at(free_address())
    }

    /// Starts one at this address, for example where one died before.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), address)
    }

    /// Ends it as a crash would, and starts another with what it saved last (`SAVE`).
    pub(crate) fn crashed(self) -> Self {
        let Self { process, address, folder } = self;
        process.kill();
        Self::start_in(folder, address)
    }

    fn start_in(folder: TempDir, address: SocketAddr) -> Self {
        let port = address.port().to_string();
        let redis = Self::spawn(folder, address, &["--port", &port]);
        wait_until("redis-server answers", Duration::from_secs(10), || answers(address));
        redis
    }

    /// Starts one with these further arguments and waits until it answers.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_with_at(free_address(), arguments)
    }

    /// The same at this address.
    pub(crate) fn start_with_at(address: SocketAddr, arguments: &[&str]) -> Self {
        let port = address.port().to_string();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let redis = Self::spawn(folder, address, &[&["--port", &port], arguments].concat());
        wait_until("redis-server answers", Duration::from_secs(10), || answers(address));
        redis
    }

    /// Starts one that speaks TLS only, with these further arguments, and waits until it listens.
    pub(crate) fn start_with_tls(arguments: &[&str]) -> Self {
        let address = free_address();
        let port = address.port().to_string();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports = ["--port", "0", "--tls-port", &port];
        let redis = Self::spawn(folder, address, &[&ports[..], arguments].concat());
        let listens = || TcpStream::connect(address).is_ok();
        wait_until("redis-server listens", Duration::from_secs(10), listens);
        redis
    }

    fn spawn(folder: TempDir, address: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder.path())
            .args(arguments);
        let process = Process::start("redis-server", &mut command, &folder.path().join("log"));
        Self { process, address, folder }
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    /// Sends one command on a connection of its own; the answer as it came over the wire.
    pub(crate) fn command(&self, words: &[&[u8]]) -> Vec<u8> {
        self.commands(&[words])
    }

    /// The same with this password.
    pub(crate) fn command_as(&self, password: &[u8], words: &[&[u8]]) -> Vec<u8> {
        self.commands(&[&[b"AUTH", password], words])
    }

    fn commands(&self, commands: &[&[&[u8]]]) -> Vec<u8> {
        commands_at(self.address, commands)
    }

    /// As `REDIS_URL` wants it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Ends it.
    pub(crate) fn stop(self) {
        self.process.terminate();
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

/// A loopback address nobody listens on right now.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

fn answers(address: SocketAddr) -> bool {
    let mut answer = [0_u8; 7];
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        stream.read_exact(&mut answer)
    });
    // One that wants a password answers, too.
    asked.is_ok() && [b"+PONG\r\n", b"-NOAUTH"].contains(&&answer)
}

/// Sends one command to whoever listens there, on a connection of its own; the answer as it came.
pub(crate) fn command_at(address: SocketAddr, words: &[&[u8]]) -> Vec<u8> {
    commands_at(address, &[words])
}

fn commands_at(address: SocketAddr, commands: &[&[&[u8]]]) -> Vec<u8> {
    let mut request = Vec::new();
    // After the last the server closes the connection: the end of the answer is its end.
    for words in commands.iter().chain(&[&[&b"QUIT"[..]][..]]) {
        request.extend(format!("*{}\r\n", words.len()).into_bytes());
        for word in *words {
            request.extend(format!("${}\r\n", word.len()).into_bytes());
            request.extend([word, &b"\r\n"[..]].concat());
        }
    }
    ask(address, &request).expect("redis-server answers a test's own command")
}

fn ask(address: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request)?;
    let (mut answer, mut read) = (Vec::new(), [0; 4_096]);
    loop {
        let count = stream.read(&mut read)?;
        answer.extend_from_slice(read.get(..count).unwrap_or_default());
        // Sentinels do not know how to quit.
        if count == 0 || answer.windows(6).any(|word| word == b"'QUIT'") {
            return Ok(answer);
        }
    }
}
