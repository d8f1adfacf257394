//! From a pipeline file, the environment and `--set` to validated [`Settings`].

mod secret;
pub mod settings;

pub use secret::Secret;
pub use settings::Settings;
