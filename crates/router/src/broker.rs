//! What the router knows of one broker, as a source and as a target.

use crate::audience::Audience;
use crate::debt::Ack;
use crate::echo::Echo;
use crate::lane::{Entry, Lane};
use crate::pressure::Rest;
use crate::set::Health;
use crate::strain::Pulse;
use crate::topic_routes::TopicRoutes;
use std::sync::Arc;
use std::time::Instant;
use tidegate_message::{ByteString, Message};
use tidegate_pacing::Bucket;
use tidegate_spool::NameId;

/// One broker.
pub struct Broker<A> {
    /// As in the configuration.
    pub name: Arc<str>,
    /// It is at the other end of a link; otherwise it is the box's own, whose sessions end with the process.
    pub(crate) is_link: bool,
    /// Not configured any more.
    pub(crate) is_gone: bool,
    pub(crate) lane: Lane,
    pub(crate) topics: TopicRoutes,
    /// Whether it takes messages.
    pub health: Health,
    /// Since when it does not.
    pub down_since: Option<Instant>,
    /// Messages of it that its owner is to acknowledge.
    pub(crate) acks: Vec<A>,
    /// Until when nothing is read from it.
    pub(crate) held_back_until: Option<Instant>,
    /// Weight of its messages that wait for delivery.
    pub(crate) held_bytes: usize,
    /// Messages that came from it.
    pub received: u64,
    /// Messages that it has taken.
    pub sent: u64,
    /// Messages from it that no route wants.
    pub unrouted: u64,
    /// Copies that it sent because several of our subscriptions overlap.
    pub copies: u64,
    /// Messages of our own that it sent back.
    pub echoed: u64,
    /// Messages from it that have passed this gateway before, or too many.
    pub looped: u64,
    /// The last message that bore a subscription identifier, which it and its copies bore, and whom they were for.
    last_with_id: Option<(Message, Vec<u32>, Audience)>,
    /// Its numbers in the log: as a source of QoS 2 messages, and as the link that remembers what it sent. `None` for
    /// the box's own broker, whose sessions end with the process.
    pub(crate) source_id: Option<NameId>,
    pub(crate) link_id: Option<NameId>,
    /// What must be durable before the link may write what it has in its buffer.
    pub(crate) gate: u64,
    /// How fast a backlog may leave.
    pub(crate) pace: Option<Bucket>,
    /// A backlog waits for `pace`.
    pub(crate) paced: bool,
    pub(crate) rest: Rest,
    pub(crate) pulse: Pulse,
    /// Messages of sets that it has refused for good, as long as it is not known whether it refuses all.
    pub(crate) aside: Vec<Entry>,
    pub(crate) echo: Echo,
    /// What a message bears that leaves for it and has had no hop before; `None` if nothing is marked.
    pub(crate) mark: Option<(ByteString, ByteString)>,
    /// Nobody behind the router marks what goes there.
    pub marked_here: bool,
    /// It has user properties, which say where a message has been. Of a link that was never up nothing is known.
    pub(crate) carries_marks: bool,
    /// What it brings, others bring too.
    pub(crate) merges: bool,
    /// An operator has said that nothing is to be sent to it.
    pub paused: bool,
    /// So many messages may leave, while it is seen what comes all the same.
    pub(crate) may_leave: Option<u32>,
    /// Its owner has not been told of something new.
    pub(crate) dirty: bool,
}

impl<A: Ack> Broker<A> {
    pub(crate) fn new(name: Arc<str>, is_link: bool) -> Self {
        Self {
            name,
            is_link,
            is_gone: false,
            lane: Lane::default(),
            topics: TopicRoutes::default(),
            health: Health::default(),
            down_since: None,
            acks: Vec::new(),
            held_back_until: None,
            held_bytes: 0,
            received: 0,
            sent: 0,
            unrouted: 0,
            copies: 0,
            echoed: 0,
            looped: 0,
            last_with_id: None,
            source_id: None,
            link_id: None,
            gate: 0,
            pace: None,
            paced: false,
            rest: Rest::default(),
            pulse: Pulse::default(),
            aside: Vec::new(),
            echo: Echo::default(),
            mark: None,
            marked_here: false,
            carries_marks: true,
            merges: false,
            paused: false,
            may_leave: None,
            dirty: false,
        }
    }

    /// Whether nothing is to leave for it, whatever it would take.
    #[inline]
    pub(crate) const fn is_kept_from(&self) -> bool {
        self.paused || matches!(self.may_leave, Some(0))
    }

    /// Whether a message is another copy of the last one, sent for another subscription that matches too: a broker may
    /// send one for each (MQTT 5.0 section 3.3.4), one behind the other. Only subscriptions that overlap have identifiers.
    ///
    /// One that is for others than those before it was is none; its audience is then what is left.
    pub(crate) fn is_copy(&mut self, message: &Message, id: u32, audience: &mut Audience) -> bool {
        if let Some((last, ids, served)) = &mut self.last_with_id
            && !ids.contains(&id)
            && (&last.topic, &last.payload, &last.properties) == (&message.topic, &message.payload, &message.properties)
        {
            ids.push(id);
            if let Some(left) = audience.beside(served) {
                *audience = left;
                return false;
            }
            self.copies += 1;
            return true;
        }
        self.last_with_id = Some((message.clone(), vec![id], *audience));
        false
    }

    /// Messages that wait for it in memory, and what they weigh in bytes.
    pub fn queued(&self) -> (usize, usize) {
        (self.lane.len(), self.lane.bytes())
    }

    /// Not configured any more.
    pub const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// True while nothing is to be read from it.
    pub const fn is_held_back(&self) -> bool {
        self.held_back_until.is_some()
    }

    /// It refuses messages for now, and is left alone until then.
    pub fn rests(&self, now: Instant) -> bool {
        self.rest.lasts(now)
    }
}
