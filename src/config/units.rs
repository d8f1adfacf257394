//! The quantities of a pipeline file in the user's words: `20ms`, `64MiB`, `2026-01-31T08:00:00Z`.
//! Pure. The patterns stand in the schema too, so what the schema accepts is accepted here.

use std::time::Duration;

/// What a duration looks like. The digits are limited, so that no sum can overflow.
pub(super) const DURATION: &str = r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h)$";
/// What a size looks like.
pub(super) const BYTE_SIZE: &str = r"^[0-9]{1,9} ?(B|kB|KB|KiB|MB|MiB|GB|GiB)?$";
/// Where a new consumer group begins. That the day exists is for [`timestamp`] to say.
pub(crate) const START: &str = concat!(
    r"^(earliest|latest|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?",
    r"([Zz]|[+-][0-9]{2}:[0-9]{2}))$"
);

/// `20ms`, `1.5s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let millis_a_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<u64>().ok()).flatten();
    let thousandths = digits(&format!("{fraction:0<3}"))?;
    let micros = digits(whole)?.checked_mul(1_000)?.checked_add(thousandths)?.checked_mul(millis_a_unit)?;
    Some(Duration::from_micros(micros))
}

/// `64MiB`, `1MB`, `512` (bytes). At most what fits an `i64`.
pub(super) fn byte_size(text: &str) -> Option<usize> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
    usize::try_from(i64::try_from(bytes).ok()?).ok()
}

/// An RFC 3339 timestamp as milliseconds since the Unix epoch; finer fractions are cut.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    // A leap second (60) counts as the second after it, as Kafka's own clocks do.
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (fraction, zone) = rest.split_at(zone_at);
    let millis = match fraction.strip_prefix('.') {
        Some(digits) => format!("{digits:0<3}").get(..3)?.parse::<i64>().ok()?,
        None => 0,
    };
    let offset_minutes = match zone.get(..1)? {
        "Z" | "z" => 0,
        sign => {
            let (h, m) = (zone.get(1..3)?.parse::<i64>().ok()?, zone.get(4..6)?.parse::<i64>().ok()?);
            if h > 23 || m > 59 {
                return None;
            }
            (h * 60 + m) * if sign == "-" { -1 } else { 1 }
        }
    };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((seconds - offset_minutes * 60) * 1_000 + millis)
}

/// Days of the proleptic Gregorian calendar: Howard Hinnant's `days_from_civil`.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        assert_eq!(duration("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("0.25ms"), Some(Duration::from_micros(250)));
        for wrong in ["20", "ms", "1.s", "1.2345s", "-1s", "1 s", "1d", "+1s", ""] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(byte_size("64MiB"), Some(64 << 20));
        assert_eq!(byte_size("1MB"), Some(1_000_000));
        assert_eq!(byte_size("512"), Some(512));
        for wrong in ["", "MiB", "1.5MB", "1TB", "-1"] {
            assert_eq!(byte_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn timestamps() {
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(timestamp("2000-02-29T12:00:00.5Z"), Some(951_825_600_500));
        assert_eq!(timestamp("2026-01-31T08:00:00+02:00"), timestamp("2026-01-31T06:00:00Z"));
        assert_eq!(timestamp("1969-12-31T23:59:59.999Z"), Some(-1));
        for wrong in
            ["2025-02-29T00:00:00Z", "2025-13-01T00:00:00Z", "2025-01-01T24:00:00Z", "2025-01-01", "é"]
        {
            assert_eq!(timestamp(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_the_schema_accepts_has_a_value(d in &DURATION[1..DURATION.len() - 1], b in &BYTE_SIZE[1..BYTE_SIZE.len() - 1]) {
            prop_assert!(duration(&d).is_some(), "{d}");
            prop_assert!(byte_size(&b).is_some(), "{b}");
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = (duration(&text), byte_size(&text), timestamp(&text));
        }

        #[test]
        fn a_day_later_is_a_day_later(days in 0i64..40_000) {
            // Walks the calendar by itself and compares.
            let (mut y, mut m, mut d) = (1970i64, 1i64, 1i64);
            for _ in 0..days {
                d += 1;
                let leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
                let last = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][m as usize - 1];
                if d > last { d = 1; m += 1; }
                if m > 12 { m = 1; y += 1; }
            }
            prop_assert_eq!(days_since_epoch(y, m, d), days);
        }
    }
}
