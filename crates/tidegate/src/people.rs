//! Numbers and times for people.

use std::time::{SystemTime, UNIX_EPOCH};

/// With commas.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// So many messages.
pub(crate) fn messages(n: u64) -> String {
    if n == 1 { "1 message".to_owned() } else { format!("{} messages", count(n)) }
}

/// Messages a second.
pub(crate) fn rate(n: Option<f64>) -> String {
    match n {
        None => "-".to_owned(),
        Some(0.0) => "0/s".to_owned(),
        Some(n) if n < 10.0 => format!("{n:.1}/s"),
        Some(n) => format!("{}/s", count(n.round() as u64)),
    }
}

/// A size.
pub(crate) fn bytes(n: u64) -> String {
    let mut n = n as f64;
    for unit in ["B", "KiB", "MiB"] {
        if n < 1024.0 {
            return if unit == "B" || n >= 10.0 { format!("{n:.0} {unit}") } else { format!("{n:.1} {unit}") };
        }
        n /= 1024.0;
    }
    format!("{n:.1} GiB")
}

/// A time that something took.
pub(crate) fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0 => format!("{} ms", (seconds * 1000.0).ceil()),
        1..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// How long ago that was, in milliseconds since the epoch.
pub(crate) fn ago(at_ms: u64) -> String {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    format!("{} ago", span(now_ms.saturating_sub(at_ms) as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12, 2_048, 20_480, 3 << 30].map(bytes), ["12 B", "2.0 KiB", "20 KiB", "3.0 GiB"]);
        assert_eq!(
            [0.0004, 1.5, 61.0, 7_260.0, 90_000.0].map(span),
            ["1 ms", "1 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"]
        );
        assert_eq!([None, Some(0.0), Some(1.25), Some(12_345.6)].map(rate), ["-", "0/s", "1.2/s", "12,346/s"]);
    }
}
