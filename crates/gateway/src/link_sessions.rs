//! The sessions of links as the router sees them.

use tidegate_link::LinkHandle;
use tidegate_message::Message;
use tidegate_mqtt::PublishError;
use tidegate_router::{BrokerId, DropReason, Published, Sessions};

/// By the place of the broker in the router: the link to it. The box's own broker has none, and takes its messages in turns of
/// its own.
#[derive(Default)]
pub(crate) struct LinkSessions(Vec<Option<LinkHandle>>);

impl LinkSessions {
    /// The broker at this place is at the end of this link, or of none.
    pub(crate) fn set(&mut self, broker: BrokerId, link: Option<LinkHandle>) {
        if self.0.len() <= broker.at() {
            self.0.resize(broker.at() + 1, None);
        }
        self.0[broker.at()] = link;
    }
}

impl Sessions for LinkSessions {
    #[inline]
    fn takes(&self, broker: BrokerId, message: &Message) -> bool {
        self.0.get(broker.at()).is_some_and(|link| link.as_ref().is_some_and(|link| link.takes(message)))
    }

    fn unfinished(&self, broker: BrokerId) -> Vec<u64> {
        self.0.get(broker.at()).and_then(Option::as_ref).map(LinkHandle::unfinished).unwrap_or_default()
    }

    #[inline]
    fn publish(&mut self, broker: BrokerId, key: u64, message: Message) -> Result<Published, DropReason<'static>> {
        let Some(Some(link)) = self.0.get(broker.at()) else { return Err(DropReason::TargetRemoved) };
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
