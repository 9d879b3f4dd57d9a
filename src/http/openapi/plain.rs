//! Parameters without what only a body can be.
//!
//! Owns: taking `null` out of parameters' schemas. The forms serve query strings and bodies alike
//! and their fields may be absent; in a query string nothing is ever null.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{OneOf, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// Takes `null` out of every parameter of `operation`.
pub(super) fn parameters(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            parameter.schema = parameter.schema.take().map(without_null);
        }
    }
}

fn without_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(only) = types.iter().find(|kind| **kind != Type::Null)
            {
                object.schema_type = SchemaType::Type(only.clone());
            }
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::OneOf(OneOf { items, .. })) if items.iter().any(is_null) => {
            let rest: Vec<_> = items.into_iter().filter(|item| !is_null(item)).collect();
            rest.into_iter().next().unwrap_or_default()
        }
        other => other,
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object))
        if object.schema_type == SchemaType::Type(Type::Null))
}
