//! Alert rules and dashboard: every name in them is documented, every rule is explained and has a case.

use std::collections::BTreeSet;

use serde_json::Value;

use super::names::{documented, unknown};
use super::{read, yaml};

fn rules() -> Vec<Value> {
    let file = yaml::one(&read("deploy/prometheus/alerts.yml"));
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/dashboards/squeezeflow.json")).unwrap()
}

/// Every expression of the dashboard, with the title of its panel; its variables' too.
fn asked(dashboard: &Value) -> Vec<(String, String)> {
    let mut asked = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            asked.push((panel["title"].as_str().unwrap().to_owned(), expression.to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let expression = variable["query"]["query"].as_str().unwrap();
            asked.push((variable["name"].as_str().unwrap().to_owned(), expression.to_owned()));
        }
    }
    asked
}

#[test]
fn every_metric_in_rules_and_dashboard_is_documented() {
    let known = documented(&read("docs/OPERATIONS.md"));
    assert!(known.len() > 30, "{known:?}");
    let rules = rules();
    let alerts = rules.iter().map(|rule| (text(rule, "alert"), text(rule, "expr")));
    let asked: Vec<(String, String)> = alerts.chain(asked(&dashboard())).collect();
    assert!(asked.len() > 60, "{}", asked.len());
    let wrong: Vec<String> = asked
        .iter()
        .flat_map(|(what, expression)| {
            unknown(expression, &known).into_iter().map(move |wrong| format!("{what}: {wrong}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}")).to_owned()
}

#[test]
fn every_rule_says_what_to_do_and_has_a_case() {
    let cases = read("deploy/prometheus/alerts.test.yml");
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = text(&rule, "alert");
        assert!(
            ["critical", "warning", "info"].contains(&text(&rule["labels"], "severity").as_str()),
            "{name}"
        );
        for note in ["summary", "description"] {
            assert!(text(&rule["annotations"], note).len() > 20, "{name}");
        }
        assert!(cases.contains(&format!("alertname=\"{name}\"")), "{name} fires in no case");
        assert!(names.insert(name.clone()), "{name} is there twice");
    }
    assert!(names.len() > 15);
}

#[test]
fn the_dashboard_is_one_that_can_be_provisioned() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "squeezeflow");
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        // Rows of 24 columns.
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
    }
    assert!(ids.len() > 30);
}
