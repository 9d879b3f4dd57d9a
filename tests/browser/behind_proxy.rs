//! The page under a path of a proxy's, as `https://shop.example/gateway/admin`.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::desk::{Desk, SOON};
use crate::support::gateway::ADMIN_KEY;

const PREFIX: &str = "/gateway";

/// Takes the prefix off and passes on one request a connection; what is not under it is not found.
fn proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || drop(pass(client, to)));
        }
    });
    address
}

fn pass(client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let (mut from, mut back) = (BufReader::new(client.try_clone()?), client);
    let mut first = String::new();
    from.read_line(&mut first)?;
    let Some((method, path)) = first.split_once(&format!(" {PREFIX}/")) else {
        return back.write_all(
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    };
    let mut gateway = TcpStream::connect(to)?;
    write!(gateway, "{method} /{path}connection: close\r\n")?;
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        if !line.to_ascii_lowercase().starts_with("connection:") {
            gateway.write_all(line.as_bytes())?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut onward = gateway.try_clone()?;
    let body = thread::spawn(move || io::copy(&mut from, &mut onward));
    io::copy(&mut gateway, &mut back)?;
    back.shutdown(std::net::Shutdown::Both)?;
    drop(body.join());
    Ok(())
}

#[test]
fn under_a_path_everything_works_as_at_the_root() {
    let Some(mut desk) = Desk::open(&[]) else { return };
    let outside = proxy(desk.gateway.address);
    desk.expects("gateway/admin/live?since=0 - Failed to load resource: the server responded with a status of 403");
    desk.open(&format!("http://{outside}{PREFIX}/admin"));
    desk.sign_in(ADMIN_KEY);
    desk.wait_for("#age", "Live", SOON);
    desk.wait_for("#breakers", "closed", SOON);
    desk.reload();
    desk.wait_for("#age", "Live", SOON);
    let (_, result) = desk.act("open breaker upstream");
    assert!(result.contains("It is open now"), "{result}");
    desk.wait_for("#audit", "breaker.open", SOON);
    desk.click("#sign-out");
    desk.wait_for("#login", "Admin key", SOON);
    desk.leave();
}
