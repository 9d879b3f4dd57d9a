//! The schemas of a document.
//!
//! Owns: registering what operations use, forms in one flat object each, and leaving out what no
//! operation needs. Has no neighbours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::{Paths, Ref, RefOr, Schema};

/// Where a reference to a schema leads.
const SCHEMAS: &str = "#/components/schemas/";

/// Schemas by name.
#[derive(Default)]
pub(super) struct Schemas(pub(super) BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// Registers a type with all that it refers to.
    pub(super) fn register<T: ToSchema>(&mut self) -> Ref {
        self.children::<T>();
        self.insert(&T::name(), T::schema())
    }

    pub(super) fn insert(&mut self, name: &str, schema: RefOr<Schema>) -> Ref {
        self.0.insert(name.to_owned(), schema);
        Ref::from_schema_name(name)
    }

    /// A form as one object, whatever other forms it contains.
    pub(super) fn form<T: ToSchema>(&mut self) -> Object {
        self.children::<T>();
        self.flat(&T::schema())
    }

    fn children<T: ToSchema>(&mut self) {
        let mut all = Vec::new();
        T::schemas(&mut all);
        // A form that is registered already stays flat, whichever route comes first.
        for (name, schema) in all {
            self.0.entry(name).or_insert(schema);
        }
    }

    fn flat(&self, schema: &RefOr<Schema>) -> Object {
        match schema {
            RefOr::T(Schema::Object(object)) => object.clone(),
            RefOr::T(Schema::AllOf(all)) => {
                let mut whole = Object::new();
                for part in &all.items {
                    let part = self.flat(part);
                    whole.properties.extend(part.properties);
                    whole.required.extend(part.required);
                }
                whole.description.clone_from(&all.description);
                whole
            }
            RefOr::Ref(reference) => {
                let name = reference.ref_location.strip_prefix(SCHEMAS).unwrap_or_default();
                self.0.get(name).map(|schema| self.flat(schema)).unwrap_or_default()
            }
            RefOr::T(_) => Object::default(),
        }
    }

    /// Those that the operations need, directly or through others.
    pub(super) fn needed_by(mut self, paths: &Paths) -> Self {
        let paths = serde_json::to_value(paths).unwrap_or_default();
        let mut needed = BTreeSet::new();
        let mut open = references(&paths);
        while let Some(name) = open.pop() {
            if let Some(schema) = self.0.get(&name).filter(|_| needed.insert(name)) {
                open.extend(references(&serde_json::to_value(schema).unwrap_or_default()));
            }
        }
        self.0.retain(|name, _| needed.contains(name));
        self
    }
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

/// A field of a form as a query parameter: without `null`, which no query string can hold.
pub(super) fn without_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(only) = types.iter().find(|kind| **kind != Type::Null)
            {
                object.schema_type = SchemaType::Type(only.clone());
            }
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::OneOf(choice)) => {
            let first = choice.items.iter().find(|item| !is_null(item)).cloned();
            first.unwrap_or(RefOr::T(Schema::OneOf(choice)))
        }
        other @ (RefOr::Ref(_) | RefOr::T(_)) => other,
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object))
        if object.schema_type == SchemaType::Type(Type::Null))
}

/// What a schema says about itself, or the first of its choices.
pub(super) fn description(schema: &RefOr<Schema>) -> Option<String> {
    match schema {
        RefOr::Ref(reference) => {
            Some(reference.description.clone()).filter(|description| !description.is_empty())
        }
        RefOr::T(Schema::Object(object)) => object.description.clone(),
        RefOr::T(Schema::Array(array)) => array.description.clone(),
        RefOr::T(Schema::OneOf(choice)) => {
            choice.description.clone().or_else(|| choice.items.iter().find_map(description))
        }
        RefOr::T(_) => None,
    }
}
