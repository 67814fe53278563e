//! Lengths of time on the command line, with the words of the documentation when one is wrong.

use std::time::Duration;

/// Reads `2s`, `500ms` or `1m 30s`.
///
/// # Errors
/// What is wrong, and how to write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        let number = text.trim();
        match !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            true => format!("a time needs a unit: `{number}s`, `{number}ms` or `{number}m`"),
            false => "write a number and a unit, such as `2s`, `500ms` or `1m`".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_unit_is_refused_with_the_units_that_the_documentation_uses() {
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("2").unwrap_err().contains("`2s`"));
        for wrong in ["", "soon", "-1s", "2 parsecs"] {
            assert!(duration(wrong).unwrap_err().contains("`2s`"), "{wrong}");
        }
    }
}
