//! The retained messages that new subscriptions of an in-process client ask for, in steps as those of any client (`replay.rs`): however many
//! they are, nobody else waits for them.
//!
//! The client has no queue for what is published meanwhile. Such a message takes the one that is retained on its topic along, in front of
//! it: a topic keeps its order.

use crate::publisher::RetainedBy;
use crate::retained::{Position, Retained, RetainedMessages};
use ahash::AHashSet;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Instant;
use tidegate_message::{Message, QoS, Topic, TopicFilter};

/// What is still to be sent, for one subscription call after the other.
#[derive(Debug, Default)]
pub(crate) struct LocalReplays(VecDeque<LocalReplay>);

/// The filters of one call, each topic once.
#[derive(Debug)]
pub(crate) struct LocalReplay {
    local: u32,
    filters: VecDeque<(TopicFilter, QoS)>,
    /// In the first of them.
    position: Position,
    /// Those with a higher serial come as any other message does.
    until: u64,
    seen: AHashSet<Topic>,
}

impl LocalReplay {
    /// Nothing yet, for in-process client `local`, of what is retained up to this serial.
    pub(crate) fn new(local: u32, until: u64) -> Self {
        Self { local, filters: VecDeque::new(), position: Position::default(), until, seen: AHashSet::new() }
    }

    pub(crate) fn push(&mut self, filter: TopicFilter, qos: QoS) {
        self.filters.push_back((filter, qos));
    }

    /// A retained message that matches, as it is sent: if it was there then, and has not been sent.
    fn take(&mut self, retained: &Retained, qos: QoS) -> Option<Message> {
        if retained.serial > self.until { None } else { self.take_any(retained, qos) }
    }

    /// The same, whenever it was retained.
    pub(crate) fn take_any(&mut self, retained: &Retained, qos: QoS) -> Option<Message> {
        let is_own = retained.publisher == RetainedBy::Local(self.local);
        if is_own || !self.seen.insert(retained.message.topic.clone()) {
            return None;
        }
        Some(Message { qos: retained.message.qos.min(qos), retain: true, ..retained.message.clone() })
    }
}

impl LocalReplays {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, replay: LocalReplay) {
        if !replay.filters.is_empty() {
            self.0.push_back(replay);
        }
    }

    /// Nobody asks for these any more.
    pub(crate) fn stop(&mut self, filter: &TopicFilter) {
        for replay in &mut self.0 {
            if replay.filters.front().is_some_and(|(first, _)| first == filter) {
                replay.position = Position::default();
            }
            replay.filters.retain(|(one, _)| one != filter);
        }
        self.0.retain(|replay| !replay.filters.is_empty());
    }

    /// A message on this topic is about to be sent: what is retained there comes before it.
    pub(crate) fn before(&mut self, topic: &Topic, all: &RetainedMessages, now: Instant) -> Option<Message> {
        let retained = all.get(topic).filter(|retained| !retained.is_expired(now))?;
        self.0.iter_mut().find_map(|replay| {
            let (_, qos) = replay.filters.iter().find(|(filter, _)| filter.matches(topic))?;
            replay.take(retained, *qos)
        })
    }

    /// Finds some more, looking at so many topics at most.
    pub(crate) fn step(
        &mut self,
        all: &RetainedMessages,
        mut most: usize,
        now: Instant,
        found: &mut impl FnMut(Message),
    ) {
        while let Some(replay) = self.0.front_mut() {
            let Some((filter, qos)) = replay.filters.front().cloned() else {
                self.0.pop_front();
                continue;
            };
            let mut position = std::mem::take(&mut replay.position);
            let is_end = all.walk(&filter, &mut position, &mut most, now, &mut |retained| {
                replay.take(retained, qos).into_iter().for_each(&mut *found);
                ControlFlow::Continue(())
            });
            if !is_end {
                replay.position = position;
                return;
            }
            replay.filters.pop_front();
        }
    }
}
