//! Tests of what the sessions promise, one by one and byte for byte, on a wire without faults.

mod aliases;
mod keep_alive;
mod limits;
mod packets;
mod qos;
mod reasons;
mod redelivery;
mod sessions;

use tidegate_mqtt::{Completion, ReasonCode, Version};

const V5: Version = Version::V5;

fn done(key: u64) -> Completion {
    Completion { key, reason: ReasonCode::SUCCESS }
}
