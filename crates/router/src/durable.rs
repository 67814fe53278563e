//! Step 5, durable: what the disk has. Sources may be told, and deliveries enter the lanes.
//!
//! In: news of the spool. Out: acknowledgements, in the order in which the records were written, and entries of lanes.

use crate::account::DropReason;
use crate::debt::{Ack, Creditor, Owed, Step};
use crate::ids::{BrokerId, DebtId, QueueId, RouteId};
use crate::lane::Entry;
use crate::route::{Route, Target};
use crate::sessions::Sessions;
use crate::ticket::Ticket;
use crate::{Moment, Router};
use std::sync::Arc;
use std::time::Duration;
use tidegate_spool::{DiskStatus, NameId, Ready};

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Takes what has become durable, what was read, and how the disk is doing.
    pub fn spool_news(&mut self, now: Moment) {
        self.trace.look();
        let before = self.spool.durable();
        let mut news = std::mem::take(&mut self.news);
        self.spool.poll(&mut news);
        while let Some((sequence, owed)) = self.written.front().copied() {
            if sequence > news.durable {
                break;
            }
            self.written.pop_front();
            match owed {
                Owed::Debt(debt) => self.settle_delivered(debt),
                Owed::Source { source, ack, weight_bytes } => self.repay(source, ack, weight_bytes),
            }
        }
        self.end_replaced(news.durable);
        for ready in news.ready.drain(..) {
            self.ready(ready, now);
        }
        if self.sets.iter().any(|set| set.reads_up_to.is_some()) {
            self.end_reading_up(now);
        }
        if news.durable > before {
            for at in 0..self.brokers.len() {
                if self.brokers[at].gate > before {
                    self.touch(BrokerId::new(at));
                }
            }
        }
        self.news = news;
        // Last: what left above may have made room in the queues, and what is written now is durable with the next
        // news.
        self.unblock();
        if !self.drafts.is_empty() {
            self.write_drafts();
        }
        self.look_at_disk();
    }

    fn look_at_disk(&mut self) {
        let status = self.spool.status();
        if status == self.disk {
            return;
        }
        match &status {
            DiskStatus::Good => tracing::info!(name: "disk_good", "the disk has room again: going on"),
            DiskStatus::Full => {
                tracing::error!(
                    name: "disk_full",
                    "the disk is full: nothing is acknowledged until there is room; free some space"
                );
            }
            DiskStatus::Failed(error) => {
                tracing::error!(name: "disk_failed", error, "the disk failed: nothing is acknowledged any more");
            }
        }
        self.disk = status;
    }

    /// A message that is durable is to be sent.
    #[inline(always)]
    pub(crate) fn ready(&mut self, ready: Ready, now: Moment) {
        if ready.recovered {
            self.count_recovered(ready.route);
        }
        let queue = QueueId::new(ready.queue.into());
        // The log may know queues of an earlier run that nothing has asked for in this one.
        if queue.at() >= self.queues.len() {
            self.adopt_queues(now);
        }
        let class = self.queues[queue.at()].class;
        let ticket = Ticket::Spooled { queue, ordinal: ready.ordinal };
        let entry = Entry { message: ready.message, ticket, received_us: ready.received_ms * 1000, class };
        if self.trace.is_on() {
            self.trace_ready(&entry, ready.recovered);
        }
        match self.queues[queue.at()].leaving {
            Some(leaving) if self.spool.sequence_of(queue.spool(), ready.ordinal) <= Some(leaving.until) => {
                match leaving.to {
                    Some(to) => self.move_entry(entry, to),
                    None => self.drop_ticket(ticket, Some(&entry.message.topic), DropReason::Discarded),
                }
            }
            _ => {
                self.queues[queue.at()].leaving = None;
                self.place_ready(queue, entry, now);
            }
        }
    }

    /// A message of an earlier run is in the accounts from here on.
    pub(crate) fn count_recovered(&mut self, route: NameId) {
        self.in_spool += 1;
        let route = self.route_of(route);
        let account = &mut self.routes[route.at()].account;
        account.recovered += 1;
        account.in_flight += 1;
    }

    /// The route of a name in the log; one that is not configured any more gets a place, too.
    pub(crate) fn route_of(&mut self, name: NameId) -> RouteId {
        if let Some(at) = self.routes_by_id.get(&name) {
            return *at;
        }
        let text: Arc<str> = self.spool.text(name).into();
        let found = self.routes_by_name.get(&text).copied();
        let at = found.unwrap_or_else(|| {
            let mut route = Route::new(text.clone());
            route.removed = true;
            self.routes.push(route);
            let at = RouteId::new(self.routes.len() - 1);
            self.routes_by_name.insert(text, at);
            at
        });
        self.routes_by_id.insert(name, at);
        at
    }

    /// A delivery that a source waits for is done, or the record that it waits for is durable.
    pub(crate) fn settle_delivered(&mut self, debt: DebtId) {
        if self.debts.delivered(debt) == Step::Done {
            self.settle(debt);
        }
    }

    /// Nothing is due for a debt any more: it ends here, and its source, if it has one, may be told.
    pub(crate) fn settle(&mut self, id: DebtId) {
        let Some(debt) = self.debts.remove(id) else { return };
        if self.trace.is_on() {
            self.trace_settled(id, &debt.to);
        }
        if let Creditor::Source(source, ack) = debt.to {
            self.repay(source, ack, debt.weight_bytes);
        }
        for follower in debt.followers {
            self.settle_delivered(follower);
        }
    }

    fn repay(&mut self, source: BrokerId, ack: A, weight_bytes: usize) {
        let broker = &mut self.brokers[source.at()];
        broker.held_bytes = broker.held_bytes.saturating_sub(weight_bytes);
        self.acknowledge(source, Some(ack));
    }

    /// How many messages could still be delivered: those in the spool only while their broker is connected.
    pub fn under_way(&self) -> u64 {
        let up = |broker: BrokerId| self.brokers[broker.at()].health.up_since.is_some();
        let spooled = self.queues.iter().enumerate().map(|(at, queue)| {
            let waits = match queue.target {
                Some(Target::Broker(broker)) => up(broker),
                Some(Target::Set(set)) => self.sets[set.at()].brokers().any(up),
                None => false,
            };
            if waits { self.spool.pending(QueueId::new(at).spool()).0 } else { 0 }
        });
        self.not_durable() + spooled.sum::<u64>()
    }

    /// How many messages are lost if the process ends now, but for those that their sources send again.
    pub fn not_durable(&self) -> u64 {
        let in_flight = self.routes.iter().map(|route| route.account.in_flight).sum::<u64>();
        in_flight.saturating_sub(self.in_spool)
    }

    /// Writes the last of it, for so long at most. Returns how many messages wait in the spool.
    pub fn close(&mut self, patience: Duration) -> u64 {
        let waiting = self.spool.waiting().iter().map(|queue| queue.items).sum();
        if !self.spool.finish(patience) {
            tracing::error!("the spool could not be written to the end; what was not acknowledged may come again");
        }
        waiting
    }
}
