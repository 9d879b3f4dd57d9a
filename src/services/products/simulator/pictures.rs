//! Pictures of the built-in catalogue's products, drawn for this project.
//!
//! Owns: the drawings (`pictures.txt`, one a line behind its name), their colours, and the views of each: a
//! product's first image is the first view. An address in the catalogue is a path; whoever serves it puts
//! an address in front. Refuses: a picture that is none. Has no neighbour that could be down.

/// What every path of a picture begins with.
pub(super) const PICTURES: &str = "/simulator/pictures/";
/// Its path, as a route: what is drawn, in which colour, and `{number of the view}.svg`.
pub const PICTURE: &str = "/simulator/pictures/{drawing}/{colour}/{view}";
pub const PICTURE_TYPE: &str = "image/svg+xml";

const DRAWINGS: &str = include_str!("pictures.txt");

/// Names of the colours, with those of a product and of what is behind it.
const COLOURS: [(&str, &str, &str); 13] = [
    ("beige", "#d9c3a0", "#f5efe4"),
    ("black", "#39424a", "#e6e9ec"),
    ("blue", "#3f7fc4", "#e3edf8"),
    ("brown", "#8a5a3b", "#f2e8df"),
    ("green", "#5c9063", "#e6f1e7"),
    ("grey", "#99a5ae", "#eef1f3"),
    ("navy", "#2c4370", "#e2e7f1"),
    ("orange", "#e0803a", "#fcefe2"),
    ("pink", "#e08ba6", "#fcebf0"),
    ("red", "#c0433f", "#f8e5e3"),
    ("teal", "#2f8f94", "#e0f2f2"),
    ("white", "#f3f5f6", "#cfdae2"),
    ("yellow", "#e3b53c", "#fbf4dd"),
];

/// How the drawing lies in each view.
const VIEWS: [(&str, &str); 5] = [
    ("1.svg", ""),
    ("2.svg", "rotate(-14 100 100)"),
    ("3.svg", "translate(-50 -40) scale(1.5)"),
    ("4.svg", "translate(200 0) scale(-1 1)"),
    ("5.svg", "translate(20 20) rotate(14 80 80) scale(.8)"),
];

/// A picture as SVG; `None` where there is none of that name.
pub fn picture(drawing: &str, colour: &str, view: &str) -> Option<String> {
    let mut drawings = DRAWINGS.lines().filter_map(|line| line.split_once(' '));
    let (_, shapes) = drawings.find(|(name, _)| *name == drawing)?;
    let (_, front, back) = COLOURS.into_iter().find(|(name, ..)| *name == colour)?;
    let (_, place) = VIEWS.into_iter().find(|(name, _)| *name == view)?;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"800\" viewBox=\"0 0 200 200\">\
         <rect width=\"200\" height=\"200\" fill=\"{back}\"/><g transform=\"{place}\" color=\"{front}\" \
         fill=\"currentColor\" stroke=\"#22303a\" stroke-width=\"4\" stroke-linecap=\"round\" \
         stroke-linejoin=\"round\">{shapes}</g></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::products::catalogue::Catalogue;

    /// The picture at a path.
    fn at(path: &str) -> Option<String> {
        let mut parts = path.strip_prefix(PICTURES)?.split('/');
        let found = picture(parts.next()?, parts.next()?, parts.next()?);
        found.filter(|_| parts.next().is_none())
    }

    #[test]
    fn every_address_of_the_built_in_catalogue_is_a_picture() {
        let catalogue = Catalogue::load(None).unwrap().0;
        for product in catalogue.products() {
            for path in product.image_url.iter().chain(&product.images) {
                let drawn = at(path).unwrap_or_else(|| panic!("{path}"));
                assert!(drawn.len() < 2_000 && !drawn.contains("style"), "{path}");
            }
            assert!(product.image_url.is_some(), "{}", product.title);
        }
        assert_eq!(PICTURE.find('{'), Some(PICTURES.len()));
    }

    #[test]
    fn what_is_no_picture_is_none() {
        for (drawing, colour, view) in
            [("", "red", "1.svg"), ("cat", "", "1.svg"), ("cat", "red", "6.svg"), ("<g>", "x", "")]
        {
            assert_eq!(picture(drawing, colour, view), None);
        }
    }
}
