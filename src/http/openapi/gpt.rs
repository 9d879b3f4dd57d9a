//! The document for GPT Actions, cut out of the complete one.
//!
//! Owns: which nine operations it holds, one method for each. GPT Actions take at most one security
//! scheme, want short descriptions, and ask the user before every call that is not marked as being
//! without consequences; all nine only read.

use std::collections::BTreeSet;

use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{OpenApi, RefOr};

use super::layers::{AUTHORIZATION, operations};
use super::prune::prune;

/// The public operations, by id.
pub(super) const PUBLIC: [&str; 9] = [
    "searchProducts",
    "smartSearchProducts",
    "getProduct",
    "getProducts",
    "listHotProducts",
    "listCategories",
    "listChildCategories",
    "getAffiliateLink",
    "getAffiliateLinks",
];

/// Leaves only what GPT Actions need.
pub(super) fn cut(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        keep_public(item);
        operations(item).for_each(simplify);
    }
    document.paths.paths.retain(|_, item| item.get.is_some() || item.post.is_some());
    document.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new(AUTHORIZATION, Vec::<String>::new()),
    ]);
    let used = tags(&document);
    document.tags.iter_mut().for_each(|tags| tags.retain(|tag| used.contains(&tag.name)));
    if let Some(components) = &mut document.components {
        components.headers.clear();
        components.security_schemes.retain(|name, _| name == AUTHORIZATION);
    }
    prune(&mut document);
    document
}

fn keep_public(item: &mut PathItem) {
    let is_public = |operation: &Operation| {
        operation.operation_id.as_deref().is_some_and(|id| PUBLIC.contains(&id))
    };
    item.get = item.get.take().filter(is_public);
    item.post = item.post.take().filter(is_public);
    item.delete = None;
}

fn simplify(operation: &mut Operation) {
    operation.security = None;
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.headers.clear();
        }
    }
    let harmless = ExtensionsBuilder::new().add("x-openai-isConsequential", false).build();
    operation.extensions = Some(harmless);
}

fn tags(document: &OpenApi) -> BTreeSet<String> {
    let all = document.paths.paths.values().flat_map(|item| [&item.get, &item.post]);
    all.flatten().flat_map(|operation| operation.tags.iter().flatten().cloned()).collect()
}
