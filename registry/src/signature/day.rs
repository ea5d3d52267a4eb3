//! Whole days in UTC: the only time that packages know. What holds until a day holds to its end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A day, written `2026-11-21`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Day {
    /// The day of a time, in seconds since 1970.
    #[must_use]
    pub fn of_seconds(seconds: u64) -> Self {
        let mut rest = seconds / 86_400;
        let mut year = 1970;
        // Years from 1970 to 9999 at most: what comes after is the last of them, and nothing holds that long.
        while year < 9999 && rest >= days_of_year(year) {
            rest -= days_of_year(year);
            year += 1;
        }
        let mut month = 1;
        while month < 12 && rest >= u64::from(days_of_month(year, month)) {
            rest -= u64::from(days_of_month(year, month));
            month += 1;
        }
        let day = u8::try_from(rest + 1).unwrap_or(u8::MAX).min(days_of_month(year, month));
        Self { year, month, day }
    }

    /// Reads `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() });
        if !shaped {
            return None;
        }
        let (year, month, day) = (text.get(..4)?.parse().ok()?, text.get(5..7)?.parse().ok()?, text.get(8..)?.parse().ok()?);
        ((1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day))
            .then_some(Self { year, month, day })
    }
}

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of_year(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl TryFrom<String> for Day {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("expected a day such as 2027-06-30")
    }
}

#[cfg(test)]
mod tests {
    use super::Day;

    #[test]
    fn days_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
            (u64::MAX, "9999-12-31"),
        ] {
            assert_eq!(Day::of_seconds(seconds).to_string(), text);
            assert_eq!(Day::parse(text), Some(Day::of_seconds(seconds)));
        }
        assert!(Day::parse("2026-11-21") < Day::parse("2026-12-01"));
    }

    #[test]
    fn no_other_spelling_is_taken() {
        for text in [
            "2026-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-1",
            "2026-11-21T00:00",
            "+026-11-21",
            "",
            "２０２６-11-21",
        ] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }
}
