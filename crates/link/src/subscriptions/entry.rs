//! The ledger's lines: one for each filter, one for each question.

use std::time::{Duration, Instant};
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{RetainHandling, SubscribeFilter};
use tidegate_pacing::Doubling;

/// After a refusal it is asked again after this long, then twice as long, up to the longest.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

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
    /// The broker has granted it in this session, at this QoS, and what is stored is not to come again: on 3.1.1, where it
    /// would, it is not asked for again.
    pub(super) granted: Option<QoS>,
    /// This process has asked for it once, and was answered: what is stored has come.
    pub(super) has_fetched: bool,
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
            granted: None,
            has_fetched: false,
            state: SubscriptionState::Owed,
            refusals: 0,
            hang_ups: 0,
            left_out: 0,
        }
    }

    /// The broker has said no. Returns after how long it is asked again.
    pub(super) fn refused(&mut self, words: String, now: Instant) -> Duration {
        let again_in = Doubling::new(AGAIN_MIN, AGAIN_MAX).after(self.refusals);
        self.refusals += 1;
        self.state = SubscriptionState::Refused { words, again: Some(now + again_in) };
        again_in
    }

    /// What to ask the broker for.
    pub(super) fn ask(&self, fetch_stored: bool) -> Option<SubscribeFilter> {
        let wanted = self.wanted.clone()?;
        let retain_handling = match wanted.retain_handling {
            // None on a shared subscription (MQTT 5.0 section 4.8.2); mosquitto would send them to each member.
            _ if self.filter.share().is_some() => RetainHandling::Never,
            RetainHandling::Send if self.has_fetched || !fetch_stored => RetainHandling::SendIfNew,
            other => other,
        };
        Some(SubscribeFilter { retain_handling, ..wanted })
    }

    /// Whether what is wanted is what was granted, and not to be asked for again. Without the bridge bit, what is stored and
    /// not wanted is known by its retain flag: then asking costs nothing.
    pub(super) fn is_granted_for_good(&self, bridge: bool) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        let matters = wanted.retain_handling == RetainHandling::SendIfNew || bridge;
        matters && self.granted.is_some() && self.granted == granted_for_good(wanted)
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.hang_ups > 0 || self.left_out > 0
    }

    pub(super) fn needs_no_id_any_more(&self) -> bool {
        self.may_have && self.wanted.as_ref().is_some_and(|wanted| wanted.subscription_id.is_none())
    }
}

/// The QoS of a filter that is not asked for again once it is granted; `None` if it may be.
pub(super) fn granted_for_good(wanted: &SubscribeFilter) -> Option<QoS> {
    (wanted.retain_handling != RetainHandling::Send).then_some(wanted.qos)
}

/// A SUBSCRIBE or UNSUBSCRIBE that is not answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) at: Instant,
    pub(super) filters: Vec<TopicFilter>,
}
