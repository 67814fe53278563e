//! The sessions of target brokers as the router sees them.

use tidegate_link::LinkHandle;
use tidegate_message::Message;
use tidegate_mqtt::PublishError;
#[cfg(feature = "nats")]
use tidegate_nats::NatsHandle;
use tidegate_router::{BrokerId, DropReason, Published, Sessions};

/// What has the messages that a broker was given and has not acknowledged.
pub(crate) enum Session {
    Link(LinkHandle),
    /// Takes its messages from the lane, and none at once.
    #[cfg(feature = "nats")]
    Nats(NatsHandle),
}

/// By the place of the broker in the router. The box's own broker has none, and takes its messages in turns of its own.
#[derive(Default)]
pub(crate) struct TargetSessions(Vec<Option<Session>>);

impl TargetSessions {
    /// The broker at this place has this session, or none.
    pub(crate) fn set(&mut self, broker: BrokerId, session: Option<Session>) {
        if self.0.len() <= broker.at() {
            self.0.resize_with(broker.at() + 1, || None);
        }
        self.0[broker.at()] = session;
    }

    #[inline]
    fn link(&self, broker: BrokerId) -> Option<&LinkHandle> {
        match self.0.get(broker.at()) {
            Some(Some(Session::Link(link))) => Some(link),
            _ => None,
        }
    }
}

impl Sessions for TargetSessions {
    #[inline]
    fn takes(&self, broker: BrokerId, message: &Message) -> bool {
        self.link(broker).is_some_and(|link| link.takes(message))
    }

    fn unfinished(&self, broker: BrokerId) -> Vec<u64> {
        match self.0.get(broker.at()) {
            Some(Some(Session::Link(link))) => link.unfinished(),
            #[cfg(feature = "nats")]
            Some(Some(Session::Nats(nats))) => nats.unfinished(),
            Some(None) | None => Vec::new(),
        }
    }

    #[inline]
    fn publish(&mut self, broker: BrokerId, key: u64, message: Message) -> Result<Published, DropReason<'static>> {
        let Some(link) = self.link(broker) else { return Err(DropReason::TargetRemoved) };
        match link.publish(key, message) {
            Ok(tidegate_mqtt::Published::Sent) => Ok(Published::Written),
            Ok(tidegate_mqtt::Published::InFlight { exactly_once }) => Ok(Published::InFlight { serial: exactly_once }),
            Err(error) => Err(reason_of(&error)),
        }
    }
}

/// Why a message that its session does not take ends.
pub(crate) const fn reason_of(error: &PublishError) -> DropReason<'static> {
    match error {
        PublishError::TooLarge { .. } => DropReason::TooLarge,
        PublishError::Full => DropReason::TargetFull,
    }
}
