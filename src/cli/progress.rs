//! A bar for work in stages, on a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const FRAMES_PER_SECOND: u8 = 10;

/// Hidden where standard error is no terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let target = ProgressDrawTarget::stderr_with_hz(FRAMES_PER_SECOND);
        let bar = ProgressBar::with_draw_target(Some(0), target);
        match ProgressStyle::with_template("{msg:24} {bar:30} {pos}/{len} eta {eta}") {
            Ok(style) => Self(bar.with_style(style)),
            Err(_) => Self(bar),
        }
    }

    /// A stage with so much to do.
    pub(super) fn begin(&self, stage: &'static str, of: usize) {
        self.0.set_message(stage);
        self.0.reset();
        self.0.set_length(of as u64);
    }

    /// So much was just done.
    pub(super) fn done(&self, more: usize) {
        self.0.inc(more as u64);
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
