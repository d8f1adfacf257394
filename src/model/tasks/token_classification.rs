//! `token-classification`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Context, Task, TaskError};

/// What a pipeline says of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {}

pub(super) fn build(_: &Options, _: &Context<'_>) -> Result<Box<dyn Task>, TaskError> {
    Err(TaskError::option("", "not there yet", "another task"))
}
