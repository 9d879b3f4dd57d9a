//! TLS towards the upstream: a certificate nobody vouches for, one that is trusted, and silence.
//!
//! Owns: a TLS server of its own, with a certificate made for the occasion.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use breakwater::clock;
use breakwater::failure::FailureKind;
use breakwater::resilience::breaker::State;
use breakwater::services::products::aliexpress::AliExpress;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::upstream_rig::{Rig, SEARCH, Setup, aliexpress_at};

/// An answer without products.
const NOTHING: &str = r#"{"aliexpress_affiliate_product_query_response":{"resp_result":
    {"resp_code":405,"resp_msg":"The result is empty"}}}"#;

/// A server that answers every request over TLS, and counts its connections.
struct Server {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let (config, connections) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = StreamOwned::new(connection, stream.unwrap());
                // A client that does not trust the certificate is gone in the handshake.
                std::thread::spawn(move || drop(answer(stream)));
            }
        });
        Self { address, certificate, connections }
    }

    fn trusted(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

fn answer(stream: StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0_usize;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
        let answer = format!("{head}{}\r\n\r\n{NOTHING}", NOTHING.len());
        reader.get_mut().write_all(answer.as_bytes())?;
    }
}

fn rig(address: SocketAddr, change: impl FnOnce(&mut Setup<AliExpress>)) -> Rig {
    Rig::start_with(|tables| {
        tables.origins[0] = aliexpress_at(format!("https://{address}/sync"));
        crate::upstream_rig::no_retry(tables);
        change(tables);
    })
}

#[actix::test]
async fn a_certificate_nobody_vouches_for_is_no_connection() {
    let server = Server::start();
    let rig = rig(server.address, |_| {});
    let failure = rig.call(SEARCH).await.expect_err("nobody vouches for it");
    assert_eq!(failure.kind, FailureKind::UpstreamUnavailable);
    assert!(failure.reason.contains("cannot connect: "), "{failure}");
    assert!(failure.reason.contains("certificate"), "{failure}");
    let breaker = rig.account().breaker.snapshot(clock::monotonic());
    assert_eq!((breaker.state, breaker.consecutive_failures), (State::Closed, 1));
    assert_eq!(rig.restarts(), 0);
    rig.stop().await;
}

#[actix::test]
async fn a_certificate_that_is_trusted_is_used_and_its_connection_kept() {
    let server = Server::start();
    let rig = rig(server.address, |tables| tables.wire.tls = Some(server.trusted()));
    for _ in 0..5 {
        let reply = rig.call(SEARCH).await.expect("its certificate is trusted");
        assert_eq!(reply, None);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    rig.stop().await;
}

#[actix::test]
async fn a_handshake_has_its_own_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rig = rig(address, |tables| tables.wire.connect_timeout = Duration::from_millis(100));
    let started = clock::monotonic();
    let failure = rig.call(SEARCH).await.expect_err("nobody shakes hands");
    let took = clock::monotonic() - started;
    assert!(failure.reason.contains("no end of the TLS handshake"), "{failure}");
    assert!(took < Duration::from_secs(2), "it took {took:?}, not the attempt's five seconds");
    rig.stop().await;
}
