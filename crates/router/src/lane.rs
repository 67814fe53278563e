//! Step 6, the lane: what waits for one target broker, in the order in which it is to leave.
//!
//! In: [`Entry`]s, from the spool once they are durable, and at once what goes past it. Out: one entry after another, as
//! the session of the target has room. Two queues a class of priority, merged: of what is never dropped here, and of what
//! nobody waits for.

use crate::ticket::Ticket;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_config::Priority;
use tidegate_message::{Message, QoS};
use tidegate_spool::ItemId;

/// How many classes of priority there are.
pub(crate) const CLASSES: usize = 3;

/// How long a full lane holds its sources back before it drops its oldest.
pub(crate) const PUSH_BACK: Duration = Duration::from_secs(1);

/// How much a lane holds of messages that no source waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self { messages: 20_000, bytes: 16 * 1024 * 1024 }
    }
}

/// One message for one broker.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    pub(crate) ticket: Ticket,
    /// When it was received, in microseconds since the epoch.
    pub(crate) received_us: u64,
    /// All of a class leave before any of the next.
    pub(crate) class: Priority,
}

/// The waiting room of one broker.
///
/// Messages that a source waits for are bounded by its window: it is acknowledged only when they are delivered. Those that
/// the spool holds are bounded by the window that it keeps in memory. Neither is dropped here. The others (QoS 0, past the
/// spool) are loose, and bounded by [`LaneLimits`].
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// By class.
    held: [VecDeque<Waiting>; CLASSES],
    held_bytes: usize,
    /// By class.
    loose: [VecDeque<Waiting>; CLASSES],
    loose_messages: usize,
    loose_bytes: usize,
    arrivals: u64,
    limits: LaneLimits,
    /// Since when the loose queue is full; `None` once it has drained by half.
    full_since: Option<Instant>,
}

/// One place in a queue.
#[derive(Debug)]
struct Waiting {
    /// Its number in the order of arrival.
    at: u64,
    weight_bytes: usize,
    entry: Entry,
}

impl Waiting {
    #[inline]
    fn wants_room(&self) -> bool {
        self.entry.message.qos != QoS::AtMostOnce
    }
}

/// What happened to a message that was pushed.
#[derive(Debug)]
pub(crate) enum Pushed {
    Taken,
    /// Taken, but the source should hold back until then.
    HoldBack(Instant),
    /// Taken in place of this one, the oldest.
    Dropped(Entry),
}

