//! Topics of a set go from one member to another, in their order: what was sent to the one is waited for before anything
//! goes to the other.
//!
//! When shares change, what waits in lanes is dealt out anew. What is in the session of a member that may have lost topics
//! stays there, and until the last of it is answered, or taken back because the member was given up, messages of topics that
//! have left this member are *held*. Topics that stay where they are are not held up by any of this.

use crate::Moment;
use crate::Router;
use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::{BrokerId, SetId};
use crate::lane::Entry;
use crate::rendezvous::key_hash;
use crate::route::Target;
use crate::sessions::Sessions;
use crate::set::{Set, Shares};
use crate::ticket::Ticket;
use ahash::AHashSet;
use std::collections::VecDeque;
use std::time::Duration;
use tidegate_config::Policy;

/// Topics that leave one member of a set.
#[derive(Debug)]
pub(crate) struct Move {
    set: SetId,
    from: BrokerId,
    /// Whose topics were whose, before.
    before: Shares,
    /// What its session had then and has still, by the keys of its tickets.
    draining: AHashSet<u64>,
    /// Messages of topics that were its own.
    held: VecDeque<Entry>,
}

impl Move {
    /// Whether a message of this key, which is now another's, was its own.
    fn holds(&self, set: SetId, key: u64, owner: Option<BrokerId>) -> bool {
        self.set == set && owner != Some(self.from) && self.before.owner(key) == Some(self.from)
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Looks who of every set is well, and gives each member its share: to be called when a broker comes, and now and then
    /// while [`is_settling`](Self::is_settling) says so.
    pub fn look_at_sets(&mut self, now: Moment) {
        for at in 0..self.sets.len() {
            let set = SetId::new(at);
            self.deal_anew(set, None, Vec::new(), now);
        }
        self.take_all_parts();
        self.end_moves(|_| true, now);
        self.end_refused(now);
        let is_out = |broker: BrokerId| {
            self.sets.iter().flat_map(|set| &set.members).any(|member| member.broker == broker && member.is_out())
        };
        let is_well = |at: &usize| {
            let health = self.brokers[*at].health;
            health.given_up && health.up_since.is_some() && !is_out(BrokerId::new(*at))
        };
        // One that was given up though it was there.
        for at in (0..self.brokers.len()).filter(is_well).collect::<Vec<_>>() {
            self.brokers[at].health.given_up = false;
        }
    }

    /// How long a broker that is connected may acknowledge nothing, or refuse all, before it is given up; `None` if no other
    /// could stand in for it.
    pub fn takeover_after(&self, broker: BrokerId) -> Option<Duration> {
        self.sets.iter().filter(|set| set.chooses() && set.has(broker)).map(|set| set.takeover_after).min()
    }

    /// Whether a set has to choose among members.
    pub fn has_choices(&self) -> bool {
        self.sets.iter().any(Set::chooses)
    }

    /// Whether a set may change with time alone.
    pub fn is_settling(&self) -> bool {
        !self.moves.is_empty()
            || self.sets.iter().any(Set::is_waiting)
            || self.brokers.iter().any(|broker| broker.pulse.aside_since.is_some())
    }

    /// The set of a ticket, if it is for one member of it.
    pub(crate) fn set_of(&self, ticket: Ticket) -> Option<SetId> {
        let set = match ticket {
            Ticket::Spooled { queue, .. } => self.queues[queue.at()].target.and_then(Target::set),
            Ticket::Held { set, .. } | Ticket::Loose { set, .. } => set,
        };
        // The other members of a set that gives to all have their own copies.
        set.filter(|set| self.sets[set.at()].policy != Policy::All)
    }

    /// To the member whose topic it is, or, while another may have something of it, to those that wait for that.
    #[inline(always)]
    pub(crate) fn place_in_set(&mut self, set: SetId, entry: Entry, now: Moment) {
        let key = key_hash(self.sets[set.at()].key(&entry.message));
        let Some(owner) = self.sets[set.at()].owner(key) else { return self.place_nowhere(entry) };
        if let Some(moving) = self.moves.iter_mut().find(|moving| moving.holds(set, key, Some(owner))) {
            return moving.held.push_back(entry);
        }
        self.push(owner, entry, now);
    }

    /// A message whose set has nobody.
    fn place_nowhere(&mut self, entry: Entry) {
        match entry.ticket {
            Ticket::Spooled { queue, .. } => self.queues[queue.at()].orphans.push_back(entry),
            _ => self.drop_entry(&entry, DropReason::TargetRemoved),
        }
    }

    /// Gives each member of a set its share, and what waits to whom it belongs then. `leaving` is a member that was given up
    /// or is gone, and `unfinished` what its session had. Returns how many messages left its session and its lane.
    pub(crate) fn deal_anew(
        &mut self,
        set: SetId,
        leaving: Option<BrokerId>,
        unfinished: Vec<Entry>,
        now: Moment,
    ) -> usize {
        let Self { sets, brokers, .. } = self;
        sets[set.at()].look_at_strain(|broker| brokers[broker.at()].strain(now.at), now.at);
        let before = sets[set.at()].shares();
        self.deal_after(set, &before, leaving, unfinished, now)
    }

    /// The same, where members have come or gone since shares were those `before`.
    pub(crate) fn deal_after(
        &mut self,
        set: SetId,
        before: &Shares,
        leaving: Option<BrokerId>,
        unfinished: Vec<Entry>,
        now: Moment,
    ) -> usize {
        let Self { sets, brokers, .. } = self;
        sets[set.at()].look(|broker| brokers[broker.at()].health, now.at);
        let is_other = *before != sets[set.at()].shares();
        if self.sets[set.at()].policy == Policy::All || !is_other && leaving.is_none() {
            return 0;
        }
        // In the order of each topic: what was sent, what is held, what waits.
        let mut again = unfinished;
        let mut left = again.len();
        let mut moves = std::mem::take(&mut self.moves);
        for moving in moves.iter_mut().filter(|moving| moving.set == set) {
            again.extend(moving.held.drain(..));
        }
        for member in before.members() {
            let mut lane = std::mem::take(&mut self.brokers[member.at()].lane);
            let taken = lane.take_entries(|entry| {
                let is_its_own = || self.sets[set.at()].owner_of(&entry.message) == Some(member);
                self.set_of(entry.ticket) == Some(set) && (leaving == Some(member) || !is_its_own())
            });
            self.brokers[member.at()].lane = lane;
            if leaving == Some(member) {
                left += taken.len();
            }
            again.extend(taken);
        }
        // What the one that is given up has not said of what it was sent, it will not be asked for any more.
        moves.retain(|moving| moving.set != set || Some(moving.from) != leaving);
        if is_other {
            for member in before.members().filter(|member| Some(*member) != leaving) {
                let draining: AHashSet<u64> = self.unfinished(member, set).collect();
                if !draining.is_empty() {
                    moves.push(Move { set, from: member, before: before.clone(), draining, held: VecDeque::new() });
                }
            }
        }
        self.moves = moves;
        for entry in again {
            self.place_in_set(set, entry, now);
        }
        left
    }

    /// What of a set the session of a broker has.
    fn unfinished(&self, broker: BrokerId, set: SetId) -> impl Iterator<Item = u64> + use<'_, A, S> {
        let keys = self.sessions.unfinished(broker);
        keys.into_iter().filter(move |key| self.set_of(Ticket::from_key(*key)) == Some(set))
    }

