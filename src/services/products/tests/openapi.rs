//! The documents made of this room's shapes say what its checks do.

use serde_json::Value;
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::services::products::answer::{
    CategoriesData, ChildrenData, DetailsData, LinkData, LinksData, OrdersData, SearchData,
    SmartMatchData, SmartSearchData,
};
use crate::services::products::details::{RawDetails, RawPlace};
use crate::services::products::invalid::InvalidField;
use crate::services::products::links::{RawLink, RawLinks};
use crate::services::products::orders::RawOrders;
use crate::services::products::query::RawSearch;
use crate::services::products::smart_match::RawSmartMatch;
use crate::services::products::smart_query::RawSmartSearch;

#[derive(OpenApi)]
#[openapi(components(schemas(
    RawSearch,
    RawSmartSearch,
    RawDetails,
    RawLinks,
    InvalidField,
    SearchData,
    SmartSearchData,
    DetailsData,
    CategoriesData,
    ChildrenData,
    LinkData,
    LinksData,
    OrdersData,
    SmartMatchData
)))]
struct Document;

#[test]
fn every_reference_has_its_schema() {
    let document = serde_json::to_value(Document::openapi()).unwrap();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in text.split("#/components/schemas/").skip(1) {
        let name = name.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    assert!(schemas.contains_key("SearchRequest") && schemas.contains_key("Product"));
}

#[test]
fn bodies_admit_no_unknown_fields_and_state_their_bounds() {
    let document = serde_json::to_value(Document::openapi()).unwrap();
    let search = &document["components"]["schemas"]["SearchRequest"];
    assert_eq!(search["additionalProperties"], Value::Bool(false));
    assert_eq!(search["properties"]["page_size"]["maximum"], 50);
    assert_eq!(search["properties"]["page_size"]["minimum"], 1);
    assert!(search.get("required").is_none());
    assert_eq!(SearchData::name(), "SearchData");
    let details = &document["components"]["schemas"]["DetailsRequest"];
    assert_eq!(details["required"], serde_json::json!(["product_ids"]));
}

#[test]
fn parameters_are_named_like_the_fields() {
    let names = |parameters: Vec<utoipa::openapi::path::Parameter>| -> Vec<String> {
        parameters.into_iter().map(|parameter| parameter.name).collect()
    };
    let query = || Some(ParameterIn::Query);
    assert_eq!(names(RawSearch::into_params(query)).len(), 10);
    assert_eq!(names(RawSmartSearch::into_params(query)).len(), 14);
    assert_eq!(names(RawPlace::into_params(query)), ["ship_to_country", "currency", "language"]);
    assert_eq!(names(RawLink::into_params(query)), ["url"]);
    let required = |parameters: Vec<utoipa::openapi::path::Parameter>, name: &str| {
        let found = parameters.into_iter().find(|parameter| parameter.name == name).unwrap();
        matches!(found.required, utoipa::openapi::Required::True)
    };
    assert!(required(RawLink::into_params(query), "url"));
    assert!(required(RawOrders::into_params(query), "start_time"));
    assert!(required(RawSmartMatch::into_params(query), "product_url"));
    assert!(!required(RawOrders::into_params(query), "status"));
}
