//! A gate before the upstream: calls wait at it until the test opens it.
//!
//! Owns: holding connections for exactly as long as a test needs, so that no test guesses how long
//! its callers take to gather. Once open it passes bytes both ways, notes what callers send, and is not felt.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A gate; every connection ends when its caller goes or its upstream does.
pub(crate) struct Gate {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    arrived: usize,
    /// What callers sent.
    requests: Vec<u8>,
    leads_to: Option<SocketAddr>,
}

impl Gate {
    /// A closed one.
    pub(crate) fn closed() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let of_thread = Arc::clone(&state);
        // Both threads end with the test process; they hold nothing but sockets.
        thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&of_thread);
                thread::spawn(move || drop(pass(&caller, &state)));
            }
        });
        Self { address, state }
    }

    /// As `ALIEXPRESS_GATEWAY_URL` wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/sync", self.address)
    }

    /// Connections that came so far.
    pub(crate) fn arrived(&self) -> usize {
        self.state.0.lock().unwrap().arrived
    }

    /// What callers sent so far, one after another.
    pub(crate) fn requests(&self) -> String {
        String::from_utf8_lossy(&self.state.0.lock().unwrap().requests).into_owned()
    }

    /// Lets all pass, those that wait and those to come.
    pub(crate) fn open(&self, upstream: SocketAddr) {
        self.state.0.lock().unwrap().leads_to = Some(upstream);
        self.state.1.notify_all();
    }
}

fn pass(caller: &TcpStream, gate: &Arc<(Mutex<State>, Condvar)>) -> io::Result<()> {
    let (state, opened) = &**gate;
    let mut waiting = state.lock().unwrap();
    waiting.arrived += 1;
    let open = opened.wait_while(waiting, |state| state.leads_to.is_none()).unwrap();
    let upstream = TcpStream::connect(open.leads_to.expect("it is open"))?;
    drop(open);
    let (from, to, gate) = (caller.try_clone()?, upstream.try_clone()?, Arc::clone(gate));
    thread::spawn(move || {
        drop(note(&from, &to, &gate.0));
        drop(to.shutdown(Shutdown::Write));
    });
    copy(&upstream, caller);
    Ok(())
}

fn note(mut from: &TcpStream, mut to: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut bytes = [0; 1 << 12];
    loop {
        let read = from.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        state.lock().unwrap().requests.extend_from_slice(&bytes[..read]);
        to.write_all(&bytes[..read])?;
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}