impl Lane {
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry, now: Instant) -> Pushed {
        self.arrivals += 1;
        let weight_bytes = entry.message.weight_bytes();
        let is_loose = entry.ticket.is_loose();
        let class = entry.class as usize;
        let waiting = Waiting { at: self.arrivals, weight_bytes, entry };
        if !is_loose {
            self.held_bytes += weight_bytes;
            self.held[class].push_back(waiting);
            return Pushed::Taken;
        }
        self.loose_bytes += weight_bytes;
        self.loose_messages += 1;
        self.loose[class].push_back(waiting);
        if self.loose_messages <= self.limits.messages && self.loose_bytes <= self.limits.bytes {
            return Pushed::Taken;
        }
        let until = *self.full_since.get_or_insert(now) + PUSH_BACK;
        // The bound is twice the limit while sources hold back: what they had read already must go somewhere.
        let overfull = self.loose_messages > 2 * self.limits.messages || self.loose_bytes > 2 * self.limits.bytes;
        if now < until && !overfull {
            return Pushed::HoldBack(until);
        }
        // The oldest of the lowest class.
        match self.loose.iter_mut().rev().find_map(VecDeque::pop_front) {
            Some(oldest) => {
                self.loose_messages -= 1;
                self.loose_bytes -= oldest.weight_bytes;
                Pushed::Dropped(oldest.entry)
            }
            None => Pushed::Taken,
        }
    }

    /// Puts back what left and is to leave again, in front of all of its class that has not left, and among what was put back
    /// before it in the order of the log, where `place` says where they are; what the log does not have in front of that.
    pub(crate) fn put_back(&mut self, entries: Vec<Entry>, place: impl Fn(Ticket) -> Option<ItemId>) {
        entries.into_iter().rev().for_each(|entry| self.put_one_back(entry, &place));
    }

    fn put_one_back(&mut self, entry: Entry, place: impl Fn(Ticket) -> Option<ItemId>) {
        let weight_bytes = entry.message.weight_bytes();
        self.held_bytes += weight_bytes;
        let queue = &mut self.held[entry.class as usize];
        let put_back = queue.iter().take_while(|waiting| waiting.at == 0);
        let before = put_back.enumerate().filter(|(_, waiting)| entry.ticket.is_behind(waiting.entry.ticket, &place));
        let at = before.last().map_or(0, |(at, _)| at + 1);
        // Before everything that has arrived since.
        queue.insert(at, Waiting { at: 0, weight_bytes, entry });
    }

    /// The next message: of the highest class, then in the order of arrival. Of those that need room in the window only
    /// if there is some, and late ones, received before `late_us`, only if they may go.
    #[inline]
    pub(crate) fn pop(&mut self, has_room: bool, late_us: Option<u64>) -> Option<Entry> {
        let may_go = |waiting: &&Waiting| has_room || !waiting.wants_room();
        let in_time = |waiting: &&Waiting| late_us.is_none_or(|late| waiting.entry.received_us >= late);
        for class in 0..CLASSES {
            let held = self.held[class].front().filter(may_go).filter(in_time).map(|waiting| waiting.at);
            let loose = self.loose[class].front().filter(may_go).map(|waiting| waiting.at);
            let is_held = match (held, loose) {
                (None, None) => continue,
                (Some(held), Some(loose)) => held < loose,
                (held, _) => held.is_some(),
            };
            if is_held {
                let waiting = self.held[class].pop_front()?;
                self.held_bytes -= waiting.weight_bytes;
                return Some(waiting.entry);
            }
            let waiting = self.loose[class].pop_front()?;
            self.loose_messages -= 1;
            self.loose_bytes -= waiting.weight_bytes;
            if self.full_since.is_some() && self.has_drained() {
                self.full_since = None;
            }
            return Some(waiting.entry);
        }
        None
    }

    fn has_drained(&self) -> bool {
        self.loose_messages <= self.limits.messages / 2 && self.loose_bytes <= self.limits.bytes / 2
    }

    /// The first that is wanted among those that are never dropped here.
    pub(crate) fn first(&self, wanted: impl Fn(Ticket) -> bool) -> Option<&Entry> {
        self.held.iter().flatten().map(|waiting| &waiting.entry).find(|entry| wanted(entry.ticket))
    }

    /// Takes out the first that is wanted among those that are never dropped here.
    pub(crate) fn take_first(&mut self, wanted: impl Fn(Ticket) -> bool) -> Option<Entry> {
        for queue in &mut self.held {
            if let Some(at) = queue.iter().position(|waiting| wanted(waiting.entry.ticket)) {
                let waiting = queue.remove(at)?;
                self.held_bytes -= waiting.weight_bytes;
                return Some(waiting.entry);
            }
        }
        None
    }

    /// Takes out the first of a class if it is wanted.
    pub(crate) fn take_front(&mut self, wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
        for queue in &mut self.held {
            if queue.front().is_some_and(|waiting| wanted(&waiting.entry)) {
                let waiting = queue.pop_front()?;
                self.held_bytes -= waiting.weight_bytes;
                return Some(waiting.entry);
            }
        }
        None
    }

    /// True while sources should hold back.
    #[inline]
    pub(crate) fn holds_back(&self, now: Instant) -> bool {
        self.full_since.is_some_and(|since| now < since + PUSH_BACK)
    }

    /// Takes out what is wanted, in the order of arrival.
    pub(crate) fn take(&mut self, wanted: impl Fn(Ticket) -> bool) -> Vec<Entry> {
        self.take_entries(|entry| wanted(entry.ticket))
    }

    /// The same.
    pub(crate) fn take_entries(&mut self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        let Self { held, held_bytes, loose, loose_bytes, .. } = self;
        let mut sift = |queue: &mut VecDeque<Waiting>, bytes: &mut usize| {
            for waiting in std::mem::take(queue) {
                if wanted(&waiting.entry) {
                    *bytes -= waiting.weight_bytes;
                    taken.push(waiting);
                } else {
                    queue.push_back(waiting);
                }
            }
        };
        held.iter_mut().for_each(|queue| sift(queue, held_bytes));
        loose.iter_mut().for_each(|queue| sift(queue, loose_bytes));
        self.loose_messages = self.loose.iter().map(VecDeque::len).sum();
        if self.loose_messages == 0 {
            self.full_since = None;
        }
        taken.sort_by_key(|waiting| waiting.at);
        taken.into_iter().map(|waiting| waiting.entry).collect()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.loose_messages == 0 && self.held.iter().all(VecDeque::is_empty)
    }

    pub(crate) fn len(&self) -> usize {
        self.held.iter().map(VecDeque::len).sum::<usize>() + self.loose_messages
    }

    pub(crate) fn bytes(&self) -> usize {
        self.held_bytes + self.loose_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DebtId, QueueId, RouteId};
    use tidegate_message::Topic;

    const LOOSE: usize = 0;

    /// The `debt`th debt, or a loose message.
    fn entry(name: &str, debt: usize) -> Entry {
        let qos = if debt == LOOSE { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let message = Message::new(Topic::new(name).unwrap(), "", qos);
        let ticket = Ticket::new((debt != LOOSE).then(|| DebtId::new(debt)), RouteId::new(0), None);
        Entry { message, ticket, received_us: 0, class: Priority::Normal }
    }

    fn names(entries: Vec<Entry>) -> Vec<String> {
        entries.into_iter().map(|entry| entry.message.topic.to_string()).collect()
    }

    #[test]
    fn both_queues_leave_in_the_order_of_arrival() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        for (name, origin) in [("a", 1), ("b", LOOSE), ("c", 2), ("d", LOOSE)] {
            lane.push(entry(name, origin), now);
        }
        let mut out = Vec::new();
        while let Some(entry) = lane.pop(true, None) {
            out.push(entry);
        }
        assert_eq!(names(out), ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_is_put_back_in_two_turns_leaves_in_its_old_order_and_before_all_others() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        let spooled = |name: &str, ordinal| {
            let ticket = Ticket::Spooled { queue: QueueId::new(3), ordinal };
            Entry { ticket, ..entry(name, 1) }
        };
        let place = |ticket: Ticket| match ticket {
            Ticket::Spooled { ordinal, .. } => Some(ItemId { sequence: ordinal.into(), index: 0 }),
            _ => None,
        };
        lane.push(spooled("e", 5), now);
        lane.push(entry("other", 2), now);
        for (name, ordinal) in [("a", 1), ("b", 2), ("d", 4), ("c", 3)] {
            lane.put_back(vec![spooled(name, ordinal)], place);
        }
        let order: Vec<_> = std::iter::from_fn(|| lane.pop(true, None)).collect();
        assert_eq!(names(order), ["a", "b", "c", "d", "e", "other"]);
    }

    #[test]
    fn a_full_window_holds_only_what_needs_it() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        lane.push(entry("a", 1), now);
        lane.push(entry("b", LOOSE), now);
        assert_eq!(lane.pop(false, None).unwrap().message.topic.as_str(), "b");
        assert!(lane.pop(false, None).is_none());
        assert_eq!(lane.pop(true, None).unwrap().message.topic.as_str(), "a");
    }

    #[test]
    fn a_full_lane_holds_back_for_a_second_then_drops_its_oldest_but_never_what_a_source_waits_for() {
        let (mut lane, start) = (Lane::default(), Instant::now());
        lane.limits = LaneLimits { messages: 2, bytes: usize::MAX / 4 };
        lane.push(entry("held", 7), start);
        for name in ["a", "b"] {
            assert!(matches!(lane.push(entry(name, LOOSE), start), Pushed::Taken));
        }
        assert!(matches!(lane.push(entry("c", LOOSE), start), Pushed::HoldBack(until) if until == start + PUSH_BACK));
        assert!(lane.holds_back(start));
        let later = start + PUSH_BACK;
        assert!(!lane.holds_back(later));
        let Pushed::Dropped(dropped) = lane.push(entry("d", LOOSE), later) else { panic!() };
        assert_eq!(dropped.message.topic.as_str(), "a");
        // Drained by half, it starts over.
        for _ in 0..4 {
            lane.pop(true, None);
        }
        assert!(!lane.holds_back(later));
        assert_eq!(lane.full_since, None);
        assert_eq!((lane.len(), lane.bytes()), (0, 0));
    }

    #[test]
    fn a_high_class_goes_first_and_a_low_one_last() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        for (name, origin, class) in [
            ("low", 1, Priority::Low),
            ("loose", LOOSE, Priority::Normal),
            ("normal", 2, Priority::Normal),
            ("high", 3, Priority::High),
        ] {
            lane.push(Entry { class, ..entry(name, origin) }, now);
        }
        let order: Vec<_> = std::iter::from_fn(|| lane.pop(true, None)).collect();
        assert_eq!(names(order), ["high", "loose", "normal", "low"]);
    }

    #[test]
    fn what_nobody_waits_for_keeps_its_place_in_its_class_and_the_lowest_class_is_dropped_first() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        lane.limits = LaneLimits { messages: 2, bytes: usize::MAX / 4 };
        let of = |class, name: &str, origin| Entry { class, ..entry(name, origin) };
        lane.push(of(Priority::Low, "low held", 1), now);
        lane.push(of(Priority::Low, "low loose", LOOSE), now);
        lane.push(of(Priority::High, "high loose", LOOSE), now);
        lane.push(of(Priority::High, "high held", 2), now);
        let Pushed::HoldBack(until) = lane.push(of(Priority::Normal, "loose", LOOSE), now) else { panic!() };
        let Pushed::Dropped(dropped) = lane.push(of(Priority::High, "another", LOOSE), until) else { panic!() };
        assert_eq!(dropped.message.topic.as_str(), "low loose");
        let order: Vec<_> = std::iter::from_fn(|| lane.pop(true, None)).collect();
        assert_eq!(names(order), ["high loose", "high held", "another", "loose", "low held"]);
        assert_eq!((lane.len(), lane.bytes(), lane.full_since), (0, 0, None));
    }

    #[test]
    fn late_ones_stay_while_they_may_not_go() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        lane.push(entry("late", 1), now);
        lane.push(entry("loose", LOOSE), now);
        assert_eq!(lane.pop(true, Some(1)).unwrap().message.topic.as_str(), "loose");
        assert!(lane.pop(true, Some(1)).is_none());
        assert!(lane.pop(true, Some(0)).is_some());
    }

    #[test]
    fn even_while_it_holds_back_a_lane_is_bounded() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        lane.limits = LaneLimits { messages: 10, bytes: usize::MAX / 4 };
        for n in 0..100 {
            lane.push(entry(&n.to_string(), LOOSE), now);
        }
        assert_eq!(lane.len(), 20);
    }

    #[test]
    fn what_is_taken_out_keeps_its_order_and_leaves_the_rest() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        for (name, origin) in [("a", 1), ("b", LOOSE), ("c", 3), ("d", LOOSE)] {
            lane.push(entry(name, origin), now);
        }
        assert_eq!(names(lane.take(|ticket| ticket.debt() != Some(DebtId::new(1)))), ["b", "c", "d"]);
        assert_eq!(names(lane.take(|_| true)), ["a"]);
        assert_eq!((lane.len(), lane.bytes()), (0, 0));
    }
}
