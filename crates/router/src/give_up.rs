//! What waits for a target that is away or gone goes elsewhere: to other members of its set, or to where an operator says.

use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::{BrokerId, QueueId, SetId};
use crate::lane::Entry;
use crate::queue::{Leaving, Queue, class_of};
use crate::route::Target;
use crate::sessions::Sessions;
use crate::set::Set;
use crate::ticket::Ticket;
use crate::{Moment, Router};
use smallvec::smallvec;
use tidegate_config::Policy;
use tidegate_message::Message;
use tidegate_spool::{Delivery, Transaction};

/// Why what waits for a target was not moved, or discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveError {
    /// Nothing waits for a target of this name.
    Nothing(String),
    /// Neither a broker nor a set has this name.
    NoTarget(String),
    /// From and to are one.
    Same,
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Whether a message with such a ticket goes to another member of a set when this broker is given up.
    pub fn is_movable(&self, broker: BrokerId, ticket: Ticket) -> bool {
        let set = self.set_of(ticket).map(|set| &self.sets[set.at()]);
        set.is_some_and(|set| set.chooses() && set.has(broker))
    }

    /// A broker has been away for too long, or does not do what it is there for: what waits for it as a member of a set goes
    /// to the others, `unfinished` first: what its session had and the broker may have. At least once is what is left of
    /// QoS 2 for those. Returns how many messages that are.
    pub fn give_up(&mut self, broker: BrokerId, unfinished: Vec<(Ticket, Message)>, now: Moment) -> usize {
        let health = &mut self.brokers[broker.at()].health;
        health.given_up = true;
        if health.up_since.is_some() {
            // It is there, and has to prove itself from here on.
            health.up_since = Some(now.at);
        }
        self.brokers[broker.at()].pulse.forget();
        let mut unfinished = self.entries_of(broker, unfinished, now);
        let mut count = 0;
        for at in 0..self.sets.len() {
            let set = SetId::new(at);
            if self.sets[at].policy == Policy::All || !self.sets[at].put_out(broker, now.at) {
                continue;
            }
            let (its_own, others) = unfinished.into_iter().partition(|entry| self.set_of(entry.ticket) == Some(set));
            unfinished = others;
            count += self.deal_anew(set, Some(broker), its_own, now);
        }
        // Of no set that it was in: back where they were.
        self.put_back(broker, unfinished);
        count
    }

    /// What a broker was sent and is to go elsewhere, in order.
    fn entries_of(&mut self, broker: BrokerId, unfinished: Vec<(Ticket, Message)>, now: Moment) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.brokers[broker.at()].aside);
        entries.extend(unfinished.into_iter().map(|(ticket, message)| self.entry(ticket, message, now)));
        entries
    }

    /// Ends what brokers have refused for good a while ago, and nothing else since: whether they refuse all will not be known.
    pub(crate) fn end_refused(&mut self, now: Moment) {
        for at in 0..self.brokers.len() {
            let Some(since) = self.brokers[at].pulse.aside_since else { continue };
            if self.takeover_after(BrokerId::new(at)).is_none_or(|patience| now.at >= since + patience) {
                let refused = std::mem::take(&mut self.brokers[at].aside);
                self.brokers[at].pulse.aside_since = None;
                refused.into_iter().for_each(|entry| self.drop_entry(&entry, DropReason::RefusedByTarget));
            }
        }
    }

    /// Whether what waits for this broker as a member of a set has another member to go to.
    pub fn has_stand_in(&self, broker: BrokerId) -> bool {
        let is_up = |member: BrokerId| self.brokers[member.at()].health.up_since.is_some();
        let sets = self.sets.iter().filter(|set| set.chooses() && set.has(broker));
        sets.flat_map(Set::brokers).any(|member| member != broker && is_up(member))
    }

    /// A broker is no longer configured. What is durable waits for one of that name, or goes to others of its set; the rest
    /// ends here. `unfinished` is what its session had, `done` what it had taken over.
    pub fn remove_broker(&mut self, at: BrokerId, unfinished: Vec<(Ticket, Message)>, done: Vec<Ticket>, now: Moment) {
        let broker = &mut self.brokers[at.at()];
        (broker.is_gone, broker.held_back_until) = (true, None);
        broker.acks.clear();
        let lane = broker.lane.take(|_| true);
        let name = broker.name.clone();
        if self.targets.get(&name) == Some(&Target::Broker(at)) {
            self.targets.remove(&name);
        }
        for queue in self.queues.iter_mut().filter(|queue| queue.target == Some(Target::Broker(at))) {
            queue.target = None;
        }
        self.queue_ids.retain(|(target, _), _| *target != Target::Broker(at));
        let unfinished = self.entries_of(at, unfinished, now);
        let mut waiting: Vec<Entry> = unfinished.into_iter().chain(lane).collect();
        for set in (0..self.sets.len()).map(SetId::new) {
            let (its_own, others) = waiting.into_iter().partition(|entry| self.set_of(entry.ticket) == Some(set));
            waiting = others;
            let before = self.sets[set.at()].shares();
            self.sets[set.at()].members.retain(|member| member.broker != at);
            if before.members().any(|member| member == at) {
                self.deal_after(set, &before, Some(at), its_own, now);
            } else {
                // It was there as a member that is none any more.
                its_own.into_iter().for_each(|entry| self.place_in_set(set, entry, now));
            }
        }
        for entry in waiting {
            self.place_again(entry, now);
        }
        for ticket in done {
            self.complete(ticket, now);
        }
    }

    /// A message that waited for a broker that is gone waits in its queue for another of the name, if it has one.
    fn place_again(&mut self, entry: Entry, now: Moment) {
        match entry.ticket {
            Ticket::Spooled { queue, .. } => self.place(queue, entry, now),
            _ => self.drop_entry(&entry, DropReason::TargetRemoved),
        }
    }

    /// What waits for one target goes to another, all classes of it, as it is read from the disk: what is being sent stays.
    /// Each message is in both for the moment between two records, so that a crash repeats at most what it interrupts.
    ///
    /// # Errors
    /// Nothing waits there, or the other target is not configured.
    pub fn move_waiting(&mut self, from: &str, to: &str, now: Moment) -> Result<u64, MoveError> {
        if from == to {
            return Err(MoveError::Same);
        }
        if !self.targets.contains_key(to) {
            return Err(MoveError::NoTarget(to.to_owned()));
        }
        let queues: Vec<QueueId> = (0..self.queues.len())
            .map(QueueId::new)
            .filter(|queue| self.spool.key(queue.spool()).target == from && self.spool.pending(queue.spool()).0 > 0)
            .collect();
        if queues.is_empty() {
            return Err(MoveError::Nothing(from.to_owned()));
        }
        let mut count = 0;
        for queue in queues {
            count += self.spool.pending(queue.spool()).0;
            let class = class_of(self.spool.key(queue.spool()).class);
            let to = self.queue_named(to, class);
            self.queues[queue.at()].leaving = Some(Leaving { until: self.spool.sequence(), to: Some(to) });
            let of_queue = |ticket: Ticket| matches!(ticket, Ticket::Spooled { queue: other, .. } if other == queue);
            let mut waiting: Vec<Entry> = self.queues[queue.at()].orphans.drain(..).collect();
            for broker in &mut self.brokers {
                waiting.extend(broker.lane.take(of_queue));
            }
            for entry in waiting {
                self.move_entry(entry, to);
            }
        }
        self.spool_news(now);
        Ok(count)
    }

    /// One durable message from its queue to another.
    pub(crate) fn move_entry(&mut self, entry: Entry, to: QueueId) {
        let Ticket::Spooled { queue, ordinal } = entry.ticket else { return };
        let Some(route) = self.spool.route(queue.spool(), ordinal) else { return };
        let delivery = Delivery { route, queues: smallvec![self.queues[to.at()].name], message: entry.message };
        let received_ms = entry.received_us / 1000;
        let record = Transaction { received_ms, deliveries: smallvec![delivery], ..Transaction::default() };
        let sequence = self.spool.append(record);
        if self.trace.is_on() {
            self.trace_moved(entry.ticket, to, sequence);
        }
        self.replaced.push_back((sequence, entry.ticket));
    }

    /// What is in the log elsewhere by now is done where it was: not before, for a cursor may reach the disk before a record.
    pub(crate) fn end_replaced(&mut self, durable: u64) {
        let mut moved = false;
        while let Some((_, ticket)) = self.replaced.pop_front_if(|(sequence, _)| *sequence <= durable) {
            if let Ticket::Spooled { queue, ordinal } = ticket {
                if self.trace.is_on() {
                    self.trace.spool_done(queue, ordinal);
                }
                self.note_quorum(ticket, false);
                moved |= self.spool.done(queue.spool(), ordinal).is_some();
            }
        }
        if moved {
            self.spool.flush();
        }
    }

    /// Drops all that waits for a target, but what is being sent: what is only on disk, as it is read. Returns how many
    /// messages that are.
    ///
    /// # Errors
    /// Nothing waits there.
    pub fn discard_waiting(&mut self, target: &str, now: Moment) -> Result<u64, MoveError> {
        let (mut dropped, mut to_come) = (Vec::new(), 0);
        for at in 0..self.queues.len() {
            let wanted = QueueId::new(at);
            if self.spool.key(wanted.spool()).target != target {
                continue;
            }
            to_come += self.spool.to_come(wanted.spool());
            self.queues[at].leaving = Some(Leaving { until: self.spool.sequence(), to: None });
            let of_queue = |ticket: Ticket| matches!(ticket, Ticket::Spooled { queue, .. } if queue == wanted);
            dropped.extend(self.queues[at].orphans.drain(..));
            for broker in &mut self.brokers {
                dropped.extend(broker.lane.take(of_queue));
            }
        }
        let count = dropped.len() as u64 + to_come;
        if count == 0 {
            return Err(MoveError::Nothing(target.to_owned()));
        }
        for entry in dropped {
            self.drop_entry(&entry, DropReason::Discarded);
        }
        self.spool_news(now);
        Ok(count)
    }

    /// Whether something is still on its way elsewhere, or to nowhere, because an operator has said so.
    pub fn is_moving(&self) -> bool {
        let leaves = |(at, queue): (usize, &Queue)| {
            queue.leaving.is_some_and(|leaving| !self.spool.has_read(QueueId::new(at).spool(), leaving.until))
        };
        !self.replaced.is_empty() || self.queues.iter().enumerate().any(leaves)
    }
}
