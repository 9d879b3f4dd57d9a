//! One plain HTTP request that shows whether a gateway is alive.
//!
//! Owns: the probe that a container's health check runs, so that the image needs no other program.
//! Refuses: anything but `http`. When the gateway does not answer in time, it is not alive.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use url::{Position, Url};

/// Longest time of each step of the probe.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// The address at which a gateway with these settings says that it is alive.
pub(super) fn address_of(listens: SocketAddr) -> String {
    let host = match listens.ip() {
        any if !any.is_unspecified() => any,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    format!("http://{}/health/live", SocketAddr::new(host, listens.port()))
}

/// Asks the address.
///
/// # Errors
/// A sentence for a person when the answer is not a 200, or when there is none in time.
pub(super) fn probe(address: &str, patience: Duration) -> Result<(), String> {
    let url = Url::parse(address).map_err(|error| format!("{address} is no address: {error}"))?;
    if url.scheme() != "http" {
        return Err(format!("{address} is not an http address"));
    }
    let status = status_of(&url, patience);
    let status = status.map_err(|error| format!("no answer from {address}: {error}"))?;
    if status.starts_with(b"HTTP/1.") && status.ends_with(b" 200") {
        return Ok(());
    }
    Err(format!("{address} answered {:?}", String::from_utf8_lossy(&status)))
}

/// The beginning of the answer, as in `HTTP/1.1 200`.
fn status_of(url: &Url, patience: Duration) -> Result<[u8; 12], Error> {
    let mut stream = connect(url, patience)?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_read_timeout(Some(patience))?;
    let (path, host) = (url.path(), &url[Position::BeforeHost..Position::AfterPort]);
    let agent = "User-Agent: breakwater-health";
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{agent}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status)
}

/// A name may have several addresses, of which the gateway listens on one.
fn connect(url: &Url, patience: Duration) -> Result<TcpStream, Error> {
    let mut refusal = Error::from(ErrorKind::NotFound);
    for address in url.socket_addrs(|| None)? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
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
