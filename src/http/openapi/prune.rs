//! A document without schemas that no operation needs.
//!
//! Owns: finding those that are needed, by following references. Types that stand in an answer as
//! arguments of another type are registered as well, though nothing refers to them.

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::openapi::OpenApi;

/// Where a reference to a schema leads.
const SCHEMAS: &str = "#/components/schemas/";

/// Takes out what no operation needs.
pub(super) fn prune(document: &mut OpenApi) {
    let needed = reachable(document);
    if let Some(components) = &mut document.components {
        components.schemas.retain(|name, _| needed.contains(name));
    }
}

/// Names of the schemas that the operations need, directly or through others.
fn reachable(document: &OpenApi) -> BTreeSet<String> {
    let whole = serde_json::to_value(document).unwrap_or_default();
    let schemas = whole.pointer("/components/schemas");
    let mut found = BTreeSet::new();
    let mut open = whole.get("paths").map(references).unwrap_or_default();
    while let Some(name) = open.pop() {
        let schema = schemas.and_then(|schemas| schemas.get(&name));
        if found.insert(name) {
            open.extend(schema.map(references).unwrap_or_default());
        }
    }
    found
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|target| target.strip_prefix(SCHEMAS)).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
