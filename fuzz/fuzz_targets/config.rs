//! A configuration from any text: it is checked without a panic, and every problem is at a place that is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Err(problems) = tidegate_config::parse(text, Path::new("/etc/tidegate/tidegate.toml")) {
        assert!(!problems.to_string().is_empty(), "a refusal says why");
    }
});
