//! Step 1 for what several brokers of a source bring: what of it is news goes on, and whose acknowledgement waits for whom.

use crate::Router;
use crate::debt::{Ack, Debt, Step};
use crate::ids::{BrokerId, DebtId, RouteId};
use crate::merge::{First, Passage, Sight};
use crate::moment::Moment;
use crate::receive::Arrival;
use crate::sessions::Sessions;

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A message has come from a broker of a source that merges, for these routes.
    #[inline(never)]
    pub(crate) fn receive_merged(
        &mut self,
        from: BrokerId,
        routes: &[RouteId],
        arrival: Arrival<A>,
        now: Moment,
        wall_ms: u64,
    ) {
        let Arrival { message, ack, redelivered, .. } = arrival;
        let packet_id = ack.and_then(Ack::packet_id);
        let debt = self.owe(from, ack, message.weight_bytes(), routes, now);
        if self.trace.is_about_one() {
            self.trace_owed(debt);
        }
        for at in routes {
            let first = debt.and_then(|debt| Some(First { debt, number: self.debts.get(debt)?.number }));
            let Self { routes: all, hasher, debts, .. } = self;
            let route = &mut all[at.at()];
            let mut sight = Sight::News;
            if let Some(window) = &mut route.window
                && let Some(broker) = window.place_of(from)
            {
                let content = window.content_of(&message, debt.is_some(), hasher);
                sight = window.see(content, Passage { broker, debt: first, packet_id, redelivered }, now.at);
                if let Some(first) = debt.and_then(|debt| debts.get_mut(debt)) {
                    first.may_be_followed = true;
                }
            }
            match sight {
                Sight::News => {
                    self.watch(*at, &message, redelivered, now);
                    self.enter_seen(from, *at, message.clone(), debt, redelivered, now, wall_ms);
                }
                Sight::Twin(first) => {
                    self.routes[at.at()].twins += 1;
                    if self.trace.is_about_one() {
                        self.trace_twin(*at, first.map(|first| first.debt));
                    }
                    if let Some(debt) = debt {
                        self.follow(debt, first);
                    }
                }
            }
        }
    }

    /// Nothing comes of a message in one route, but its source waits until the first copy is taken care of.
    fn follow(&mut self, debt: DebtId, first: Option<First>) {
        let is_it = |known: &Debt<A>, first: First| known.number == first.number && first.debt != debt;
        let waits = first.and_then(|first| self.debts.get_mut(first.debt).filter(|known| is_it(known, first)));
        let Some(first) = waits else { return self.settle_decided(debt) };
        first.followers.push(debt);
        if self.debts.hand_over(debt) == Step::Decided {
            self.commit(debt);
        }
    }
}
