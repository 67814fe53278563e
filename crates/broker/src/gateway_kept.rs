//! What the gateway has subscribed to outlives the process, as a session would: a retained message that it was sent is not sent
//! again after every start.

use ahash::AHashMap;
use std::time::{Duration, Instant};
use tidegate_message::{ByteString, QoS, TopicFilter};
use tidegate_persistence::{Head, Snapshot, Subscription};

/// The client id under which it is kept: no client can have it (MQTT 5.0 section 1.5.4).
const CLIENT_ID: &str = "\0gateway";

/// So long after it has subscribed that is written down: by then it has written down the retained messages that it was sent.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What the gateway had subscribed to, as far as it is written down.
#[derive(Debug, Default)]
pub(crate) struct GatewayKept {
    pub(crate) number: Option<u32>,
    pub(crate) filters: AHashMap<TopicFilter, QoS>,
    /// When to compare it with what it has subscribed to.
    pub(crate) due: Option<Instant>,
}

impl GatewayKept {
    /// Whether it had subscribed to this before it started.
    pub(crate) fn has(&self, filter: &TopicFilter) -> bool {
        self.filters.contains_key(filter)
    }

    /// It has subscribed to something else.
    pub(crate) fn changed(&mut self, now: Instant) {
        self.due = Some(now + SETTLED_AFTER);
    }

    /// Takes up what a store had under this client id; false if that is somebody else.
    pub(crate) fn restore(&mut self, number: u32, snapshot: &Snapshot) -> bool {
        if &*snapshot.head.client_id != CLIENT_ID {
            return false;
        }
        self.number = Some(number);
        self.filters.extend(snapshot.subscriptions.iter().map(|one| (one.filter.clone(), one.qos)));
        true
    }

    /// As it is written down, if it is that which has this client id.
    pub(crate) fn snapshot(&self, client_id: &str) -> Option<Snapshot> {
        (client_id == CLIENT_ID).then(|| self.as_session())
    }

    pub(crate) fn as_session(&self) -> Snapshot {
        Snapshot {
            head: Head {
                client_id: ByteString::from_static(CLIENT_ID),
                username: None,
                expiry_s: u32::MAX,
                keep_alive_s: 0,
                bridge: false,
                will: None,
            },
            away_since_ms: Some(1),
            subscriptions: self.filters.iter().map(|(filter, qos)| subscription(filter, *qos)).collect(),
            taken: Vec::new(),
        }
    }
}

pub(crate) fn subscription(filter: &TopicFilter, qos: QoS) -> Subscription {
    Subscription { filter: filter.clone(), qos, no_local: false, retain_as_published: true, id: 0 }
}
