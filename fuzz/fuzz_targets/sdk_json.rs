//! A payload as plugins read it: what is JSON to one parser is JSON to the other, and a field that is found is JSON, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use tidegate_sdk::json::{self, Path};

fuzz_target!(|payload: &[u8]| {
    let path = Path::parse("a.b").expect("a path");
    let is_json = std::str::from_utf8(payload).is_ok() && serde_json::from_slice::<IgnoredAny>(payload).is_ok();
    match json::find(payload, &path) {
        // The other one's nesting may be bounded a level sooner or later.
        Err(error) => assert!(!is_json || payload.len() > json::MAX_DEPTH, "{error}"),
        Ok(None) => assert!(is_json || payload.len() > json::MAX_DEPTH),
        Ok(Some(field)) => {
            let value = &payload[field.value.clone()];
            assert!(serde_json::from_slice::<IgnoredAny>(value).is_ok() || payload.len() > json::MAX_DEPTH);
            let _ = (field.number(payload), field.text(payload));
        }
    }
});
