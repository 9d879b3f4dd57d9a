//! When the certificates end whose files are named in settings.
//!
//! Owns: reading a file in PEM form for the earliest end of what it holds. It is read anew each time, as
//! those who use it do: a renewed file needs no restart. A file that cannot be read has no end, and that
//! is told as such.

use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// The time, since the Unix epoch, at which the first certificate of the file ends; `None` when the file
/// cannot be read, or holds none.
#[must_use]
pub fn earliest_end(file: &Path) -> Option<Duration> {
    let ends = CertificateDer::pem_file_iter(file).ok()?.map(|found| {
        let certificate = Certificate::from_der(&found.ok()?).ok()?;
        Some(certificate.tbs_certificate.validity.not_after.to_unix_duration())
    });
    // One that makes no sense makes the whole file useless to those who use it.
    ends.collect::<Option<Vec<_>>>()?.into_iter().min()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn ending(year: i32) -> String {
        let mut params = CertificateParams::new(["shop.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_first_to_end_counts_and_what_is_none_has_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = folder.path().join("some.pem");
            std::fs::write(&path, text).unwrap();
            earliest_end(&path)
        };
        // 2030-01-01T00:00:00Z.
        let first = Some(Duration::from_secs(1_893_456_000));
        assert_eq!(file(&ending(2030)), first);
        assert_eq!(file(&(ending(2060) + &ending(2030) + &ending(2040))), first);
        let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for bad in ["", "words", torn, &(ending(2030) + torn)] {
            assert_eq!(file(bad), None, "{bad}");
        }
        assert_eq!(earliest_end(&folder.path().join("gone.pem")), None);
    }
}