    /// What came back from the session of a member goes, where its topic has left this member, before all that is held for
    /// that topic. Returns the rest, which is to stay.
    pub(crate) fn follow_topics(&mut self, from: BrokerId, entries: Vec<Entry>, now: Moment) -> Vec<Entry> {
        let (mut stay, mut at_once) = (VecDeque::new(), VecDeque::new());
        for entry in entries.into_iter().rev() {
            let Some(set) = self.set_of(entry.ticket) else {
                stay.push_front(entry);
                continue;
            };
            let key = key_hash(self.sets[set.at()].key(&entry.message));
            let owner = self.sets[set.at()].owner(key);
            if owner == Some(from) {
                stay.push_front(entry);
                continue;
            }
            let has_left = |moving: &&mut Move| moving.from == from && moving.holds(set, key, owner);
            let Self { moves, spool, .. } = self;
            match moves.iter_mut().find(has_left) {
                Some(moving) => {
                    let comes_later = |held: &Entry| {
                        let is_behind = !entry.ticket.is_spooled()
                            || held.ticket.is_behind(entry.ticket, |ticket| ticket.place(spool));
                        held.message.topic == entry.message.topic && is_behind
                    };
                    let at = moving.held.iter().position(comes_later).unwrap_or(moving.held.len());
                    moving.held.insert(at, entry);
                }
                None => at_once.push_front((set, entry)),
            }
        }
        for (set, entry) in at_once {
            self.place_in_set(set, entry, now);
        }
        stay.into()
    }

    /// Something has left the session of a broker: where it was the last that had to, what was held goes on.
    pub(crate) fn has_answered(&mut self, broker: BrokerId, now: Moment) {
        if !self.moves.is_empty() {
            self.end_moves(|moving| moving.from == broker, now);
        }
    }

    fn end_moves(&mut self, looked_at: impl Fn(&Move) -> bool, now: Moment) {
        let (mut go_on, mut kept) = (Vec::new(), Vec::new());
        for mut moving in std::mem::take(&mut self.moves) {
            if looked_at(&moving) {
                let unfinished: AHashSet<u64> = self.sessions.unfinished(moving.from).into_iter().collect();
                moving.draining.retain(|key| unfinished.contains(key));
            }
            if moving.draining.is_empty() {
                go_on.extend(moving.held.into_iter().map(|entry| (moving.set, entry)));
            } else {
                kept.push(moving);
            }
        }
        self.moves = kept;
        for (set, entry) in go_on {
            self.place_in_set(set, entry, now);
        }
    }

    /// A set is no more: what is held for topics on their way waits with all else that was for it.
    pub(crate) fn end_moves_of(&mut self, set: SetId) {
        let (gone, kept) = std::mem::take(&mut self.moves).into_iter().partition(|moving| moving.set == set);
        self.moves = kept;
        let gone: Vec<Move> = gone;
        gone.into_iter().flat_map(|moving| moving.held).for_each(|entry| self.place_nowhere(entry));
    }

    /// After [`recover`](Self::recover), once the sessions have what an earlier process had begun to send: nothing of a set
    /// overtakes that on another member.
    pub fn hold_for_sessions(&mut self) {
        for set in (0..self.sets.len()).map(SetId::new) {
            for from in self.sets[set.at()].brokers().collect::<Vec<_>>() {
                let draining: AHashSet<u64> = self.unfinished(from, set).collect();
                if !draining.is_empty() {
                    let before = Shares::all_of(from);
                    self.moves.push(Move { set, from, before, draining, held: VecDeque::new() });
                }
            }
        }
    }
}
