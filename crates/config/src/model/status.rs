//! What is published of the gateway's own state.

use std::time::Duration;
use tidegate_message::Topic;

/// What a broker is told of the gateway's own state: retained messages beside all routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where `online` and `offline` are.
    pub topic: Topic,
    /// How often the counters are published. `None`: never.
    pub counters: Option<Duration>,
    /// The discovery prefix of a Home Assistant that is to find the gateway; a topic. `None`: none.
    pub home_assistant: Option<Topic>,
}

/// The last level of the topic of the counters.
const COUNTERS: &str = "counters";

impl Status {
    /// Where it is unless it is written.
    pub fn default_topic(gateway: &str) -> String {
        format!("tidegate/{gateway}/status")
    }

    /// Where the counters are: beside the state.
    pub fn counters_topic(&self) -> String {
        match self.topic.as_str().rsplit_once('/') {
            Some((parent, _)) => format!("{parent}/{COUNTERS}"),
            None => COUNTERS.to_owned(),
        }
    }
}
