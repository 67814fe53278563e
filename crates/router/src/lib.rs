//! The walk of a message: from what a source sent, through the decisions of plugins, into the log, to its targets, and back
//! to the source.
//!
//! A [`Router`] is a value that one thread owns. It has no tasks, no threads, no sockets and no clock: who owns it tells it
//! what has happened and what time it is, and asks what is to be done. The disk it knows through [`Spool`] only.
//!
//! The walk has seven steps, a file each:
//! 1. [`receive`]: a source's messages become debts, and enter their routes;
//! 2. [`decide`]: plugins have said what becomes of them;
//! 3. [`resolve`]: the topic, QoS and retain flag at the targets, which the first functions of step 4 ask for;
//! 4. [`record`]: all that is decided about a message becomes one record of the log, or, with what plugins remember,
//!    part of a [`draft`];
//! 5. [`durable`]: the disk has it, the source may be told, the deliveries enter the lanes;
//! 6. [`lane`] and [`pull`]: it leaves as the target's session has room;
//! 7. [`release`]: the target has it, or never will: accounts and cursors.
//!
//! Most messages that are spooled take a short way through steps 1 to 4, without most of the nouns below: [`straight`].
//!
//! The nouns, in the order in which a message meets them:
//! - a *debt* is owed to a source for one received message: one acknowledgement, once nothing is due for the message
//!   any more. It counts the decisions that are due and then the deliveries, and keeps in its *stash* what is to be
//!   recorded. Messages that go into the log though nobody waits for them have a debt too, of which nobody is told;
//! - a *parcel* is a message on its way through the plugins of one route;
//! - a *part* is one decision about a message, or about a copy of it, in one route: what the steps 2 to 4 pass on;
//! - a *record* is one transaction of the log. It is *written* when it is in the log's buffer, and *durable* only when
//!   the news of the disk say so;
//! - a *draft* is a record in the making, of several messages and of what plugins remember with them;
//! - an *entry* is a message in the *lane* of its target, and its *ticket* says what is to be settled when it leaves:
//!   the cursor of a *queue* of the log, a debt, or only the account of its route.
//!
//! A message or copy that goes no further *ends* before it has a ticket (`end`), and is *dropped* with it afterwards
//! (`drop_ticket`); both are counted by reason.
//!
//! Invariants:
//! - a source is told only when everything that came of its message is durable, delivered, or dropped and counted;
//! - a message passes the gateway once;
//! - of a message that several brokers of a source bring, all are told only when the one that went on is safe (`merge`);
//! - messages of one topic and one route reach each target in the order of receipt;
//! - the account of each route balances at any time ([`Account::imbalance`]);
//! - what is durable is never dropped because a configuration has changed;
//! - what plugins remember is recorded with the decisions of the same call or not at all.
//!
//! Start reading at [`Router::received`].

mod account;
mod acquittal;
mod audience;
mod broker;
mod carried;
mod debt;
mod decide;
mod draft;
mod drops;
mod durable;
mod echo;
mod exactly_once;
mod floods;
mod give_up;
mod handover;
mod hops;
mod ids;
mod lane;
mod merge;
mod moment;
mod notice;
mod parcel;
mod park;
mod parts;
mod pressure;
mod pull;
mod queue;
mod quorum;
mod receive;
mod reconfigure;
mod record;
mod release;
mod rendezvous;
mod resolve;
mod rounds;
mod route;
mod sessions;
mod set;
mod stash;
mod straight;
mod strain;
mod suspects;
mod tap;
mod ticket;
mod topic_routes;
mod trace;
mod traffic;
mod twins;

pub use account::{Account, DropReason, Histogram};
pub use audience::Audience;
pub use broker::Broker;
pub use debt::Ack;
pub use decide::{Decided, Moved, Parking, To, Verdict, Written};
pub use drops::Dropped;
pub use exactly_once::Sent;
pub use give_up::MoveError;
pub use hops::Hops;
pub use ids::{BrokerId, DebtId, QueueId, RouteId, SetId};
pub use moment::Moment;
pub use parcel::Parcel;
pub use park::{PARKED_FOR_TARGET, ReplayError};
pub use queue::Backlog;
pub use receive::Arrival;
pub use release::Refused;
pub use resolve::Shape;
pub use route::{Route, Target};
pub use sessions::{Published, Sessions};
pub use set::{Health, Member, Set};
pub use tap::{Ending, Only, Said, Shown, Ticked, Wanted, Watched, Way, Whole};
pub use ticket::Ticket;
pub use trace::{Journey, Outcome, SAMPLES, Sampling, Step, TraceContext, What};

