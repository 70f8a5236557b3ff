//! When runs are due by the calendar: five fields of cron, in UTC.

use chrono::{DateTime, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use tinyops_store::Timestamp;

/// 2026-01-01, from which on every schedule is asked once whether it ever comes.
const ASKED_FROM: Timestamp = Timestamp(1_767_225_600_000);

/// Moments that come again, to the minute.
#[derive(Clone, Debug)]
pub struct Schedule(Cron);

impl Schedule {
    /// Reads minute, hour, day of the month, month and day of the week, or `@daily` and the like.
    ///
    /// # Errors
    /// What is wrong, in words; also if the moment never comes, as 30 February.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let field_count = text.split_whitespace().count();
        let cron = match parser.parse(text) {
            Ok(cron) => cron,
            Err(error) => {
                let why = match field_count {
                    1 | 5 => error.to_string(),
                    _ => format!("it has {field_count} fields"),
                };
                return Err(format!(
                    "{} (minute, hour, day, month, day of the week, such as `0 3 * * 1`)",
                    why.trim_end_matches('.')
                ));
            }
        };
        let schedule = Schedule(cron);
        match schedule.next(ASKED_FROM) {
            Some(_) => Ok(schedule),
            None => Err("it never comes".to_owned()),
        }
    }

    /// The first moment after this one.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let found = self.0.find_next_occurrence(&civil(after)?, false).ok()?;
        Some(Timestamp(found.timestamp_millis()))
    }

    /// The last moment after `after`, and not after `now`.
    #[must_use]
    pub fn last(&self, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let found = self.0.find_previous_occurrence(&civil(now)?, true).ok()?;
        let last = Timestamp(found.timestamp_millis());
        (last > after && last <= now).then_some(last)
    }
}

/// The second that a moment is in.
fn civil(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.0.div_euclid(1000), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment of UTC, as `2026-11-29 03:00:00`.
    fn at(text: &str) -> Timestamp {
        let parsed = format!("{text}Z")
            .replace(' ', "T")
            .parse::<DateTime<Utc>>();
        Timestamp(parsed.unwrap().timestamp_millis())
    }

    #[track_caller]
    fn check(schedule: &str, after: &str, expected: &str) {
        let schedule = Schedule::parse(schedule).unwrap();
        assert_eq!(schedule.next(at(after)), Some(at(expected)));
        assert_eq!(schedule.last(at(after), at(expected)), Some(at(expected)));
        let before = at(expected).plus_ms(-1);
        assert_eq!(schedule.last(at(after), before), None);
        let later = at(expected).plus_ms(30_000);
        assert_eq!(schedule.last(at(after), later), Some(at(expected)));
    }

    #[test]
    fn moments_come_again() {
        check("0 3 * * *", "2026-11-29 02:59:59", "2026-11-29 03:00:00");
        check("0 3 * * *", "2026-11-29 03:00:00", "2026-11-30 03:00:00");
        check("30 4 * * MON", "2026-11-29 00:00:00", "2026-11-30 04:30:00");
        check("0 0 29 2 *", "2026-11-29 00:00:00", "2028-02-29 00:00:00");
        check("*/15 * * * *", "2026-11-29 00:01:00", "2026-11-29 00:15:00");
        check("@weekly", "2026-11-29 00:00:00", "2026-12-06 00:00:00");
    }

    #[test]
    fn of_many_that_were_missed_the_last_counts() {
        let schedule = Schedule::parse("0 3 * * *").unwrap();
        let last = schedule.last(at("2026-11-01 00:00:00"), at("2026-11-29 12:00:00"));
        assert_eq!(last, Some(at("2026-11-29 03:00:00")));
        // A clock that goes back makes nothing due.
        assert_eq!(
            schedule.last(at("2026-11-29 03:00:00"), at("2026-11-28 12:00:00")),
            None
        );
    }

    #[test]
    fn what_is_no_schedule_says_so() {
        for wrong in [
            "",
            "daily",
            "0 3 * *",
            "61 * * * *",
            "0 3 * * * *",
            "@reboot",
            "every day",
        ] {
            let why = Schedule::parse(wrong).expect_err(wrong);
            assert!(why.contains("such as `0 3 * * 1`"), "{wrong}: {why}");
        }
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(Schedule::parse(never).unwrap_err(), "it never comes");
        }
    }
}
