//! Step 4, record: what is to be delivered is filed with its debt, and once all of it is decided it becomes one record of
//! the log; what the log is not for goes to the lanes at once.
//!
//! In: messages as they look at their targets. Out: one transaction for each received message, with its deliveries to all
//! queues, or entries of lanes.

use crate::account::DropReason;
use crate::debt::{Ack, Creditor, Owed, Step};
use crate::ids::{BrokerId, DebtId, QueueId, RouteId};
use crate::lane::Entry;
use crate::park::weight;
use crate::queue::{Queue, is_full};
use crate::route::{Part, RouteTarget, Target};
use crate::sessions::Sessions;
use crate::stash::Quorum;
use crate::ticket::Ticket;
use crate::{Moment, Router};
use smallvec::SmallVec;
use tidegate_config::{Policy, WhenFull};
use tidegate_message::{Message, QoS, Topic};
use tidegate_spool::{DiskStatus, NameId, Transaction};

/// Who waits for a record.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Until it is durable.
    pub(crate) debts: SmallVec<[DebtId; 1]>,
    /// Until members of a set have taken it.
    quorums: Vec<Quorum>,
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// To the route's own targets, under the remapped topic.
    pub(crate) fn onward(&mut self, part: Part, mut message: Message, now: Moment) {
        let route = &self.routes[part.route.at()];
        let targets = route.targets.clone();
        if route.shape.remap(&mut message, &mut self.arena).is_err() {
            return self.end(part, &message.topic, DropReason::Remap);
        }
        self.send(part, &targets, message, now);
    }

    /// To some targets.
    #[inline(always)]
    pub(crate) fn send(&mut self, part: Part, targets: &[RouteTarget], mut message: Message, now: Moment) {
        let route = &self.routes[part.route.at()];
        route.shape.dress(&mut message);
        let is_durable = match part.debt {
            // What is replayed was in the log, and leaves it only for there.
            Some(debt) => route.spooled || self.debts.is_replay(debt),
            None => route.spooled && (route.persist_qos0 || message.qos > QoS::AtMostOnce),
        };
        let Some((last, others)) = targets.split_last() else {
            return self.end(part, &message.topic, DropReason::NoTarget);
        };
        if self.taps.is_about_one() {
            self.tap_out(targets, &message);
        }
        if is_durable {
            return self.file(part, targets, message, now);
        }
        if !others.is_empty() {
            self.copies(part, targets.len());
        }
        for target in others {
            self.deliver(part, target, message.clone(), now);
        }
        self.deliver(part, last, message, now);
    }

    /// One message has become so many.
    pub(crate) fn copies(&mut self, part: Part, count: usize) {
        self.count_copies(part, count);
        if let Some(debt) = part.debt {
            self.debts.expect(debt, count as u32 - 1);
        }
    }

    fn count_copies(&mut self, part: Part, count: usize) {
        let account = &mut self.routes[part.route.at()].account;
        account.copies += count as u64 - 1;
        account.in_flight += count as u64 - 1;
    }

    /// Past the spool, to one target, which may be several brokers.
    fn deliver(&mut self, mut part: Part, target: &RouteTarget, message: Message, now: Moment) {
        if !target.required
            && let Some(debt) = part.debt.take()
        {
            self.settle_decided(debt);
        }
        let ticket = Ticket::new(part.debt, part.route, target.to.set());
        let (received_us, class) = (part.received_us, self.routes[part.route.at()].class);
        let entry = |message| Entry { message, ticket, received_us, class };
        match target.to {
            Target::Broker(broker) => {
                self.hand_over_debt(ticket);
                self.pass(broker, entry(message), now);
            }
            Target::Set(_) if self.wants_quorum(part.debt, target).is_some() => {
                self.file(part, std::slice::from_ref(target), message, now);
            }
            Target::Set(set) if self.sets[set.at()].policy == Policy::All => {
                let members: SmallVec<[BrokerId; 4]> = self.sets[set.at()].brokers().collect();
                let Some((last, others)) = members.split_last() else {
                    return self.end(part, &message.topic, DropReason::TargetRemoved);
                };
                if !others.is_empty() {
                    self.copies(part, members.len());
                }
                for other in others {
                    self.hand_over_debt(ticket);
                    self.pass(*other, entry(message.clone()), now);
                }
                self.hand_over_debt(ticket);
                self.pass(*last, entry(message), now);
            }
            Target::Set(set) if self.sets[set.at()].members.is_empty() => {
                self.end(part, &message.topic, DropReason::TargetRemoved)
            }
            Target::Set(set) => {
                self.hand_over_debt(ticket);
                let entry = entry(message);
                if self.trace.is_about_one() {
                    self.trace_passed(self.sets[set.at()].owner_of(&entry.message), &entry);
                }
                self.place_in_set(set, entry, now);
            }
        }
    }

    /// The source, if one waits, waits for the delivery from here on.
    fn hand_over_debt(&mut self, ticket: Ticket) {
        if let Some(debt) = ticket.debt()
            && self.debts.hand_over(debt) == Step::Decided
        {
            self.commit(debt);
        }
    }

    /// Into a lane.
    #[inline(always)]
    fn pass(&mut self, broker: BrokerId, entry: Entry, now: Moment) {
        if self.trace.is_about_one() {
            self.trace_passed(Some(broker), &entry);
        }
        self.push(broker, entry, now);
    }

    /// For the log: into the stash of its debt, with the queue of each target; of a set whose members all get
    /// everything, into that of each member.
    fn file(&mut self, part: Part, targets: &[RouteTarget], message: Message, now: Moment) {
        if let Some((owed, queue)) = self.take_debt_alone(part, targets, &message) {
            return self.record_alone(owed, part.received_us, part.route, queue, message);
        }
        let mut queues: SmallVec<[Option<QueueId>; 2]> = SmallVec::new();
        for target in targets {
            match target.to {
                Target::Set(set) if self.sets[set.at()].policy == Policy::All => {
                    let members: SmallVec<[BrokerId; 4]> = self.sets[set.at()].brokers().collect();
                    queues.extend(members.iter().map(|member| self.queue_for(Target::Broker(*member), part.route)));
                    if members.is_empty() {
                        queues.push(None);
                    }
                }
                Target::Set(set) if self.sets[set.at()].has_parts() => {
                    queues.push(self.queue_of_part(set, part.route, &message));
                }
                to => {
                    if target.queue.get().is_none() {
                        target.queue.set(self.queue_for(to, part.route));
                    }
                    queues.push(target.queue.get());
                }
            }
        }
        self.count_copies(part, queues.len());
        let mut names: SmallVec<[NameId; 2]> = SmallVec::new();
        let mut places: SmallVec<[QueueId; 2]> = SmallVec::new();
        for queue in queues {
            match self.admit(queue, part.debt.is_some(), now) {
                Ok(queue) => {
                    names.push(self.queues[queue.at()].name);
                    places.push(queue);
                }
                Err(reason) => {
                    self.count_end(part, &message.topic, reason);
                    self.tell_not_filed(part.route, reason, &message, now);
                }
            }
        }
        if names.is_empty() {
            if let Some(debt) = part.debt {
                self.settle_decided(debt);
            }
            return;
        }
        let debt = self.debt_of(part);
        if self.trace.is_about_one() {
            self.trace_filed(debt, part, &places, &message);
        }
        let route = self.routes[part.route.at()].name_id;
        if let Some(debt) = self.debts.get_mut(debt) {
            debt.stash().add(route, names, message);
            debt.stash().queues.extend(places.iter().copied());
        }
        if let [target] = targets
            && !self.routes[part.route.at()].spooled
            && let Some(wanted) = self.wants_quorum(Some(debt), target)
        {
            self.await_quorum(debt, &places, wanted);
        }
        self.settle_decided(debt);
    }

    fn tell_not_filed(&mut self, route: RouteId, reason: DropReason<'_>, message: &Message, now: Moment) {
        let Some(lines_kept_back) = self.notices.quota.allow(now.at) else { return };
        tracing::warn!(
            name: "quota_dropped",
            route = &*self.routes[route.at()].name,
            topic = %message.topic.as_str().escape_debug(),
            reason = reason.word(),
            lines_kept_back = (lines_kept_back > 0).then_some(lines_kept_back),
            "the spool does not take a message: dropped and counted"
        );
    }

    /// Whether a queue takes one more message, for which a source waits or does not.
    fn admit(&mut self, queue: Option<QueueId>, is_held: bool, now: Moment) -> Result<QueueId, DropReason<'static>> {
        let Some(queue) = queue else { return Err(DropReason::TargetRemoved) };
        if !is_held && self.disk != DiskStatus::Good {
            return Err(DropReason::Disk);
        }
        let settings = &self.queues[queue.at()].settings;
        if !is_full(settings, self.pending(queue)) {
            return Ok(queue);
        }
        let when_full = settings.when_full;
        match when_full {
            WhenFull::DropOldest if self.drop_oldest(queue, now) => Ok(queue),
            // The record is not written before there is room: see `commit`.
            WhenFull::Block if is_held => Ok(queue),
            _ => Err(DropReason::Quota),
        }
    }

    /// The debt of a part; if nobody waits, one that nobody is told of, for the record.
    pub(crate) fn debt_of(&mut self, part: Part) -> DebtId {
        if let Some(debt) = part.debt {
            return debt;
        }
        let debt = self.debts.insert(Creditor::Nobody, part.received_us, 0);
        if let Some(draft) = part.draft {
            self.join(draft, debt);
        }
        debt
    }

    /// A message, or one copy of it, ends here before it is on its way to a target.
    pub(crate) fn end(&mut self, part: Part, topic: &Topic, reason: DropReason<'_>) {
        self.count_end(part, topic, reason);
        if let Some(debt) = part.debt {
            self.settle_decided(debt);
        }
    }

    /// Counts a message, or one copy of it, that ends in its route, and tells whoever looks.
    fn count_end(&mut self, part: Part, topic: &Topic, reason: DropReason<'_>) {
        if self.trace.is_on() {
            self.trace_ended(part, reason);
        }
        self.routes[part.route.at()].account.drop(reason);
        self.note_drop(part.route, Some(topic), reason);
        if self.taps.is_about_one() {
            self.tap_ends(reason);
        }
    }

    /// One decision about a debt is made.
    pub(crate) fn settle_decided(&mut self, debt: DebtId) {
        match self.debts.decided(debt) {
            Step::Decided => self.commit(debt),
            Step::Done => self.settle(debt),
            Step::Waits => {}
        }
    }

    /// Everything about a message is decided: it is written, unless a queue is full or something before it waits.
    pub(crate) fn commit(&mut self, id: DebtId) {
        let Some(debt) = self.debts.get(id) else { return };
        if let Some(draft) = debt.draft {
            return self.member_decided(draft);
        }
        if let Creditor::Source(source, _) = debt.to
            && (self.is_blocked(source) || self.must_wait(id))
        {
            return self.blocked.push_back((source, id));
        }
        let (transaction, recorded) = self.transaction([id]);
        self.write(transaction, recorded);
    }

    /// Whether a message of this source waits for room in a queue: none of its later ones may overtake it.
    pub(crate) fn is_blocked(&self, source: BrokerId) -> bool {
        !self.blocked.is_empty() && self.blocked.iter().any(|(waits, _)| self.is_same_source(*waits, source))
    }

    /// A broker that was removed and is back is the same source to what it has sent.
    fn is_same_source(&self, one: BrokerId, other: BrokerId) -> bool {
        one == other || self.brokers[one.at()].name == self.brokers[other.at()].name
    }

    /// Whether a queue that a message is for is full, and says that its sources wait. They wait for one that routes send to: of
    /// another, nobody knows that it will ever be emptied, and what is filed for it already makes it longer for once.
    pub(crate) fn must_wait(&self, debt: DebtId) -> bool {
        let Some(debt) = self.debts.get(debt) else { return false };
        debt.queues().iter().any(|queue| {
            let Queue { settings, is_fed, .. } = &self.queues[queue.at()];
            *is_fed && settings.when_full == WhenFull::Block && is_full(settings, self.pending(*queue))
        })
    }

    /// Writes what has waited for room and has it now, in order for each source.
    pub(crate) fn unblock(&mut self) {
        if self.blocked.is_empty() {
            return;
        }
        let mut kept: Vec<BrokerId> = Vec::new();
        for (source, debt) in std::mem::take(&mut self.blocked) {
            if kept.iter().any(|before| self.is_same_source(*before, source)) || self.must_wait(debt) {
                kept.push(source);
                self.blocked.push_back((source, debt));
            } else {
                let (transaction, recorded) = self.transaction([debt]);
                self.write(transaction, recorded);
            }
        }
    }

    /// One transaction of what is filed for some debts, each of which waits for its record from here on.
    pub(crate) fn transaction(&mut self, debts: impl IntoIterator<Item = DebtId>) -> (Transaction, Recorded) {
        let mut all = Transaction::default();
        let mut quorums = Vec::new();
        let mut written = SmallVec::new();
        for id in debts {
            let Some((stash, alone)) = self.debts.take_stash(id) else { continue };
            if self.trace.is_on() {
                self.trace_stashed(id, &stash);
            }
            let Some(debt) = self.debts.get(id) else { continue };
            let received_ms = debt.received_us / 1000;
            all.received_ms = if all.received_ms == 0 { received_ms } else { all.received_ms.min(received_ms) };
            if let Creditor::Source(source, ack) = debt.to
                && !debt.is_forgotten
                && let Some(packet_id) = ack.exactly_once()
                // Not if the source also waits for a delivery past the log: should the process end before that, the
                // source must send the message again, and it must not be taken for one that is safe.
                && alone
                && let Some(source) = ack.source().or(self.brokers[source.at()].source_id)
            {
                all.taken.push((source, packet_id));
            }
            for number in &stash.unparked {
                let weight = self.spool.parked().get(number).map_or(0, weight);
                self.parked_bytes = self.parked_bytes.saturating_sub(weight);
                self.replaying.remove(number);
                all.state.extend(self.forget_parked_id(*number));
            }
            if all.deliveries.is_empty() {
                all.deliveries = stash.deliveries;
            } else {
                all.deliveries.extend(stash.deliveries);
            }
            quorums.extend(stash.quorums);
            all.parked.extend(stash.parked);
            all.unparked.extend(stash.unparked);
            all.state.extend(stash.state);
            written.push(id);
        }
        (all, Recorded { debts: written, quorums })
    }

    /// Hands a record to the spool.
    pub(crate) fn write(&mut self, transaction: Transaction, recorded: Recorded) {
        let Recorded { debts, quorums } = recorded;
        self.in_spool += transaction.items() as u64;
        let sequence = self.spool.append(transaction);
        if self.trace.is_on() {
            self.trace_recorded(sequence, &debts);
        }
        if !quorums.is_empty() {
            self.begin_quorums(quorums, sequence);
        }
        self.written.extend(debts.into_iter().map(|debt| (sequence, Owed::Debt(debt))));
    }
}
