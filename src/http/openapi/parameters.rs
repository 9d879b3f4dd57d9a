//! What stands in paths, as the document describes it.
//!
//! Owns: the bounds of path parameters. Handlers check them themselves; nothing is read with these.

use utoipa::{IntoParams, ToSchema};

/// Of one product.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ProductPath {
    /// Product id, 1 to 20 digits.
    #[param(pattern = "^[0-9]{1,20}$", example = "3256812497109248")]
    pub product_id: String,
}

/// Of one category.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct CategoryPath {
    /// Category id, 1 to 20 digits.
    #[param(pattern = "^[0-9]{1,20}$", example = "26")]
    pub id: String,
}

/// What can be done with a breaker.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum BreakerAction {
    /// Refuse every call until closed or reset.
    Open,
    /// Let calls flow.
    Close,
    /// Let calls flow and forget what was counted.
    Reset,
}

/// Of one breaker.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct BreakerPath {
    /// Its name, as `/admin/breakers` lists it.
    pub name: String,
    /// What to do with it.
    #[param(inline)]
    pub action: BreakerAction,
}

/// A fault that can be asked for.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Fault {
    /// Panic in the next message.
    Panic,
    /// Stop.
    Stop,
    /// Do nothing for a while.
    Hang,
}

/// Of one fault.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct FaultPath {
    /// The actor's name, as `/admin/actors` lists it.
    pub name: String,
    /// What befalls it.
    #[param(inline)]
    pub fault: Fault,
}
