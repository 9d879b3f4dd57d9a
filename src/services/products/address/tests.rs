//! Sources and ids, in every spelling that was seen.

use proptest::prelude::*;

use super::*;

const ITEM: &str = "https://www.aliexpress.com/item/1005007137023075.html";
const PAGES: &str = super::ITEM;

#[test]
fn pages_as_the_upstream_writes_them_are_told_from_their_text() {
    for rest in ["", "?pdp_npi=4%40dis%21simulated", "?spm=a.b&utm_source=x"] {
        assert_eq!(plain_page(&format!("{ITEM}{rest}")), Some(ITEM), "{rest}");
    }
    for rest in ["?", "?sku_id=1", "?spm=1#x", "?%73pm=1", "?spm=1&&", "#x", "x"] {
        assert_eq!(plain_page(&format!("{ITEM}{rest}")), None, "{rest}");
    }
}

fn source(url: &str) -> String {
    link_source(url).unwrap_or_else(|unfit| panic!("{url}: {unfit:?}"))
}

#[test]
fn one_product_has_one_source() {
    for url in [
        ITEM,
        " https://WWW.AliExpress.com/item/1005007137023075.html#nav ",
        "http://aliexpress.com/item/1005007137023075.html",
        "www.aliexpress.com/item/1005007137023075.html",
        "//www.aliexpress.com:443/item/1005007137023075.html",
        "aliexpress.com:443/item/1005007137023075.html",
        "https://www.aliexpress.com./item/1005007137023075.html?",
        "https://m.de.aliexpress.com/i/1005007137023075.html",
        "https://aliexpress.ru/item/1005007137023075.html?gatewayAdapt=glo2rus",
        "https://www.aliexpress.us/item/Some-Name/1005007137023075.html",
        "https://www.aliexpress.com//item/1005007137023075.html",
        "https://es.aliexpress.com/item/1005007137023075.html?src=google&albch=shopping&acnt=8\
         &aff_fsk=Une&spm=a.b&algo_pvid=1&pdp_ext_f=%7B%22sku_id%22%3A%221%22%7D&PDP_NPI=4&scm-url=1\
         &utm_source=x&yclid=1&mc_cid=2&curPageLogUid=Q&utparam-url=x_object_id%3A7&_t=gps-id:a,b&&",
    ] {
        assert_eq!(source(url), ITEM, "{url}");
    }
}

#[test]
fn what_tells_pages_apart_is_kept_and_sorted() {
    let page = "https://m.aliexpress.com/p/coin-index/index.html";
    for (url, expected) in [
        (format!("{page}?productIds=2,1&utm_x=1"), format!("{page}?productIds=2%2C1")),
        (
            format!("{ITEM}?sourceType=620&channel=coin"),
            format!("{ITEM}?channel=coin&sourceType=620"),
        ),
        (format!("{ITEM}?sku_id=12&sku_id=12"), format!("{ITEM}?sku_id=12")),
        (
            "https://www.aliexpress.com/wholesale?SearchText=usb%20hub&catId=0".to_owned(),
            "https://www.aliexpress.com/wholesale?SearchText=usb+hub&catId=0".to_owned(),
        ),
        (format!("{page}?q=%D1%EB&a=%ff"), format!("{page}?a=%ff&q=%D1%EB")),
        (
            "https://s.click.aliexpress.com/e/_c3iB,D".to_owned(),
            "https://s.click.aliexpress.com/e/_c3iB%2CD".to_owned(),
        ),
    ] {
        assert_eq!(source(&url), expected);
    }
}

#[test]
fn an_address_within_an_address_is_what_is_meant() {
    let star = "https://star.aliexpress.com/share/share.htm?platform=AE&redirectUrl=";
    let deep = "https://s.click.aliexpress.com/deep_link.htm?aff_short_key=U&dl_target_url=";
    let once = "https%3A%2F%2Fvi.aliexpress.com%2Fitem%2F1005007137023075.html";
    let twice = "https%253A%252F%252Fvi.aliexpress.com%252Fitem%252F1005007137023075.html";
    for url in [
        format!("{star}{once}"),
        format!("{deep}{once}"),
        format!("{deep}{twice}"),
        format!("{star}%2Fitem%2F1005007137023075.html"),
        format!(
            "{star}{}",
            "https%3A%2F%2Fs.click.aliexpress.com%2Fdeep_link.htm%3Fdl_target_url%3D"
        )
        .to_owned()
            + twice,
    ] {
        assert_eq!(source(&url), ITEM, "{url}");
    }
    assert_eq!(
        source(&format!("{star}{once}%3FsourceType%3D620")),
        format!("{ITEM}?sourceType=620")
    );
    assert_eq!(link_source(&format!("{star}https%3A%2F%2Fevil.test%2F")), Err(Unfit::OtherShop));
    let round = format!("{star}%2Fshare%3FredirectUrl%3D%2Fshare");
    assert_eq!(source(&round), "https://star.aliexpress.com/share");
    assert_eq!(source(&format!("{ITEM}?return_url=%2Fcart")), format!("{ITEM}?return_url=%2Fcart"));
}

#[test]
fn other_shops_and_what_is_no_address_are_refused() {
    for url in [
        "https://www.amazon.com/dp/B01N5IB20Q",
        "https://aliexpress.com.evil.example/item/1.html",
        "https://notaliexpress.com/item/1.html",
        "https://127.0.0.1/item/1.html",
        "http://[::1]/item/1.html",
        "shop.test/item/1.html",
    ] {
        assert_eq!(link_source(url), Err(Unfit::OtherShop), "{url}");
    }
    for url in [
        "",
        "x",
        "not an address",
        "ftp://www.aliexpress.com/item/1.html",
        "https://me:secret@www.aliexpress.com/item/1.html",
        "https://www.aliexpress.com@evil.test/item/1.html",
        "javascript:alert(1)",
        "mailto:a@aliexpress.com",
        "https://",
    ] {
        assert_eq!(link_source(url), Err(Unfit::NotAnAddress), "{url}");
    }
}

