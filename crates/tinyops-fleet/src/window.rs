//! Maintenance windows: when devices may be told to install.

use serde::{Deserialize, Serialize};
use tinyops_store::Timestamp;

/// A stretch of each of some days; one that ends before it begins goes on past midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it begins, `mon` to `sun`; none is every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Weekday>,
    /// When it begins, `22:00`.
    pub from: TimeOfDay,
    /// When it ends, `05:00`; the same as `from` is the whole day.
    pub to: TimeOfDay,
}

/// When anything may be installed: in any of the windows, on the clocks of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Windows {
    /// The windows; none is always.
    pub windows: Vec<Window>,
    /// Minutes that the place's clocks are ahead of UTC.
    pub utc_offset_minutes: i32,
}

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

const WEEK: [(Weekday, &str); 7] = [
    (Weekday::Mon, "mon"),
    (Weekday::Tue, "tue"),
    (Weekday::Wed, "wed"),
    (Weekday::Thu, "thu"),
    (Weekday::Fri, "fri"),
    (Weekday::Sat, "sat"),
    (Weekday::Sun, "sun"),
];

/// Minutes since midnight, written `22:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

/// Why a text is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no maintenance window: {problem}")]
pub struct WindowError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

const DAY_MINUTES: i64 = 24 * 60;

impl Windows {
    /// Reads windows as they are written on a command line: `22:00-05:00`, `sat,sun 08:00-18:00`, `mon-fri
    /// 01:00-04:00`; `offset` is that of the clocks, `+01:00`.
    ///
    /// # Errors
    /// [`WindowError`].
    pub fn parse(windows: &[String], offset: Option<&str>) -> Result<Windows, WindowError> {
        Ok(Windows {
            windows: windows
                .iter()
                .map(|text| Window::parse(text))
                .collect::<Result<_, _>>()?,
            utc_offset_minutes: offset.map_or(Ok(0), parse_offset)?,
        })
    }

    /// Whether now is in one of them.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let local = now.0.div_euclid(60_000) + i64::from(self.utc_offset_minutes);
        // 1970 began on a Thursday.
        let (day, minute) = (
            local.div_euclid(DAY_MINUTES) + 3,
            local.rem_euclid(DAY_MINUTES),
        );
        self.windows.is_empty() || self.windows.iter().any(|window| window.holds(day, minute))
    }
}

impl Window {
    fn parse(text: &str) -> Result<Window, WindowError> {
        let error = |problem| WindowError {
            text: text.to_owned(),
            problem,
        };
        let (days, hours) = match text.trim().rsplit_once(' ') {
            Some((days, hours)) => (days.trim(), hours),
            None => ("", text.trim()),
        };
        let (from, to) = hours
            .split_once('-')
            .ok_or_else(|| error("write it as `22:00-05:00` or `sat,sun 08:00-18:00`"))?;
        let mut window = Window {
            days: Vec::new(),
            from: TimeOfDay::parse(from)?,
            to: TimeOfDay::parse(to)?,
        };
        for part in days.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let place = |name: &str| {
                let name = name.trim().to_ascii_lowercase();
                WEEK.iter().position(|(_, short)| *short == name)
            };
            let (Some(first), Some(last)) = (place(first), place(last)) else {
                return Err(error("days are mon, tue, wed, thu, fri, sat, sun"));
            };
            let count = (last + 7 - first) % 7 + 1;
            window
                .days
                .extend((0..count).map(|step| WEEK[(first + step) % 7].0));
        }
        Ok(window)
    }

    fn holds(&self, day: i64, minute: i64) -> bool {
        let (from, to) = (i64::from(self.from.0), i64::from(self.to.0));
        let begins = |day: i64| {
            self.days.is_empty() || self.days.contains(&WEEK[day.rem_euclid(7) as usize].0)
        };
        if from < to {
            begins(day) && (from..to).contains(&minute)
        } else {
            begins(day) && minute >= from || begins(day - 1) && minute < to
        }
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, day) in self.days.iter().enumerate() {
            let name = WEEK
                .iter()
                .find(|(known, _)| known == day)
                .map_or("", |(_, name)| name);
            write!(f, "{}{name}", if index == 0 { "" } else { "," })?;
        }
        let space = if self.days.is_empty() { "" } else { " " };
        let (from, to) = (String::from(self.from), String::from(self.to));
        write!(f, "{space}{from}-{to}")
    }
}

