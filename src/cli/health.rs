//! One plain HTTP request that shows whether a gateway is alive.
//!
//! Owns: the probe that a container's health check runs, so that the image needs no other program.
//! Refuses: anything but `http`. When the gateway does not answer in time, it is not alive.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use url::Url;

use crate::clock;

/// Longest time the whole probe may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Enough for `HTTP/1.1 200`.
const STATUS_LENGTH: usize = 12;

/// The address at which a gateway with these settings says that it is alive.
pub(super) fn address_of(listens: SocketAddr) -> String {
    let host = match listens.ip() {
        any if !any.is_unspecified() => any,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    format!("http://{}/health/live", SocketAddr::new(host, listens.port()))
}

/// Asks the address and gives up at the deadline.
///
/// # Errors
/// A sentence for a person when the answer is not a 200, or when there is none in time.
pub(super) fn probe(address: &str, patience: Duration) -> Result<(), String> {
    let deadline = clock::monotonic() + patience;
    let url = Url::parse(address).map_err(|error| format!("{address} is no address: {error}"))?;
    let host = url.host_str().filter(|_| url.scheme() == "http");
    let host = host.ok_or_else(|| format!("{address} is not an http address"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: breakwater-health\r\nConnection: close\r\n\r\n",
        url.path()
    );
    let status = exchange(host, port, &request, deadline)
        .map_err(|error| format!("no answer from {address}: {error}"))?;
    match status.split_once(' ') {
        Some((protocol, "200")) if protocol.starts_with("HTTP/1.") => Ok(()),
        _ => Err(format!("{address} answered {status:?}")),
    }
}

/// Sends the request and returns the first letters of the answer.
fn exchange(host: &str, port: u16, request: &str, deadline: Instant) -> std::io::Result<String> {
    let mut stream = connect(host, port, deadline)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::with_capacity(STATUS_LENGTH);
    let mut byte = [0_u8; 1];
    while answer.len() < STATUS_LENGTH {
        // Set for every read: a peer that sends a byte now and then must not outlast the deadline.
        stream.set_read_timeout(Some(left(deadline)?))?;
        if stream.read(&mut byte)? == 0 {
            break;
        }
        answer.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A name may have several addresses, of which the gateway listens on one.
fn connect(host: &str, port: u16, deadline: Instant) -> std::io::Result<TcpStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut refusal = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in (bare, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn left(deadline: Instant) -> std::io::Result<Duration> {
    let left = deadline.saturating_duration_since(clock::monotonic());
    if left.is_zero() { Err(std::io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers one connection with the bytes, then closes; `None` never answers.
    fn server(answer: Option<&'static str>) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/health/live", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                // Until the probe hangs up.
                None => assert_eq!(stream.read(&mut [0]).unwrap(), 0),
            }
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, served)
    }

    #[test]
    fn a_200_is_alive() {
        let (address, served) = server(Some("HTTP/1.1 200 OK\r\n\r\n"));
        probe(&address, PATIENCE).unwrap();
        assert!(
            served.join().unwrap().starts_with("GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:")
        );
    }

    #[test]
    fn anything_else_is_not() {
        for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "", "SSH-2.0-x 200\r\n", "200"] {
            let (address, served) = server(Some(answer));
            assert!(probe(&address, PATIENCE).is_err(), "{answer}");
            served.join().unwrap();
        }
        assert!(probe("https://127.0.0.1/", PATIENCE).unwrap_err().contains("not an http address"));
        assert!(probe("nowhere", PATIENCE).is_err());
    }

    #[test]
    fn silence_and_a_closed_port_are_not() {
        let (address, served) = server(None);
        assert!(probe(&address, Duration::from_millis(50)).unwrap_err().contains("no answer"));
        served.join().unwrap();
        // The listener is gone with its thread.
        assert!(probe(&address, PATIENCE).unwrap_err().contains("no answer"));
    }

    #[test]
    fn the_address_follows_the_settings() {
        for (host, address) in [
            ("0.0.0.0", "http://127.0.0.1:8080/health/live"),
            ("::", "http://[::1]:8080/health/live"),
            ("10.1.2.3", "http://10.1.2.3:8080/health/live"),
        ] {
            assert_eq!(address_of(SocketAddr::new(host.parse().unwrap(), 8080)), address);
        }
    }
}