use crate::debt::{Debts, Owed};
use crate::draft::Drafts;
use crate::drops::Drops;
use crate::handover::Move;
use crate::notice::Notices;
use crate::queue::Queue;
use crate::quorum::Quorums;
use crate::rounds::Rounds;
use crate::route::Part;
use crate::tap::Taps;
use crate::trace::Trace;
use ahash::{AHashMap, AHashSet, RandomState};
use bytes::BytesMut;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tidegate_config::SpoolSettings;
use tidegate_spool::{DiskStatus, NameId, News, Spool};

/// Everything about messages under way, and nothing else.
pub struct Router<A, S> {
    /// What was configured. Places are not used again.
    brokers: Vec<Broker<A>>,
    sets: Vec<Set>,
    /// Topics that are on their way from one member of a set to others.
    moves: Vec<Move>,
    routes: Vec<Route>,
    /// Brokers and sets by name.
    targets: AHashMap<Arc<str>, Target>,
    routes_by_name: AHashMap<Arc<str>, RouteId>,
    routes_by_id: AHashMap<NameId, RouteId>,
    hops: Hops,
    rounds: Rounds,

    /// What sources wait for.
    debts: Debts<A>,
    /// Debts that wait for room in a queue, with their source, in order.
    blocked: VecDeque<(BrokerId, DebtId)>,
    drafts: Drafts,
    /// Who waits for a record that is written and not durable yet, each behind the sequence of that record, which only
    /// rises.
    written: VecDeque<(u64, Owed<A>)>,
    /// Messages of the log that were moved or put aside by another record: done in their queue once that record, of
    /// this sequence, is durable.
    replaced: VecDeque<(u64, Ticket)>,
    /// Sources that wait for some members of a set.
    quorums: Quorums,

    /// Where messages go for which nothing has to wait.
    sessions: S,

    /// What targets wait for.
    spool: Spool,
    queues: Vec<Queue>,
    queue_ids: AHashMap<(Target, u8), QueueId>,
    /// All queues of a target and class.
    kin: AHashMap<(String, u8), Vec<QueueId>>,
    spool_settings: HashMap<String, SpoolSettings>,
    /// Messages in the spool that the routes' accounts know of.
    in_spool: u64,
    disk: DiskStatus,
    news: News,

    /// Messages put aside.
    parked_bytes: usize,
    last_parked: u64,
    /// Those that are in their routes again.
    replaying: AHashSet<u64>,

    /// Takes no new messages.
    draining: bool,
    /// A source may be read again, or one is held back: the owner is to call [`read_on`](Self::read_on).
    wants_look: bool,
    next_id: u64,
    dirty_brokers: Vec<BrokerId>,
    dirty_routes: Vec<RouteId>,
    notices: Notices,
    trace: Trace,
    drops: Drops,
    taps: Taps,
    hasher: RandomState,
    /// Where remapped topics are made.
    arena: BytesMut,
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A router without brokers and routes, over what an earlier one left in the spool.
    pub fn new(spool: Spool, sessions: S, now: Moment) -> Self {
        Self {
            brokers: Vec::new(),
            sets: Vec::new(),
            moves: Vec::new(),
            routes: Vec::new(),
            targets: AHashMap::new(),
            routes_by_name: AHashMap::new(),
            routes_by_id: AHashMap::new(),
            hops: Hops::default(),
            rounds: Rounds::default(),
            debts: Debts::default(),
            blocked: VecDeque::new(),
            drafts: Drafts::default(),
            written: VecDeque::new(),
            replaced: VecDeque::new(),
            quorums: Quorums::default(),
            sessions,
            spool,
            queues: Vec::new(),
            queue_ids: AHashMap::new(),
            kin: AHashMap::new(),
            spool_settings: HashMap::new(),
            in_spool: 0,
            disk: DiskStatus::Good,
            news: News::default(),
            parked_bytes: 0,
            last_parked: 0,
            replaying: AHashSet::new(),
            draining: false,
            wants_look: false,
            // Parcels of different runs must not have the same number, for a plugin may remember some. A run begins
            // with the microseconds since the epoch, above all that an earlier one gave, which numbered far less than
            // one in each.
            next_id: now.us,
            dirty_brokers: Vec::new(),
            dirty_routes: Vec::new(),
            notices: Notices::default(),
            trace: Trace::default(),
            drops: Drops::default(),
            taps: Taps::default(),
            hasher: RandomState::new(),
            arena: BytesMut::new(),
        }
    }

