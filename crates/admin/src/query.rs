//! What stands behind the `?` of an address. A `+` is one, as filters of topics have it.

use percent_encoding::percent_decode_str;

/// The text of a key, if it is there.
pub(crate) fn text(query: Option<&str>, key: &str) -> Option<String> {
    let mut pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(name, _)| *name == key)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// The number of a key, if it is there and is one.
pub(crate) fn number(query: Option<&str>, key: &str) -> Option<u64> {
    text(query, key)?.parse().ok()
}

/// Whether a key is there, and not `false` or `0`.
pub(crate) fn flag(query: Option<&str>, key: &str) -> bool {
    text(query, key).is_some_and(|value| !["false", "0"].contains(&value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_may_stand_as_they_are() {
        let query = Some("filter=dev/+/temp%2F%23&rate=7&payloads&only=");
        assert_eq!(text(query, "filter").as_deref(), Some("dev/+/temp/#"));
        assert_eq!((number(query, "rate"), number(query, "filter")), (Some(7), None));
        assert!(flag(query, "payloads") && !flag(query, "other") && !flag(Some("payloads=0"), "payloads"));
        assert_eq!(text(query, "only").as_deref(), Some(""));
    }
}
