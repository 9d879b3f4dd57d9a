//! Files of TLS that are none.

use super::*;

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Some(folder.path().join(name))
    };
    let made = || rcgen::generate_simple_self_signed(["redis".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    let certificate = file("one.pem", &one.cert.pem());
    let key = file("one.key", &one.signing_key.serialize_pem());
    let foreign = file("other.key", &other.signing_key.serialize_pem());
    let words = file("words.pem", "certificate");
    let gone = Some(folder.path().join("gone.pem"));
    let good = TlsFiles { ca: certificate.clone(), certificate: certificate.clone(), key };
    assert!(good.read().unwrap().is_some());
    assert!(TlsFiles::default().read().unwrap().is_none());
    let bad = [
        (TlsFiles { ca: gone, ..good.clone() }, "REDIS_CA_FILE", "readable file (No such file"),
        (TlsFiles { ca: words.clone(), ..good.clone() }, "REDIS_CA_FILE", "in PEM form"),
        (TlsFiles { ca: good.key.clone(), ..good.clone() }, "REDIS_CA_FILE", "in PEM form"),
        (TlsFiles { certificate: words.clone(), ..good.clone() }, "REDIS_CERT_FILE", "in PEM form"),
        (TlsFiles { key: words, ..good.clone() }, "REDIS_KEY_FILE", "a private key in PEM form"),
        (TlsFiles { key: foreign, ..good }, "REDIS_KEY_FILE", "the key of the certificate in"),
    ];
    for (files, setting, expected) in bad {
        let bad = files.read().unwrap_err();
        assert!(bad.setting == setting && bad.expected.contains(expected), "{bad}");
    }
}
