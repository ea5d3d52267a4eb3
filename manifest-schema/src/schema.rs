//! The JSON Schema of `plugin.yaml`, from the types.

use serde_json::Value;

use crate::Manifest;

/// JSON Schema 2020-12 of a manifest; what `pegboard schema` prints.
#[must_use]
pub fn json_schema() -> Value {
    schemars::schema_for!(Manifest).to_value()
}
