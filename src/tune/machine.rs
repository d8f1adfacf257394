//! What the figures were measured on.

use std::num::NonZeroUsize;

use crate::operators::Level;

/// This machine, in the words that figures need beside them.
#[derive(Debug, Clone)]
pub struct Machine {
    /// As the processor calls itself, or its architecture.
    pub processor: String,
    /// That this process may use.
    pub cores: NonZeroUsize,
    /// The best instructions that our kernels use of it.
    pub instructions: &'static str,
}

impl Machine {
    /// The one that we are on.
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            processor: model(&info).unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            instructions: Level::best().as_str(),
        }
    }
}

/// Linux on x86 has one; on ARM it has none.
fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_found_where_it_has_a_name() {
        let x86 = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9B45\nmodel name\t: other\n";
        assert_eq!(model(x86), Some("AMD EPYC 9B45"));
        assert_eq!(model("processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
        let here = Machine::here();
        assert!(!here.processor.is_empty() && !here.instructions.is_empty());
    }
}
