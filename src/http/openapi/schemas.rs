//! The schemas of a document.
//!
//! Owns: registering what operations use, forms in one flat object each, and leaving out what no
//! operation needs. Has no neighbours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// Where a reference to a schema leads.
const SCHEMAS: &str = "#/components/schemas/";

/// Schemas by name.
#[derive(Default)]
pub(super) struct Schemas(pub(super) BTreeMap<String, Value>);

impl Schemas {
    /// Registers a type with all that it refers to; gives the reference.
    pub(super) fn register<T: ToSchema>(&mut self) -> Value {
        self.children::<T>();
        self.insert(&T::name(), json!(T::schema()))
    }

    pub(super) fn insert(&mut self, name: &str, schema: Value) -> Value {
        self.0.insert(name.to_owned(), schema);
        json!({"$ref": format!("{SCHEMAS}{name}")})
    }

    /// A form as one object, whatever other forms it contains.
    pub(super) fn form<T: ToSchema>(&mut self) -> Value {
        self.children::<T>();
        let form = json!(T::schema());
        let (mut properties, mut required) = (Map::new(), BTreeSet::new());
        self.flatten(&form, &mut properties, &mut required);
        let mut flat = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            flat["required"] = json!(required);
        }
        if let Some(description) = form.get("description") {
            flat["description"] = description.clone();
        }
        flat
    }

    fn children<T: ToSchema>(&mut self) {
        let mut all = Vec::new();
        T::schemas(&mut all);
        // A form that is registered already stays flat, whichever route comes first.
        for (name, schema) in all {
            self.0.entry(name).or_insert_with(|| json!(schema));
        }
    }

    fn flatten(
        &self,
        schema: &Value,
        properties: &mut Map<String, Value>,
        required: &mut BTreeSet<String>,
    ) {
        let referred = target(schema).and_then(|name| self.0.get(name));
        for part in referred.into_iter().chain(schema["allOf"].as_array().into_iter().flatten()) {
            self.flatten(part, properties, required);
        }
        let own = schema["properties"].as_object().cloned();
        properties.extend(own.into_iter().flatten());
        let names = schema["required"].as_array().into_iter().flatten();
        required.extend(names.filter_map(Value::as_str).map(str::to_owned));
    }

    /// Those that the operations need, directly or through others.
    pub(super) fn needed_by(mut self, paths: &Value) -> Self {
        let mut needed = BTreeSet::new();
        let mut open = references(paths);
        while let Some(name) = open.pop() {
            if let Some(schema) = self.0.get(&name).filter(|_| needed.insert(name)) {
                open.extend(references(schema));
            }
        }
        self.0.retain(|name, _| needed.contains(name));
        self
    }
}

fn target(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(SCHEMAS)
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = target(value).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A field of a form as a query parameter: without `null`, which no query string can hold.
pub(super) fn without_null(mut schema: Value) -> Value {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    if let Some(choice) = choices.into_iter().find(|choice| choice["type"] != "null") {
        return choice.clone();
    }
    let mut types = schema["type"].as_array().into_iter().flatten();
    if let Some(only) = types.find(|kind| **kind != "null").cloned() {
        schema["type"] = only;
    }
    schema
}

/// What a schema says about itself, or the first of its choices.
pub(super) fn description(schema: &Value) -> Option<&str> {
    let own = schema["description"].as_str();
    own.or_else(|| schema["oneOf"].as_array()?.iter().find_map(description))
}
