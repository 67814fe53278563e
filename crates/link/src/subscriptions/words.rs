//! What goes in and out of the ledger of subscriptions.

use std::time::Duration;
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{ReasonCode, SubscribeFilter, Version};

/// What to ask the broker for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Subscribe(Vec<SubscribeFilter>),
    Unsubscribe(Vec<TopicFilter>),
}

/// What an answer brought, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Refused { filter: TopicFilter, reason: ReasonCode, again_in: Option<Duration> },
    GrantedLess { filter: TopicFilter, asked: u8, granted: u8 },
    LeftOut { filter: TopicFilter, words: String, again_in: Duration },
    NotUnsubscribed { filter: TopicFilter, reason: ReasonCode },
}

/// What the broker may have of us, to be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) filters: Vec<TopicFilter>,
    /// Of these, what it has granted, at which QoS, and is not to be asked for again while the session lasts.
    pub(crate) granted: Vec<(TopicFilter, QoS)>,
}

/// What a new connection found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) version: Version,
    pub(crate) session_present: bool,
    pub(crate) wildcards: bool,
    pub(crate) shared: bool,
    /// With the bridge bit, live messages keep their retain flag.
    pub(crate) bridge: bool,
}
