//! Are two JSON texts the same value? Numbers are compared as they are written, at any length, so
//! that `12345678901234567890` is not its neighbour, and `1.10` is `1.1`. Pure.

use crate::text::json::{self, Kind};

/// Both are JSON. The order of keys is no matter; of a key that is there twice, the last counts.
pub(super) fn same(a: &str, b: &str) -> bool {
    let kind = Kind::of(a);
    if kind != Kind::of(b) {
        return false;
    }
    match kind {
        Kind::Number => decimal(a) == decimal(b),
        Kind::String => json::string(a).is_some_and(|text| json::string(b) == Some(text)),
        Kind::Array => {
            let (a, b) = (items(a), items(b));
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        Kind::Object => {
            let (a, b) = (members(a), members(b));
            b.iter().all(|(key, _)| last(&a, key).is_some())
                && a.iter().all(|(key, _)| match (last(&a, key), last(&b, key)) {
                    (Some(a), Some(b)) => same(a, b),
                    _ => false,
                })
        }
        Kind::Boolean | Kind::Null => a == b,
    }
}

// Both sides were found to be JSON before they came here, so there is no error to tell of.
fn items(array: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let _ = json::items(array, |item| items.push(item.trim_matches(json::WHITE_SPACE)));
    items
}

fn members(object: &str) -> Vec<(String, &str)> {
    let mut members = Vec::new();
    let _ = json::members(object, |key, value| {
        let key = json::string(key).map_or_else(|| key.to_owned(), std::borrow::Cow::into_owned);
        members.push((key, value.trim_matches(json::WHITE_SPACE)));
    });
    members
}

fn last<'a>(members: &[(String, &'a str)], key: &str) -> Option<&'a str> {
    members.iter().rev().find(|(k, _)| k == key).map(|(_, value)| *value)
}

/// A JSON number as sign, digits without zeros at either end, and the power of ten of the last one.
fn decimal(number: &str) -> (bool, &str, String, i64) {
    let (number, negative) = number.strip_prefix('-').map_or((number, false), |rest| (rest, true));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let short = digits.trim_end_matches('0');
    let places = fraction.len() as i64 - (digits.len() - short.len()) as i64;
    let short = short.trim_start_matches('0').to_owned();
    match exponent.parse::<i64>() {
        _ if short.is_empty() => (false, "", short, 0),
        Ok(exponent) => (negative, "", short, exponent.saturating_sub(places)),
        // An exponent that no computer holds is compared as it is written.
        Err(_) => (negative, exponent, short, places),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_decimals_of_any_length() {
        for (a, b) in [
            ("1.10", "1.1"),
            ("100", "1e2"),
            ("0.001", "1E-3"),
            ("-0", "0.00"),
            ("12345678901234567890", "1234567890123456789e1"),
            ("1e999", "10e998"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("12345678901234567890", "12345678901234567891"),
            ("0.1", "0.10000000000000001"),
            ("1", "-1"),
            ("1e999", "1e998"),
            ("1e99999999999999999999", "1e99999999999999999998"),
            ("1", "10"),
            ("1", "\"1\""),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn values_not_spellings() {
        assert!(same(
            r#"{"a":[1,{"b":"A"}],"c":null}"#,
            r#" { "c" : null, "a" : [ 1.0 , {"b":"\u0041"} ] }"#
        ));
        assert!(same(r#"{"a":1,"a":2}"#, r#"{"a":2}"#));
        for other in [r#"{"a":1}"#, r#"{"a":1,"b":3}"#, r#"{"a":1,"c":2}"#, "[1,2]", r#"{"a":1,"b":2,"c":0}"#]
        {
            assert!(!same(r#"{"a":1,"b":2}"#, other), "{other}");
        }
        assert!(!same("[1,2]", "[2,1]") && !same("true", "false") && !same("[1]", "[1,1]"));
    }

    proptest! {
        #[test]
        fn floats_are_equal_where_their_shortest_decimals_are(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            let json = |n: f64| serde_json::to_string(&n).unwrap_or_default();
            // Both of one maker: of two shortest decimals that are equally near, each maker takes its own.
            let (plain, scientific) = (format!("{a}"), format!("{a:e}"));
            prop_assert!(same(&plain, &scientific));
            prop_assert_eq!(same(&json(a), &json(b)), a == b);
        }
    }
}
