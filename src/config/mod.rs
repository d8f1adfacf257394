//! From a pipeline file, the environment and `--set` to validated [`Settings`].
//!
//! `layers` collects, the `config` crate merges, `explain` checks the merged document against the
//! `schema` and says every error in plain words, `raw` is what serde makes of it, and `validate`
//! turns that into [`Settings`] by the rules that span several keys. The `tests` of a pipeline go
//! another way, through `cases`: a worker does not look at them.

mod cases;
mod defaults;
mod explain;
mod in_force;
mod layers;
mod librdkafka;
mod load;
mod path;
mod pem;
mod problem;
mod raw;
mod replace;
mod rules;
mod schema;
mod secret;
mod selector;
pub mod settings;
mod topics;
mod units;
mod unread;
mod validate;
mod values;
mod words;
pub(crate) mod yaml;

pub use cases::{Case, CaseFile, Expect, Given, Written, beside, cases, cases_beside, is_beside};
pub use in_force::InForce;
pub(crate) use load::load_with;
pub use load::{Loaded, Overrides, Places, load};
pub(crate) use path::of as path_of;
pub(crate) use problem::Plain;
pub use problem::{ConfigError, Origin, Problem, Severity};
pub use replace::WriteError;
pub(crate) use replace::replace;
pub use rules::{ModelFacts, check_against_model, labels_of_records, require_kafka};
pub use schema::{cases as cases_schema, paths, schema};
pub use secret::Secret;
pub use settings::{Settings, TaskOptions};
pub(crate) use topics::{Subscription, name as topic_name};
pub(crate) use units::{START, duration, timestamp};
