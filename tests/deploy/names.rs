//! Is every metric and label of a PromQL expression one that docs/OPERATIONS.md lists? Whether the
//! expression is well formed is promtool's business.

use std::collections::{BTreeMap, BTreeSet};

/// Metrics and their labels.
pub type Known = BTreeMap<String, BTreeSet<String>>;

/// What docs/OPERATIONS.md lists. Prometheus adds `job` and `instance` to all, and `up`; a histogram
/// is three series.
pub fn documented(page: &str) -> Known {
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let of_prometheus = ["job", "instance"].map(str::to_owned);
    let mut known = Known::from([("up".to_owned(), of_prometheus.clone().into())]);
    for line in page.lines().filter(|line| line.starts_with("| `squeezeflow_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (name, kind) = (names(cells[1]).pop_first().unwrap(), cells[2]);
        let labels = names(cells[3]).into_iter().chain(of_prometheus.clone());
        let labels: BTreeSet<String> = labels.chain((kind == "histogram").then(|| "le".to_owned())).collect();
        let series: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        known.extend(series.iter().map(|end| (format!("{name}{end}"), labels.clone())));
    }
    known
}

/// What PromQL itself calls by a name in our expressions. A new function is added here.
const WORDS: [&str; 22] = [
    "absent",
    "and",
    "by",
    "count",
    "deriv",
    "histogram_quantile",
    "ignoring",
    "increase",
    "label_values",
    "max",
    "min",
    "offset",
    "on",
    "or",
    "rate",
    "resets",
    "scalar",
    "sum",
    "unless",
    "vector",
    "without",
    "group_left",
];

/// What is wrong with an expression; empty: nothing.
pub fn unknown(expression: &str, known: &Known) -> Vec<String> {
    let (mut wrong, mut metrics, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = expression;
    let mut before = "";
    while let Some(c) = rest.chars().next() {
        let (token, after) = match c {
            '"' => rest.split_at(rest[1..].find('"').map_or(rest.len(), |end| end + 2)),
            '[' => rest.split_at(rest.find(']').map_or(rest.len(), |end| end + 1)),
            c if is_word(c) => rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            c => rest.split_at(c.len_utf8()),
        };
        rest = after;
        match token {
            // Labels stand in braces, and in parentheses after these words.
            "{" => {
                let (inside, after) = until(rest, '}');
                labels.extend(matched(inside));
                rest = after;
            }
            "(" if ["by", "without", "on", "ignoring", "group_left"].contains(&before) => {
                let (inside, after) = until(rest, ')');
                // `on ()` is a word, too: of nothing.
                labels.extend(inside.split(',').map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()));
                rest = after;
            }
            name if known.contains_key(name) => metrics.push(name),
            // Of a variable: `label_values(metric, label)`.
            "instance" | "job" if before == "," => {}
            word if word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && !WORDS.contains(&word) =>
            {
                wrong.push(format!("`{word}` is not in docs/OPERATIONS.md"));
            }
            _ => {}
        }
        if !token.trim().is_empty() {
            before = token;
        }
    }
    if metrics.is_empty() {
        wrong.push("there is no metric in it".to_owned());
    }
    for label in labels {
        if !metrics.iter().any(|metric| known[*metric].contains(&label)) {
            wrong.push(format!("no metric in it has a label `{label}`"));
        }
    }
    wrong
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '.'
}

fn until(text: &str, end: char) -> (&str, &str) {
    // No value of a label in our files holds a brace or a parenthesis.
    text.split_once(end).unwrap_or((text, ""))
}

/// The labels of `a="x", b!~"y"`.
fn matched(inside: &str) -> Vec<String> {
    let pairs = inside.split(',').filter(|pair| !pair.trim().is_empty());
    pairs.map(|pair| pair.split(['=', '!']).next().unwrap_or("").trim().to_owned()).collect()
}

#[test]
fn what_is_not_documented_is_found() {
    let page = "| `squeezeflow_a_total` | counter | `kind`, `result` | x |\n| `squeezeflow_b_seconds` | histogram | | y |";
    let known = documented(page);
    for good in [
        "sum by (kind) (rate(squeezeflow_a_total{result=\"ok\", instance=~\"$worker\"}[5m])) > 0.5e3",
        "histogram_quantile(0.99, sum by (le) (rate(squeezeflow_b_seconds_bucket[$__rate_interval])))",
        "squeezeflow_a_total - (squeezeflow_a_total offset 1h or squeezeflow_a_total * 0) > 0",
        "label_values(squeezeflow_a_total{job=~\"$pipeline\"}, instance)",
        "sum by (kind) (squeezeflow_a_total) / on (kind) group_left sum(squeezeflow_a_total) or on () up",
        "up{job=\"squeezeflow\"} == 0",
    ] {
        assert_eq!(unknown(good, &known), [""; 0], "{good}");
    }
    for (bad, why) in [
        ("rate(squeezeflow_c_total[5m])", "`squeezeflow_c_total` is not"),
        ("rate(squezeflow_a_total[5m])", "`squezeflow_a_total` is not"),
        ("rate(squeezeflow_b_seconds[5m])", "`squeezeflow_b_seconds` is not"),
        ("squeezeflow_a_total / squeezeflow_a", "`squeezeflow_a` is not"),
        ("sum by (reason) (squeezeflow_a_total)", "a label `reason`"),
        ("squeezeflow_a_total{outcome!=\"x\"}", "a label `outcome`"),
        ("squeezeflow_a_total{le=\"1\"}", "a label `le`"),
        ("vector(1)", "no metric"),
    ] {
        let wrong = unknown(bad, &known);
        assert!(wrong.iter().any(|w| w.contains(why)), "{bad}: {wrong:?}");
    }
}