#[test]
fn a_text_with_a_second_address_is_no_address() {
    let other = "https://www.aliexpress.com/item/1005006993793752.html";
    let star = "https://star.aliexpress.com/share/share.htm?redirectUrl=";
    for url in [
        format!("{ITEM},{other}"),
        format!("{ITEM} {other}"),
        format!("{ITEM}\n{other}"),
        format!("{ITEM}{other}"),
        "Look! https://a.aliexpress.com/_EQPyrLx".to_owned(),
        format!("{ITEM},HTTP://www.aliexpress.com/item/7.html"),
        format!("{ITEM},www.aliexpress.com/item/7.html"),
        "www.aliexpress.com/item/7.html; //m.aliexpress.com:443/i/8.html".to_owned(),
        format!("{ITEM}?spm=1,{other}"),
        format!("{ITEM}?spm={other}"),
        format!("{ITEM}#{other}"),
        format!("{star}{ITEM},{other}"),
        format!("{star}https%3A%2F%2Fwww.aliexpress.com%2Fitem%2F1.html%2C{other}"),
        format!("{ITEM}?return_url=/cart,{other}"),
    ] {
        assert_eq!(link_source(&url), Err(Unfit::Several), "{url}");
    }
    for url in [
        format!("{star}{ITEM}"),
        format!("{ITEM}?return_url={other}#nav"),
        format!("{ITEM}?url=https%3A%2F%2Fwww.aliexpress.com%2Fitem%2F1.html"),
        "https://www.aliexpress.com/w/a,b https.html?SearchText=usb hub,a/b".to_owned(),
    ] {
        assert!(link_source(&url).is_ok(), "{url}");
    }
}

#[test]
fn the_length_is_that_of_the_source() {
    assert_eq!(source(&format!("{ITEM}?spm={}", "a.".repeat(3000))), ITEM);
    let page = |length: usize| format!("https://www.aliexpress.com/p?a={}", "x".repeat(length));
    assert!(link_source(&page(2017)).is_ok_and(|source| source.len() == 2048));
    assert_eq!(link_source(&page(2018)), Err(Unfit::TooLong));
}

#[test]
fn an_id_is_found_in_every_known_form() {
    for url in [
        "https://www.aliexpress.com/item/3256812497109248.html",
        "https://pt.aliexpress.com/item/3256812497109248.html?spm=1#x",
        "https://www.aliexpress.com/item/Some-Earbuds/3256812497109248.html",
        "https://m.aliexpress.com/i/3256812497109248.html",
        "https://m.aliexpress.com/s/item/3256812497109248.html",
        "https://www.aliexpress.com/item/3256812497109248",
        "https://www.aliexpress.com/3256812497109248.html",
        "https://www.aliexpress.com/store/product/slug/5_3256812497109248.html",
        "https://www.aliexpress.com/p/page?productId=3256812497109248",
        "https://m.aliexpress.com/p/coin-index/index.html?productIds=3256812497109248,7",
        "https://www.aliexpress.com/ssr/300000512/BundleDeals2?productIds=3256812497109248:1200002",
        "https://www.aliexpress.com/gcp/1?productIds=%5B%223256812497109248%22%5D",
        "https://www.aliexpress.com/p/page?ITEMID=3256812497109248",
    ] {
        let target = LinkTarget::of(url);
        assert_eq!(target.product_id(), Some(3_256_812_497_109_248), "{url}");
    }
}

#[test]
fn other_addresses_hold_none() {
    for url in [
        "https://s.click.aliexpress.com/e/_abc",
        "https://www.aliexpress.com/",
        "https://www.aliexpress.com/store/1105550285",
        "https://www.aliexpress.com/store/1105550285.html",
        "https://www.aliexpress.com/category/200003482.html",
        "https://www.aliexpress.com/item/abc.html",
        "https://www.aliexpress.com/item/99999999999999999999.html",
        "https://www.aliexpress.com/p/page?productId=abc",
        "https://www.amazon.com/item/7.html",
        "nonsense",
    ] {
        assert_eq!(LinkTarget::of(url).product_id(), None, "{url}");
    }
}

proptest! {
    /// The source of a source is itself, or two spellings of one page would be two keys.
    #[test]
    fn sources_are_stable(path in "[a-z0-9/._,%-]{0,20}", query in "[a-zA-Z0-9=&%+,;_ /:?é-]{0,40}") {
        if let Ok(once) = link_source(&format!("https://www.aliexpress.com/{path}?{query}")) {
            prop_assert_eq!(link_source(&once), Ok(once.clone()));
            prop_assert!(!once.contains(','));
        }
    }

    /// What is told from the text alone is what reading it tells.
    #[test]
    fn a_plain_page_is_its_own_source(id in "[0-9]{1,21}", rest in "(\\?[spm_dtukc0-9=&.#%@!-]{0,20}|#[a-z]{0,3}|[a-z ]{0,2})") {
        let url = format!("{PAGES}{id}.html{rest}");
        if let Some(page) = plain_page(&url) {
            prop_assert_eq!(read_source(&url), Ok(page.to_owned()));
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,60}") {
        drop(link_source(&text));
    }
}
