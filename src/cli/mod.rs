//! One file a verb. The only room that prints.

pub mod demo;
pub mod model;
pub mod run;
pub mod tag;
