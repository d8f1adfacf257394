//! What all benches say in the same way: medians and spreads of alternating rounds, the machine, and the
//! place of each table in docs/BENCHMARKS.md.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Figures of one thing over all rounds.
#[derive(Debug, Clone, Default)]
pub struct Rounds(pub Vec<f64>);

impl Rounds {
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub fn median(&self) -> f64 {
        let mut all = self.0.clone();
        all.sort_by(f64::total_cmp);
        match all.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => all[n / 2],
            n => (all[n / 2 - 1] + all[n / 2]) / 2.0,
        }
    }

    /// `median (lowest to highest)`.
    pub fn show(&self, digits: usize) -> String {
        let low = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{:.digits$} ({low:.digits$} to {high:.digits$})", self.median())
    }

    /// Round by round: what the machine did otherwise falls out.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

/// Of alternating rounds; seven at least for figures that are to be believed.
pub fn rounds() -> usize {
    number("ROUNDS", 7)
}

/// A number from the environment.
pub fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Processor, cores, and the versions that matter.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field =
        |name: &str| info.lines().find_map(|line| Some(line.strip_prefix(name)?.split(": ").nth(1)?.trim()));
    let flag = |name: &str| field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == name));
    let vectors = match () {
        () if flag("avx512_vnni") => "AVX-512 VNNI",
        () if flag("avx_vnni") => "AVX2 with VNNI",
        () if flag("avx2") => "AVX2, no VNNI",
        () => "no AVX2",
    };
    let family =
        format!("family {} model {}", field("cpu family").unwrap_or("?"), field("model\t").unwrap_or("?"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} ({family}), {vectors}, {cores} cores", field("model name").unwrap_or("unknown processor"))
}

/// Of the compiler, ONNX Runtime and this program, with the commit.
pub fn versions() -> String {
    let said = |command: &str, arguments: &[&str]| {
        let output = Command::new(command).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let rust = said("rustc", &["--version"]).unwrap_or_default();
    let rust = rust.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let commit = said("git", &["describe", "--always", "--dirty"]).unwrap_or_default();
    format!("squeezeflow {} at {commit}, {rust}, ONNX Runtime {}", env!("CARGO_PKG_VERSION"), onnxruntime())
}

fn onnxruntime() -> String {
    let fetched = std::fs::read_dir(here(".cache/onnxruntime")).ok();
    let newest =
        fetched.into_iter().flatten().flatten().map(|d| d.file_name().to_string_lossy().into_owned()).max();
    newest.unwrap_or_else(|| "of ORT_DYLIB_PATH".to_owned())
}

/// The library that `make onnxruntime` fetched, unless another is named.
pub fn library() -> std::path::PathBuf {
    if let Some(named) = std::env::var_os("ORT_DYLIB_PATH") {
        return named.into();
    }
    let versions = std::fs::read_dir(here(".cache/onnxruntime")).expect("make onnxruntime").flatten();
    let library = versions.map(|version| version.path().join("libonnxruntime.so")).find(|l| l.exists());
    library.expect("make onnxruntime")
}

/// A file of the data sets. `DATA` names their folder.
pub fn data(name: &str) -> std::path::PathBuf {
    std::env::var("DATA").map_or_else(|_| here("../shared/data"), std::path::PathBuf::from).join(name)
}

/// From the repository's root.
pub fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Prints a part's table, under a line that says where and how it was measured; and puts both between the
/// part's marks in docs/BENCHMARKS.md (`DRY=1`: not).
pub fn publish(part: &str, how: &str, table: &str) {
    let mut text = String::new();
    let _ = writeln!(text, "{}; {}. {how}", machine(), versions());
    let _ = write!(text, "\n{}", table.trim_end());
    println!("\n## {part}\n\n{text}");
    if std::env::var_os("DRY").is_some() {
        return;
    }
    let path = here("docs/BENCHMARKS.md");
    let document = std::fs::read_to_string(&path).expect("docs/BENCHMARKS.md is there");
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("\n<!-- end of {part} -->"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    std::fs::write(&path, format!("{before}{begin}\n{text}\n{end}{after}"))
        .expect("docs/BENCHMARKS.md is written");
}

/// A row of a table.
pub fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
pub fn head(cells: &[&str]) -> String {
    format!("| {} |\n|{}\n", cells.join(" | "), "---|".repeat(cells.len()))
}
