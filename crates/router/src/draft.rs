//! Drafts: records in the making, with what plugins remember and everything that they decided with it.
//!
//! A plugin's state is durable together with the decisions of the same call, or not at all. A decision may have to wait: a
//! second route has not decided about the same message yet, or a queue is full. Then the state waits with it, and so does
//! whatever the route decides later, in a line behind it: a draft is written when all of its messages are decided, all of
//! their queues have room, and every draft before it in the lines of its routes is written. Drafts that share a message,
//! or wait for each other, are one.

use crate::Router;
use crate::debt::{Ack, Creditor};
use crate::ids::{DebtId, DraftId, RouteId};
use crate::sessions::Sessions;
use smallvec::{SmallVec, smallvec};
use std::collections::{BTreeMap, BTreeSet};
use tidegate_spool::StateWrite;

/// A draft with more messages than this, of which some are undecided, gets no new ones: plugins are given nothing more
/// until it is written. It takes two routes with memory that share their messages to come so far.
const MEMBERS_MAX: usize = 1024;

#[derive(Debug)]
struct Draft {
    routes: SmallVec<[RouteId; 2]>,
    /// What one batch has written of plugins' state, under the number of the batch.
    state: SmallVec<[(u64, Vec<StateWrite>); 1]>,
    /// In the order in which they were received.
    members: Vec<DebtId>,
    /// Members about which not all is decided.
    undecided: usize,
    /// Decisions are still being added.
    open: bool,
}

/// All that are not written.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    waiting: BTreeMap<DraftId, Draft>,
    next: u64,
}

impl Drafts {
    /// Whether one of them must be written before anything else is decided.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.waiting.values().any(|draft| draft.members.len() > MEMBERS_MAX && draft.undecided > 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Begins the draft of a route's batch: with what its plugins remember, and the debts that it decides about.
    pub(crate) fn open_draft(&mut self, route: RouteId, state: Vec<StateWrite>, debts: Vec<DebtId>) -> DraftId {
        let id = DraftId(self.drafts.next);
        self.drafts.next += 1;
        let state = smallvec![(id.0, state)];
        let draft = Draft { routes: smallvec![route], state, members: Vec::new(), undecided: 0, open: true };
        self.drafts.waiting.insert(id, draft);
        self.routes[route.at()].drafts.push_back(id);
        let mut merged = false;
        for debt in debts {
            match self.debts.get(debt).and_then(|debt| debt.draft) {
                Some(other) if other == id => {}
                // Another route has decided about the same message.
                Some(other) => {
                    self.merge(other, id);
                    merged = true;
                }
                None => self.join(id, debt),
            }
        }
        if merged {
            self.untangle(id);
            self.sort(id);
        }
        id
    }

    /// Of what was merged: neither stands simply behind the other, for either may hold what came between two of the other's.
    fn sort(&mut self, id: DraftId) {
        let Some(draft) = self.drafts.waiting.get_mut(&id) else { return };
        draft.state.sort_by_key(|(batch, _)| *batch);
        draft.members.sort_by_key(|member| self.debts.get(*member).map(|debt| debt.number));
    }

    /// The decision about a debt goes into a draft.
    pub(crate) fn join(&mut self, id: DraftId, debt: DebtId) {
        let Some(draft) = self.drafts.waiting.get_mut(&id) else { return };
        let Some(found) = self.debts.get_mut(debt) else { return };
        found.draft = Some(id);
        draft.members.push(debt);
        draft.undecided += 1;
    }

    /// Two drafts are one from here on, in the place of the earlier one in the line of each route, with all that stand between
    /// them in one: those are behind what the earlier has, and before what the later has.
    fn merge(&mut self, from: DraftId, into: DraftId) {
        let Some(first) = self.drafts.waiting.remove(&from) else { return };
        let Some(draft) = self.drafts.waiting.get_mut(&into) else { return };
        for member in &first.members {
            if let Some(debt) = self.debts.get_mut(*member) {
                debt.draft = Some(into);
            }
        }
        draft.routes.extend(first.routes);
        draft.routes.sort_unstable();
        draft.routes.dedup();
        let mut between = BTreeSet::new();
        for route in &draft.routes {
            let line = &mut self.routes[route.at()].drafts;
            let is_one = |id: &DraftId| *id == from || *id == into;
            let Some(place) = line.iter().position(is_one) else { continue };
            let last = line.iter().rposition(is_one).unwrap_or(place);
            between.extend(line.range(place..=last).filter(|id| !is_one(id)));
            line.retain(|id| !is_one(id));
            line.insert(place, into);
        }
        draft.state.extend(first.state);
        draft.members.extend(first.members);
        draft.undecided += first.undecided;
        for other in between {
            self.merge(other, into);
        }
    }

