//! What a session is still to be sent for its new subscriptions: see `replay.rs`.

use crate::connection::Connection;
use crate::publisher::RetainedBy;
use crate::queue::Queue;
use crate::retained::{Position, Retained};
use std::collections::VecDeque;
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::ReasonCode;

/// How many retained topics are looked at in one step.
pub(crate) const REPLAY_STEP: usize = 1000;

/// An answer to a SUBSCRIBE.
#[derive(Debug)]
pub(crate) struct Suback {
    pub(crate) packet_id: u16,
    pub(crate) codes: Vec<ReasonCode>,
}

impl Suback {
    pub(crate) fn write(&self, connection: &Connection) {
        connection.session.borrow_mut().suback(self.packet_id, &self.codes);
    }
}

/// The retained messages that are to follow one subscription.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) filter: TopicFilter,
    pub(crate) qos: QoS,
    /// The subscription identifier, 0 for none.
    pub(crate) id: u32,
    pub(crate) no_local: bool,
    pub(crate) position: Position,
    /// Those with a higher serial come as any other message does.
    pub(crate) until: u64,
    /// They come when so much has been taken from the queue.
    pub(crate) after: u64,
    /// They are written down, all of them at once and not as the client takes them.
    pub(crate) is_kept: bool,
    /// What the client is told at the end.
    pub(crate) suback: Option<Suback>,
}

impl Replay {
    pub(crate) fn leaves_out(&self, retained: &Retained, client_id: &str) -> bool {
        let is_own = || matches!(&retained.publisher, RetainedBy::Client(publisher) if **publisher == *client_id);
        retained.serial > self.until || (self.no_local && is_own())
    }
}

/// All replays of one session, in their order.
#[derive(Debug, Default)]
#[allow(clippy::box_collection)] // most sessions have none, and hold room for none
pub(crate) struct Replays(Option<Box<VecDeque<Replay>>>);

impl Replays {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn push(&mut self, replay: Replay) {
        self.0.get_or_insert_default().push_back(replay);
    }

    pub(crate) fn pop(&mut self) -> Option<Replay> {
        let replay = self.0.as_mut()?.pop_front();
        self.0.take_if(|replays| replays.is_empty());
        replay
    }

    pub(crate) fn push_front(&mut self, replay: Replay) {
        self.0.get_or_insert_default().push_front(replay);
    }

    pub(crate) fn front(&self) -> Option<&Replay> {
        self.0.as_ref()?.front()
    }

    /// Whether they are sent before what is in the queue now.
    pub(crate) fn come_before(&self, queue: &Queue) -> bool {
        self.front().is_some_and(|replay| !replay.is_kept && queue.taken() >= replay.after)
    }

    /// A message did not find room in the queue: that it is there, the client learns from these if it is ahead.
    pub(crate) fn missed(&mut self) {
        self.0.iter_mut().flat_map(|replays| replays.iter_mut()).for_each(|replay| replay.until = u64::MAX);
    }

    /// The client is gone that waited for answers.
    pub(crate) fn unanswered(&mut self) {
        self.0.iter_mut().flat_map(|replays| replays.iter_mut()).for_each(|replay| replay.suback = None);
    }

    /// Ends those of a subscription; what its client is to be told now.
    pub(crate) fn stop(&mut self, filter: &TopicFilter) -> Option<Suback> {
        let replays = self.0.as_mut()?;
        let at = replays.iter().position(|replay| replay.filter == *filter)?;
        let suback = replays.remove(at)?.suback;
        self.0.take_if(|replays| replays.is_empty());
        suback
    }
}

/// What became of a step.
pub(crate) enum Replayed {
    /// One subscription has everything.
    One,
    /// It is to go on.
    More,
    /// There is none, or the client takes no more now.
    Waits,
}
