//! Compression: above a kilobyte, only for those who ask, the same body after decoding, counted.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::GzDecoder;

use crate::envelope::data;
use crate::support::http::Answer;
use crate::test_app::TestApp;

const LARGE: &str = "/api/categories";

fn asking(app: &TestApp, accept: &str, path: &str) -> Answer {
    app.connection().with_header("accept-encoding", accept).get(path).unwrap()
}

#[test]
fn who_asks_gets_gzip_and_the_same_body() {
    let app = TestApp::start();
    let plain = app.get(LARGE);
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(app.metric("response_compressed_bytes_total"), 0.0);
    let (mut packed_bytes, mut ids) = (0, BTreeSet::new());
    for accept in ["gzip", "gzip, deflate, br", "br;q=0.5, gzip;q=0.9"] {
        let packed = asking(&app, accept, LARGE);
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{accept}");
        let vary: Vec<_> = packed.headers.iter().filter(|(name, _)| name == "vary").collect();
        assert!(vary.iter().any(|(_, value)| value.contains("accept-encoding")), "{vary:?}");
        assert!(packed.body.len() < plain.body.len() / 2);
        packed_bytes += packed.body.len();
        let mut body = Vec::new();
        GzDecoder::new(&packed.body[..]).read_to_end(&mut body).unwrap();
        let unpacked = Answer { body, ..packed };
        assert_eq!(data(&unpacked), data(&plain));
        // What is packed once is the data; each answer ends in its own way.
        let id = unpacked.json()["metadata"]["request_id"].as_str().unwrap().to_owned();
        assert_eq!(unpacked.header("x-request-id"), Some(&*id));
        ids.insert(id);
    }
    assert_eq!(ids.len(), 3);
    let counted = app.metric("response_compressed_bytes_total");
    assert_eq!(counted.to_string(), packed_bytes.to_string());
}

#[test]
fn who_does_not_ask_or_gets_little_gets_it_plain() {
    let app = TestApp::start();
    for accept in ["identity", "br", "gzip;q=0", "deflate"] {
        assert_eq!(asking(&app, accept, LARGE).header("content-encoding"), None, "{accept}");
    }
    for path in ["/health/live", "/nothing", "/api/products/search?keywords=qqzzxxyy"] {
        let answer = asking(&app, "gzip", path);
        assert!(answer.body.len() < 1024);
        assert_eq!(answer.header("content-encoding"), None, "{path}");
    }
}
