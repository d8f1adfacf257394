//! How the program ends. Supervisors and scripts rely on the numbers: add, never change.

use std::process::ExitCode;

/// For `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  all went well; `run` was asked to stop, and all that it published is confirmed and committed
  1  a failure while running; `test`: a case failed; `model build`: the graph is off;
     `tune`: no setting keeps the goal
  2  wrong usage, or a pipeline that is refused; nothing was started
  3  the model or its execution provider could not be started
  4  asked to stop, but the drain deadline passed: records without a commit will be read again
  5  `run` stopped because of a surge of dead letters (`dead_letter.max_ratio`)
  130  stopped before its end: `run` was asked to stop twice, `dead-letters replay` once";

/// An exit code of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// A failure while running.
    Failed = 1,
    /// Wrong usage or configuration: to try again without a change is of no use.
    Usage = 2,
    /// The model or its execution provider could not be started.
    Model = 3,
    /// The drain deadline passed. What was not committed will be read again.
    Undrained = 4,
    /// Too many dead letters: to start again without a change writes more of them.
    Surge = 5,
    /// Asked to stop before it had done all.
    Stopped = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_code() {
        for exit in
            [Exit::Ok, Exit::Failed, Exit::Usage, Exit::Model, Exit::Undrained, Exit::Surge, Exit::Stopped]
        {
            assert!(HELP.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
    }
}
