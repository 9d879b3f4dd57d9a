//! Parameters without what only a body can be.
//!
//! Owns: taking `null` out of parameters' schemas. The forms serve query strings and bodies alike
//! and their fields may be absent; in a query string nothing is ever null.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// Takes `null` out of every parameter of `operation`.
pub(super) fn parameters(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            parameter.schema = parameter.schema.take().map(without_null);
        }
    }
}

fn without_null(mut schema: RefOr<Schema>) -> RefOr<Schema> {
    if let RefOr::T(Schema::Object(object)) = &mut schema
        && let SchemaType::Array(types) = &object.schema_type
        && let Some(only) = types.iter().find(|kind| **kind != Type::Null)
    {
        object.schema_type = SchemaType::Type(only.clone());
    } else if let RefOr::T(Schema::OneOf(choice)) = &mut schema
        && choice.items.iter().any(is_null)
        && let Some(only) = choice.items.iter().find(|item| !is_null(item))
    {
        return only.clone();
    }
    schema
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object))
        if object.schema_type == SchemaType::Type(Type::Null))
}
