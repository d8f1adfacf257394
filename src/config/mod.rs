//! From a pipeline file, the environment and `--set` to validated [`Settings`].
//!
//! `layers` collects, the `config` crate merges, `explain` checks the merged document against the
//! `schema` and says every error in plain words, `raw` is what serde makes of it, and `validate`
//! turns that into [`Settings`] by the rules that span several keys.

mod defaults;
mod explain;
mod layers;
mod librdkafka;
mod load;
mod path;
mod problem;
mod raw;
mod rules;
mod schema;
mod secret;
mod selector;
pub mod settings;
mod topics;
mod units;
mod validate;
mod values;
mod words;
mod yaml;

pub use load::{Loaded, Overrides, Places, load};
pub use problem::{ConfigError, Origin, Problem, Severity};
pub use rules::{ModelFacts, check_against_model, require_kafka};
pub use schema::{paths, schema};
pub use secret::Secret;
pub use settings::Settings;
pub(crate) use topics::{Subscription, name as topic_name};
pub(crate) use units::{START, duration, timestamp};
