//! Moments as users write and read them: RFC 3339, or so long ago. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regex::Regex;

use crate::config;

/// Milliseconds since the Unix epoch. (A clock before 1970 counts as 1970.)
pub fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// An RFC 3339 timestamp, in milliseconds since the Unix epoch.
pub fn instant(text: &str) -> Option<i64> {
    // The shape that pipelines know too; `config::timestamp` says whether there is such a day.
    let shape = Regex::new(config::START).ok()?;
    shape.is_match(text).then(|| config::timestamp(text)).flatten()
}

/// A moment: RFC 3339, or a duration (`30m`, `2h`, `7d`) for so long before `now`.
pub fn moment(text: &str, now: i64) -> Option<i64> {
    if let Some(instant) = instant(text) {
        return Some(instant);
    }
    let ago = match text.strip_suffix('d') {
        Some(days) => config::duration(&format!("{days}h")).and_then(|d| d.checked_mul(24)),
        None => config::duration(text),
    };
    now.checked_sub(i64::try_from(ago?.as_millis()).ok()?)
}

/// `2026-01-31T08:00:00.123Z`; without the fraction where there is none.
pub fn rfc3339(millis: i64) -> String {
    let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = date(days);
    let (seconds, fraction) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:03}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a day counted from the Unix epoch: Howard Hinnant's `civil_from_days`.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `7 days`, `36 hours`, `90 s`: the largest unit that says it without a fraction.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        s if s >= 2 * 86_400 && s % 86_400 == 0 => format!("{} days", s / 86_400),
        s if s >= 2 * 3600 && s % 3600 == 0 => format!("{} hours", s / 3600),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments() {
        let now = 1_769_846_400_000;
        assert_eq!(moment("2026-01-31T08:00:00Z", 0), Some(now));
        assert_eq!(moment("2026-01-31T10:00:00.5+02:00", 0), Some(now + 500));
        assert_eq!(moment("2h", now), Some(now - 7_200_000));
        assert_eq!(moment("1.5s", now), Some(now - 1_500));
        assert_eq!(moment("7d", now), Some(now - 7 * 86_400_000));
        for wrong in ["", "2", "d", "-2h", "earliest", "latest", "2026-01-31", "2026-02-30T08:00:00Z", "é"] {
            assert_eq!(moment(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_said_plainly() {
        let said = |seconds| spoken(Duration::from_secs(seconds));
        assert_eq!((said(604_800), said(7200), said(90)), ("7 days".into(), "2 hours".into(), "90 s".into()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in -62_000_000_000_000i64..250_000_000_000_000) {
            prop_assert_eq!(instant(&rfc3339(millis)), Some(millis), "{}", rfc3339(millis));
        }

        #[test]
        fn nothing_panics(text in "\\PC*", now in any::<i64>()) {
            let _ = (moment(&text, now), rfc3339(now));
        }
    }
}