    /// A broker that was added.
    pub fn broker(&self, at: BrokerId) -> &Broker<A> {
        &self.brokers[at.at()]
    }

    /// To say how it is doing.
    pub fn broker_mut(&mut self, at: BrokerId) -> &mut Broker<A> {
        &mut self.brokers[at.at()]
    }

    /// All brokers there have been, each with its place.
    pub fn brokers(&self) -> impl Iterator<Item = (BrokerId, &Broker<A>)> {
        self.brokers.iter().enumerate().map(|(at, broker)| (BrokerId::new(at), broker))
    }

    /// A route that was configured.
    pub fn route(&self, at: RouteId) -> &Route {
        &self.routes[at.at()]
    }

    /// The place of the route of this name.
    pub fn route_at(&self, name: &str) -> Option<RouteId> {
        self.routes_by_name.get(name).copied()
    }

    /// All routes there have been, each with its place.
    pub fn routes(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        self.routes.iter().enumerate().map(|(at, route)| (RouteId::new(at), route))
    }

    /// Every set, by its name.
    pub fn sets(&self) -> impl Iterator<Item = (&str, &Set)> {
        self.targets.iter().filter_map(|(name, target)| match target {
            Target::Set(set) => Some((&**name, &self.sets[set.at()])),
            Target::Broker(_) => None,
        })
    }

    /// Whether a route names the broker as a target, alone or in a set.
    pub fn is_target(&self, broker: BrokerId) -> bool {
        let routes = self.routes.iter().filter(|route| !route.removed);
        let mut targets = routes.flat_map(Route::targets);
        targets.any(|target| match target {
            Target::Broker(at) => at == broker,
            Target::Set(set) => self.sets[set.at()].has(broker),
        })
    }

    /// Whether a route takes messages from the broker.
    pub fn is_source(&self, broker: BrokerId) -> bool {
        self.routes.iter().any(|route| !route.removed && route.takes_from(broker))
    }

    /// The sessions of targets.
    pub const fn sessions_mut(&mut self) -> &mut S {
        &mut self.sessions
    }

    /// The log, to look at.
    pub const fn spool(&self) -> &Spool {
        &self.spool
    }

    /// How the disk was doing when it was looked at last.
    pub const fn disk(&self) -> &DiskStatus {
        &self.disk
    }

    /// Messages whose source has not been told yet; and those of them that wait for room in a queue.
    pub fn owed(&self) -> (usize, usize) {
        let alone = self.written.iter().filter(|(_, owed)| matches!(owed, Owed::Source { .. })).count();
        (self.debts.len() + alone, self.blocked.len())
    }

    /// Takes no new messages from here on; those that come are not acknowledged.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Does the work of the log's threads, if it was opened without any ([`Spool::open_stepwise`]).
    pub fn step_log(&mut self) {
        self.spool.step();
    }

    /// Hands what was appended to the log over to be written.
    pub fn flush_log(&mut self) {
        self.spool.flush();
    }

    /// The next broker with something new for its owner: acknowledgements, messages in its lane, being held back or not.
    pub fn next_touched(&mut self) -> Option<BrokerId> {
        let at = self.dirty_brokers.pop()?;
        self.brokers[at.at()].dirty = false;
        Some(at)
    }

    /// The acknowledgements that a source is to be given, in order.
    pub fn take_acks(&mut self, of: BrokerId) -> std::vec::Drain<'_, A> {
        self.brokers[of.at()].acks.drain(..)
    }

    /// Whether somebody was held back, or has room again, since this was asked last.
    pub fn take_wants_look(&mut self) -> bool {
        std::mem::take(&mut self.wants_look)
    }

    /// Marks a broker that has something new for its owner.
    pub fn touch(&mut self, broker: BrokerId) {
        if !std::mem::replace(&mut self.brokers[broker.at()].dirty, true) {
            self.dirty_brokers.push(broker);
        }
    }

    /// A decision of a route that is not one of a batch of its plugins. While decisions of its plugins wait to be
    /// recorded it must not overtake them, so it gets a draft of its own behind theirs. That draft is ended here,
    /// before the decision is made, and yet not written before it: the debt in it is still undecided. Without a debt it
    /// only keeps the place of what the decision may put into the log.
    fn part(&mut self, route: RouteId, debt: Option<DebtId>, received_us: u64) -> Part {
        let mut draft = None;
        if !self.routes[route.at()].drafts.is_empty() {
            // Behind what its plugins decided before.
            let id = self.open_draft(route, Vec::new(), debt.into_iter().collect());
            self.end_draft(id);
            draft = Some(id);
        }
        Part { route, debt, draft, received_us }
    }
}
