//! The fault proxy does what it says: else nothing that leans on it means anything.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use breakwater::clock;

use crate::support::fault_proxy::{Fault, FaultProxy};

/// Answers every byte with itself.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    drop(stream.write_all(&bytes[..length]));
                }
            });
        }
    });
    address
}

fn connect(proxy: &FaultProxy) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(proxy.address())?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    let mut answer = [0; 4];
    stream.write_all(b"ping")?;
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn every_fault_is_what_it_is_called() {
    let proxy = FaultProxy::before(echo());
    let mut open = connect(&proxy).unwrap();
    assert_eq!(exchange(&mut open).unwrap(), *b"ping");

    proxy.set(Fault::Garble);
    assert_ne!(exchange(&mut open).unwrap(), *b"ping");

    proxy.set(Fault::Delay(Duration::from_millis(50)));
    let before = clock::monotonic();
    assert_eq!(exchange(&mut open).unwrap(), *b"ping");
    assert!(clock::monotonic() - before >= Duration::from_millis(50));

    proxy.set(Fault::Hang);
    assert!(exchange(&mut open).is_err(), "an open connection hangs");
    let mut opened_in_hang = connect(&proxy).expect("it is accepted");
    assert!(exchange(&mut opened_in_hang).is_err());

    proxy.set(Fault::None);
    let mut withheld = [0; 4];
    open.read_exact(&mut withheld).expect("what was withheld comes");

    proxy.set(Fault::Cut);
    assert!(exchange(&mut open).is_err(), "an open connection is cut");

    proxy.set(Fault::Refuse);
    let refused = || TcpStream::connect(proxy.address()).is_err();
    let deadline = clock::monotonic() + Duration::from_secs(5);
    while !refused() {
        assert!(clock::monotonic() < deadline, "it still listens");
    }

    proxy.set(Fault::None);
    let deadline = clock::monotonic() + Duration::from_secs(5);
    while !connect(&proxy).is_ok_and(|mut stream| exchange(&mut stream).is_ok()) {
        assert!(clock::monotonic() < deadline, "it does not listen again");
    }
    assert!(proxy.accepted() >= 3);
}
