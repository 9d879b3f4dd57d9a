//! Pictures of the simulator's products, where clients reach them: a gateway may be reached from where
//! the simulator inside it is not, and keeps its address when it starts again.
//!
//! They are the same for every simulator, so they are shown whichever is asked.

use actix_web::HttpResponse;
use actix_web::web::to;

use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::openapi::{Doc, NOT_FOUND};
use crate::http::service::Route;
use crate::limits::Class;
use crate::services::products::simulator::{PICTURE, PICTURE_TYPE, picture};

/// Seconds that a client may keep one.
const LASTS: u64 = 86_400;

/// A page of products shows more pictures than a client may ask questions.
pub(super) const ROUTES: &[Route] = &[Route::at(PICTURE, Class::Exempt).get(|| to(show)).says(doc)];

fn doc(doc: &mut Doc<'_>) {
    let summary = "Shows a picture of the simulator's built-in catalogue.";
    let details = "A drawing; `image_url` of its products names it.";
    doc.says("Products", "getSimulatorPicture", summary, details)
        .path("drawing", "What is drawn.", None)
        .example("desklamp")
        .path("colour", "In which colour.", None)
        .example("black")
        .path("view", "From which side.", Some(r"^[1-5]\.svg$"))
        .example("1.svg")
        .answers(&[PICTURE_TYPE], "The picture.")
        .lasts()
        .fails(NOT_FOUND);
}

async fn show(call: Call) -> Answer {
    let (drawing, colour, view): (String, String, String) = call.path()?;
    let drawn = picture(&drawing, &colour, &view);
    let drawn = drawn.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    call.lasts(LASTS, drawn.clone().into());
    Ok(HttpResponse::Ok().content_type(PICTURE_TYPE).body(drawn))
}
