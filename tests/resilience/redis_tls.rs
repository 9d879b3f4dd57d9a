//! Redis over TLS: an authority of one's own, one that nobody named, another host's name, and a server
//! that wants a certificate.
//!
//! Owns: the authority, the certificates, and their files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use breakwater::redis::{Health, Redis as Client, Servers, TlsFiles};
use breakwater::resilience::breaker::{Breaker, Settings};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tempfile::TempDir;

use crate::front::Front;
use crate::redis_rig::until;
use crate::support::gateway::Plan;
use crate::support::redis::Redis;

/// An authority and what it vouches for.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Who signs is told from who is signed by the name.
        let authority_name = folder.path().display().to_string();
        let mut authority = params(&authority_name, Vec::new());
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let made = Self { folder };
        std::fs::write(made.file("ca.pem"), authority.pem()).unwrap();
        for name in ["127.0.0.1", "elsewhere.example", "client"] {
            let key = KeyPair::generate().unwrap();
            let certificate =
                params(name, vec![name.to_owned()]).signed_by(&key, &authority).unwrap();
            std::fs::write(made.file(&format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(made.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        made
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server that shows this name's certificate and asks its clients for one, or not.
    fn server(&self, name: &str, asks: &str) -> Redis {
        let path = |name: &str| self.file(name).display().to_string();
        let (certificate, key) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        Redis::start_with_tls(&[
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &path("ca.pem"),
            "--tls-auth-clients",
            asks,
        ])
    }

    fn authority(&self) -> TlsFiles {
        TlsFiles { ca: Some(self.file("ca.pem")), ..TlsFiles::default() }
    }

    fn client(&self) -> TlsFiles {
        let (certificate, key) = (Some(self.file("client.pem")), Some(self.file("client.key")));
        TlsFiles { certificate, key, ..self.authority() }
    }
}

fn params(name: &str, hosts: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn url(redis: &Redis) -> String {
    format!("rediss://{}", redis.address())
}

fn client(url: &str, files: TlsFiles) -> Client {
    let breaker = Breaker::new("redis", Settings::new(3, Duration::ZERO), Arc::new(|_| {}));
    let servers = Servers::new(url, files).unwrap();
    // A handshake on a busy machine takes its time.
    Client::new(&servers, Duration::from_millis(500), Arc::new(Health::new(breaker)))
}

async fn works(client: &Client) {
    until("redis answers over TLS", async || client.ping().await.is_ok()).await;
    assert_eq!(client.trouble(), None);
}

/// Never works; what is told in the end.
async fn told(client: &Client, words: &str) {
    until(words, async || {
        assert!(client.ping().await.is_err());
        client.trouble().is_some_and(|said| said.contains(words))
    })
    .await;
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_and_no_other() {
    let (ours, foreign) = (Certificates::make(), Certificates::make());
    let redis = ours.server("127.0.0.1", "no");
    works(&client(&url(&redis), ours.authority())).await;
    for files in [TlsFiles::default(), foreign.authority()] {
        let stranger = client(&url(&redis), files);
        told(&stranger, "UnknownIssuer; misconfigured: name who vouches").await;
    }
    redis.stop();
}

#[tokio::test]
async fn a_certificate_of_another_host_is_refused() {
    let ours = Certificates::make();
    let redis = ours.server("elsewhere.example", "no");
    told(&client(&url(&redis), ours.authority()), "write the host in REDIS_URL as in").await;
    redis.stop();
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_one_and_its_lack_is_told() {
    let ours = Certificates::make();
    let redis = ours.server("127.0.0.1", "yes");
    works(&client(&url(&redis), ours.client())).await;
    let without = client(&url(&redis), ours.authority());
    told(&without, "misconfigured: Redis wants a certificate: set REDIS_CERT_FILE").await;
    redis.stop();
}

#[tokio::test]
async fn a_renewed_certificate_needs_no_restart() {
    let (ours, renewed) = (Certificates::make(), Certificates::make());
    let redis = renewed.server("127.0.0.1", "yes");
    let client = client(&url(&redis), ours.client());
    told(&client, "UnknownIssuer").await;
    for file in ["ca.pem", "client.pem", "client.key"] {
        std::fs::copy(renewed.file(file), ours.file(file)).unwrap();
    }
    works(&client).await;
    redis.stop();
}

#[test]
fn a_gateway_caches_in_a_redis_with_certificates_on_both_sides() {
    let ours = Certificates::make();
    let redis = ours.server("127.0.0.1", "yes");
    let start = || {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| ours.file(name).display().to_string();
        let plan = Plan::in_folder(folder.path())
            .with("REDIS_URL", url(&redis))
            .with("REDIS_TIMEOUT_MS", "500")
            .with("REDIS_CA_FILE", path("ca.pem"))
            .with("REDIS_CERT_FILE", path("client.pem"))
            .with("REDIS_KEY_FILE", path("client.key"));
        (Front::start_as(&plan, folder.path()), folder)
    };
    let (mut first, _folder) = start();
    first.until_health("redis", "healthy");
    let mut ends = |setting| {
        first.metric(&format!("certificate_expires_timestamp_seconds{{setting=\"{setting}\"}}"))
    };
    let [ca, own, none] = ["REDIS_CA_FILE", "REDIS_CERT_FILE", "DATABASE_URL"].map(&mut ends);
    assert!(ca > 1.8e9 && own > 1.8e9 && ca.is_finite() && own.is_finite(), "{ca} {own}");
    assert!(none.is_infinite(), "{none}");
    // Storing goes on after the answer.
    let found = (1..20).any(|number| {
        first.ask(number);
        let (mut second, _folder) = start();
        let tier = second.ask(number).tier;
        second.stop();
        tier == "redis"
    });
    assert!(found, "one instance finds what another has stored");
    first.stop();
    redis.stop();
}