impl TimeOfDay {
    fn parse(text: &str) -> Result<TimeOfDay, WindowError> {
        minutes(text.trim())
            .map(TimeOfDay)
            .ok_or_else(|| WindowError {
                text: text.to_owned(),
                problem: "a time of day is written as `22:00`",
            })
    }
}

fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u16>().ok())
    };
    let (hour, minute) = (number(hour)??, number(minute)??);
    (hour < 24 && minute < 60).then_some(60 * hour + minute)
}

/// Minutes of an offset such as `+01:00` or `-03:30`.
fn parse_offset(text: &str) -> Result<i32, WindowError> {
    let error = || WindowError {
        text: text.to_owned(),
        problem: "an offset from UTC is written as `+01:00`",
    };
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(error()),
    };
    let minutes = minutes(rest).filter(|minutes| *minutes <= 14 * 60);
    Ok(sign * i32::from(minutes.ok_or_else(error)?))
}

impl TryFrom<String> for TimeOfDay {
    type Error = WindowError;

    fn try_from(text: String) -> Result<TimeOfDay, WindowError> {
        TimeOfDay::parse(&text)
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        format!("{:02}:{:02}", time.0 / 60, time.0 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(windows: &[&str], offset: &str, minutes: i64) -> bool {
        let windows: Vec<String> = windows.iter().map(|text| (*text).to_owned()).collect();
        let windows = Windows::parse(&windows, Some(offset)).unwrap();
        for window in &windows.windows {
            assert_eq!(&Window::parse(&window.to_string()).unwrap(), window);
        }
        let json = serde_json::to_value(&windows).unwrap();
        assert_eq!(serde_json::from_value::<Windows>(json).unwrap(), windows);
        // 2026-11-30 is a Monday.
        windows.is_open(Timestamp(1_795_996_800_000 + minutes * 60_000))
    }

    #[test]
    fn windows_open_and_close() {
        const H: i64 = 60;
        assert!(open(&[], "+00:00", 0));
        let night = ["22:00-05:00"];
        for (at, expected) in [(0, true), (5 * H - 1, true), (5 * H, false), (22 * H, true)] {
            assert_eq!(open(&night, "+00:00", at), expected, "{at}");
        }
        // Two hours east, the night begins two hours sooner.
        assert!(open(&night, "+02:00", 20 * H) && !open(&night, "+02:00", 3 * H));
        assert!(!open(&night, "-03:30", 22 * H) && open(&night, "-03:30", 25 * H + 30));
        // One that begins on Sunday evening goes on into Monday; Monday's own evening is not in it.
        assert!(open(&["sun 22:00-05:00"], "+00:00", H));
        assert!(!open(&["sun 22:00-05:00"], "+00:00", 23 * H));
        assert!(open(&["sat-mon 08:00-10:00"], "+00:00", 9 * H));
        assert!(!open(&["tue,wed 08:00-10:00"], "+00:00", 9 * H));
        assert!(open(
            &["tue,wed 08:00-10:00", "mon 09:00-09:30"],
            "+00:00",
            9 * H
        ));
        assert!(open(&["mon 00:00-00:00"], "+00:00", 23 * H));
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "22:00",
            "22-05",
            "24:00-05:00",
            "foo 08:00-09:00",
            "08:60-09:00",
            "+1:00-2:00",
        ] {
            assert!(Windows::parse(&[text.to_owned()], None).is_err(), "{text}");
        }
        for offset in ["1:00", "+15:00", "+1", "", "é1:00"] {
            assert!(Windows::parse(&[], Some(offset)).is_err(), "{offset}");
        }
    }
}
