//! `squeezeflow schema`: for editors and for those who make pipelines by program.

use super::{Exit, print};
use crate::config;

pub(super) fn run() -> Exit {
    print(&format!("{:#}\n", config::schema()))
}
