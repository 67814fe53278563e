//! Counts the messages in durable state and forwards the count: refused without the grant, right with it.
//!
//! The payload that goes on is the count so far. A payload `poison` traps after writing, so that a test sees whether the
//! write was undone with the call.

use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems, state};

struct Count;

impl Plugin for Count {
    type Config = std::collections::HashMap<String, String>;

    fn configure(_: Self::Config) -> Result<Self, Problems> {
        Ok(Self)
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let before = state::get("count").and_then(|count| String::from_utf8(count).ok()?.parse().ok()).unwrap_or(0_u64);
        let count = (before + 1).to_string();
        state::set("count", count.as_bytes());
        assert!(message.payload != b"poison", "hostile: poison");
        Ok(Output::onward().payload(count).into())
    }
}

tidegate_sdk::plugin!(Count);
