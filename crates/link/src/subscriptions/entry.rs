//! The ledger's lines: one for each filter, one for each question.

use std::time::Instant;
use tidegate_message::TopicFilter;
use tidegate_mqtt::SubscribeFilter;

/// Where a filter stands with the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SubscriptionState {
    /// To be asked.
    Owed,
    /// Asked in the packet of this id.
    Asked(u64),
    /// The broker has said yes. `proven`: also on this connection, or by a message.
    Granted { proven: bool },
    /// It has said no, or ends the connection; asked again then, without a time at the next connection.
    Refused { words: String, again: Option<Instant> },
}

/// What is known of one filter.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) filter: TopicFilter,
    /// `None`: it is to be unsubscribed.
    pub(super) wanted: Option<SubscribeFilter>,
    /// The broker may have it.
    pub(super) may_have: bool,
    pub(super) state: SubscriptionState,
    /// Refusals in a row.
    pub(super) refusals: u32,
    /// Connections that ended while it alone was asked for, in a row; and how often it was left out for that.
    pub(super) hang_ups: u32,
    pub(super) left_out: u32,
}

impl Entry {
    pub(super) fn new(filter: TopicFilter) -> Self {
        Self {
            filter,
            wanted: None,
            may_have: false,
            state: SubscriptionState::Owed,
            refusals: 0,
            hang_ups: 0,
            left_out: 0,
        }
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.hang_ups > 0 || self.left_out > 0
    }

    pub(super) fn needs_no_id_any_more(&self) -> bool {
        self.may_have && self.wanted.as_ref().is_some_and(|wanted| wanted.subscription_id.is_none())
    }
}

/// A SUBSCRIBE or UNSUBSCRIBE that is not answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) at: Instant,
    pub(super) filters: Vec<TopicFilter>,
}