    /// A draft is one with all that wait in the lines of these routes, and whatever they decide later stands behind it.
    pub(crate) fn stand_behind(&mut self, id: DraftId, routes: &[RouteId]) {
        for route in routes {
            let line = &mut self.routes[route.at()].drafts;
            if !line.contains(&id) {
                line.push_back(id);
            }
            let waiting: Vec<DraftId> = line.iter().copied().filter(|other| *other != id).collect();
            if let Some(draft) = self.drafts.waiting.get_mut(&id) {
                draft.routes.push(*route);
                draft.routes.sort_unstable();
                draft.routes.dedup();
            }
            for other in waiting {
                self.merge(other, id);
            }
        }
        self.untangle(id);
        self.sort(id);
    }

    /// Makes one of all drafts that would wait for each other for ever: those before this one in the line of a route that
    /// are behind it in another's, by whatever way round.
    fn untangle(&mut self, id: DraftId) {
        while let Some(other) = self.before(id).into_iter().find(|other| self.before(*other).contains(&id)) {
            self.merge(other, id);
        }
    }

    /// Everything that must be written before a draft.
    fn before(&self, id: DraftId) -> BTreeSet<DraftId> {
        let (mut found, mut look) = (BTreeSet::new(), vec![id]);
        while let Some(draft) = look.pop() {
            let Some(routes) = self.drafts.waiting.get(&draft).map(|draft| &draft.routes) else { continue };
            for line in routes.iter().map(|route| &self.routes[route.at()].drafts) {
                look.extend(line.iter().take_while(|other| **other != draft).filter(|other| found.insert(**other)));
            }
        }
        found
    }

    /// No more decisions are added.
    pub(crate) fn end_draft(&mut self, id: DraftId) {
        if let Some(draft) = self.drafts.waiting.get_mut(&id) {
            draft.open = false;
        }
        self.write_drafts();
    }

    /// All is decided about one member.
    pub(crate) fn member_decided(&mut self, id: DraftId) {
        let Some(draft) = self.drafts.waiting.get_mut(&id) else { return };
        draft.undecided = draft.undecided.saturating_sub(1);
        if draft.undecided == 0 && !draft.open {
            self.write_drafts();
        }
    }

    /// Writes every draft that can be, in order.
    pub(crate) fn write_drafts(&mut self) {
        while let Some(id) = self.drafts.waiting.keys().copied().find(|id| self.can_be_written(*id)) {
            let Some(Draft { routes, state, members, .. }) = self.drafts.waiting.remove(&id) else { return };
            for route in routes {
                self.routes[route.at()].drafts.retain(|waiting| *waiting != id);
            }
            for member in &members {
                if let Some(debt) = self.debts.get_mut(*member) {
                    debt.draft = None;
                }
            }
            let (mut transaction, recorded) = self.transaction(members);
            transaction.state.extend(state.into_iter().flat_map(|(_, writes)| writes));
            let is_empty = recorded.debts.is_empty() && transaction.state.is_empty();
            if !is_empty {
                self.write(transaction, recorded);
            }
        }
    }

    fn can_be_written(&self, id: DraftId) -> bool {
        let Some(draft) = self.drafts.waiting.get(&id) else { return false };
        draft.undecided == 0
            && !draft.open
            && draft.routes.iter().all(|route| self.routes[route.at()].drafts.front() == Some(&id))
            && draft.members.iter().all(|member| self.has_room(*member))
    }

    /// Whether a member's queues have room, and nothing of its source waits for some.
    fn has_room(&self, id: DebtId) -> bool {
        match self.debts.get(id).map(|debt| &debt.to) {
            Some(Creditor::Source(source, _)) => !self.is_blocked(*source) && !self.must_wait(id),
            Some(Creditor::Replayed | Creditor::Nobody) | None => true,
        }
    }
}
