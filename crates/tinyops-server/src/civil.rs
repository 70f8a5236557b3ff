//! Moments as people write them, in UTC.

/// A point in time, split into civil fields (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    year: i64,
    month: u8,
    day: u8,
    second_of_day: u32,
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Moment {
    /// Splits Unix milliseconds.
    ///
    /// # Source
    /// Howard Hinnant, 2013, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    pub fn of_ms(unix_ms: i64) -> Moment {
        let seconds = unix_ms.div_euclid(1000);
        let days = seconds.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Moment {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            second_of_day: seconds.rem_euclid(86_400) as u32,
        }
    }

    /// `19:14`
    pub(crate) fn time(self) -> String {
        let minutes = self.second_of_day / 60;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// `19:14:09`
    pub(crate) fn time_with_seconds(self) -> String {
        format!("{}:{:02}", self.time(), self.second_of_day % 60)
    }

    /// `22 Nov`
    pub(crate) fn day(self) -> String {
        format!("{} {}", self.day, MONTHS[usize::from(self.month) - 1])
    }

    /// `2026-11-22 19:14:09`
    pub fn full(self) -> String {
        format!(
            "{:04}-{:02}-{:02} {}",
            self.year,
            self.month,
            self.day,
            self.time_with_seconds()
        )
    }
}

/// How long ago something was, in the unit a person would use.
pub(crate) fn ago(ms: i64) -> String {
    match ms / 1000 {
        i64::MIN..=4 => "just now".to_owned(),
        s @ 5..=119 => format!("{s} s ago"),
        s @ 120..=7199 => format!("{} min ago", s / 60),
        s @ 7200..=172_799 => format!("{} h ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// A span of time in the unit a person would use.
pub(crate) fn duration(ms: i64) -> String {
    match ms {
        ..=999 => format!("{} ms", ms.max(0)),
        1000..=119_999 => format!("{:.1} s", ms as f64 / 1000.0),
        120_000..=7_199_999 => format!("{:.1} min", ms as f64 / 60e3),
        7_200_000..=172_799_999 => format!("{:.1} h", ms as f64 / 3600e3),
        _ => format!("{:.1} days", ms as f64 / 86_400e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unix_ms: i64, expected: &str) {
        assert_eq!(Moment::of_ms(unix_ms).full(), expected);
    }

    #[test]
    fn moments() {
        check(0, "1970-01-01 00:00:00");
        check(951_782_400_000, "2000-02-29 00:00:00");
        check(-1, "1969-12-31 23:59:59");
        check(1_795_374_849_000, "2026-11-22 19:14:09");
    }

    #[test]
    fn spans() {
        assert_eq!(ago(90_000), "90 s ago");
        assert_eq!(ago(3 * 3_600_000), "3 h ago");
        assert_eq!(duration(15_300), "15.3 s");
        assert_eq!(duration(309 * 3_600_000), "12.9 days");
    }
}
