//! The date and the time of day of a moment in milliseconds, such as `message.received_ms`.

use crate::language::{Outcome, wrong};
use rhai::{Dynamic, Engine, INT, Map};

const MS_PER_MINUTE: INT = 60_000;
const MS_PER_DAY: INT = 24 * 60 * MS_PER_MINUTE;

/// No place on earth is further from UTC.
const MAX_OFFSET_MINUTES: INT = 24 * 60;

/// The year 9999 ends here; earlier than 1970 nothing came.
const MAX_MS: INT = 253_402_300_799_999;

pub(crate) fn register(engine: &mut Engine) {
    engine.register_fn("time", |ms: INT| time(ms, 0));
    engine.register_fn("time", time);
}

/// `#{ year, month, day, hour, minute, second, weekday, iso }` of a moment, so many minutes east of UTC. Monday is 1.
fn time(ms: INT, offset_minutes: INT) -> Outcome<Map> {
    if !(0..=MAX_MS).contains(&ms) || offset_minutes.abs() > MAX_OFFSET_MINUTES {
        return Err(wrong(format!("no time: {ms} ms, {offset_minutes} minutes from UTC")));
    }
    let local = ms + offset_minutes * MS_PER_MINUTE;
    let (day_number, of_day) = (local.div_euclid(MS_PER_DAY), local.rem_euclid(MS_PER_DAY));
    let (year, month, day) = date(day_number);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / MS_PER_MINUTE % 60, of_day / 1000 % 60);
    let zone = match offset_minutes {
        0 => "Z".to_owned(),
        _ => {
            let (sign, off) = (if offset_minutes < 0 { '-' } else { '+' }, offset_minutes.abs());
            format!("{sign}{:02}:{:02}", off / 60, off % 60)
        }
    };
    let iso = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}{zone}", of_day % 1000);
    // The first of January 1970 was a Thursday.
    let weekday = (day_number + 3).rem_euclid(7) + 1;
    let numbers = [
        ("year", year),
        ("month", month),
        ("day", day),
        ("hour", hour),
        ("minute", minute),
        ("second", second),
        ("weekday", weekday),
    ];
    let mut map: Map = numbers.into_iter().map(|(name, number)| (name.into(), Dynamic::from(number))).collect();
    map.insert("iso".into(), iso.into());
    Ok(map)
}

/// The date of a day counted from 1970-01-01. Years begin in March here, so that a leap day is the last of its year.
pub(crate) fn date(day_number: INT) -> (INT, INT, INT) {
    const DAYS_PER_400_YEARS: INT = 146_097;
    let since_0000_march = day_number + 719_468;
    let (era, of_era) =
        (since_0000_march.div_euclid(DAYS_PER_400_YEARS), since_0000_march.rem_euclid(DAYS_PER_400_YEARS));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + INT::from(month <= 2), month, day)
}
