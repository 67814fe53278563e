//! A users file from any text: it is read without a panic, and every problem is in a line that is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_broker::Users;

fuzz_target!(|text: &str| {
    if let Err(problems) = Users::parse(text) {
        assert!(!problems.is_empty());
        let lines = text.lines().count().max(1);
        assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)));
    }
});
