//! The measure of `make bench`: an actix-web handler that returns the bytes of a file, no more.
//!
//! `bare FILE WORKERS` listens on a free port of the loopback address and prints it. Paths under
//! `/origin` return the same bytes as something that may be cached, for the proxies in the
//! comparison, and `/asked` says how often that was asked for.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{App, HttpResponse, HttpServer, web};
use breakwater::console;
use bytes::Bytes;

/// What every answer holds.
#[derive(Debug)]
struct Shared {
    body: Bytes,
    asked: AtomicU64,
}

async fn bare(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(shared.body.clone())
}

async fn origin(shared: web::Data<Shared>) -> HttpResponse {
    shared.asked.fetch_add(1, Ordering::Relaxed);
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header(("cache-control", "public, max-age=3600"))
        .body(shared.body.clone())
}

async fn asked(shared: web::Data<Shared>) -> String {
    shared.asked.load(Ordering::Relaxed).to_string()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(workers)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare FILE WORKERS".into());
    };
    let body = Bytes::from(std::fs::read(file)?);
    let shared = web::Data::new(Shared { body, asked: AtomicU64::new(0) });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .route("/asked", web::get().to(asked))
            .route("/origin{rest:.*}", web::get().to(origin))
            .default_service(web::to(bare))
    })
    .workers(workers.parse()?)
    .bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        console::say(&format!("listening on http://{address}"))?;
    }
    Ok(server.run().await?)
}
