//! What the router knows of one route.

use crate::account::Account;
use crate::ids::{BrokerId, DraftId, QueueId, RouteId, SetId};
use crate::merge::Window;
use crate::parcel::Parcel;
use crate::resolve::Shape;
use crate::set::Set;
use crate::traffic::Traffic;
use smallvec::SmallVec;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::{Priority, Retained};
use tidegate_spool::NameId;

/// A broker or a set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// One broker.
    Broker(BrokerId),
    /// One or all of several, as the set's policy has it.
    Set(SetId),
}

impl Target {
    /// The set, if it is one.
    pub(crate) const fn set(self) -> Option<SetId> {
        match self {
            Self::Broker(_) => None,
            Self::Set(set) => Some(set),
        }
    }
}

/// Where a route's messages go.
#[derive(Debug, Clone)]
pub(crate) struct RouteTarget {
    pub(crate) to: Target,
    /// The source waits for it.
    pub(crate) required: bool,
    /// The queue of the target and the route's class, once it was looked up.
    pub(crate) queue: Cell<Option<QueueId>>,
}

impl RouteTarget {
    pub(crate) const fn new(to: Target, required: bool) -> Self {
        Self { to, required, queue: Cell::new(None) }
    }
}

/// One route.
pub struct Route {
    /// As in the configuration.
    pub name: Arc<str>,
    /// Where its messages come from.
    pub(crate) sources: SmallVec<[BrokerId; 2]>,
    /// By what it is known which of them are the same, if several brokers bring them.
    pub(crate) window: Option<Box<Window>>,
    /// Messages that another broker had brought already.
    pub twins: u64,
    /// Whether it wants what is stored there.
    pub(crate) retained: Retained,
    pub(crate) targets: Rc<[RouteTarget]>,
    pub(crate) shape: Rc<Shape>,
    /// Its messages go through plugins.
    pub has_plugins: bool,
    /// It has had some, so that messages may be with them.
    pub(crate) had_plugins: bool,
    /// For its plugins, with the next flush.
    pub(crate) parcels: Vec<Parcel>,
    /// Parcels in `parcels` and with its plugins.
    pub(crate) in_pipeline: usize,
    pub(crate) full_since: Option<Instant>,
    /// What became of its messages.
    pub account: Account,
    /// Not configured any more; it has this place for what is still under way in it.
    pub removed: bool,
    /// It is in a loop: what it has carried of late, it does not carry again.
    pub sifts: bool,
    /// For how long that is remembered.
    pub(crate) sifts_for: Duration,
    /// No mark would end a loop that it is in.
    pub(crate) watched: bool,
    pub(crate) traffic: Traffic,
    /// One of its messages is held back to see whether it comes all the same.
    pub(crate) on_trial: bool,
    /// What a source waits for goes through the spool.
    pub(crate) spooled: bool,
    /// What nobody waits for does, too.
    pub(crate) persist_qos0: bool,
    pub(crate) class: Priority,
    /// In the log.
    pub(crate) name_id: NameId,
    /// Drafts with decisions of its plugins, in order: what is decided later waits behind them.
    pub(crate) drafts: VecDeque<DraftId>,
    pub(crate) dirty: bool,
}

impl Route {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            sources: SmallVec::new(),
            window: None,
            twins: 0,
            retained: Retained::default(),
            targets: Rc::new([]),
            shape: Rc::default(),
            has_plugins: false,
            had_plugins: false,
            parcels: Vec::new(),
            in_pipeline: 0,
            full_since: None,
            account: Account::default(),
            removed: false,
            sifts: false,
            sifts_for: Duration::ZERO,
            watched: false,
            traffic: Traffic::default(),
            on_trial: false,
            spooled: false,
            persist_qos0: false,
            class: Priority::Normal,
            name_id: 0,
            drafts: VecDeque::new(),
            dirty: false,
        }
    }

    /// Whether a message may go straight to the targets: without plugins, and with none before it that is with them.
    #[inline]
    pub(crate) const fn is_direct(&self) -> bool {
        !self.has_plugins && (self.in_pipeline == 0 || !self.had_plugins)
    }

    /// Whether its messages come from this broker.
    pub fn takes_from(&self, broker: BrokerId) -> bool {
        self.sources.contains(&broker)
    }

    /// Whether other brokers bring its messages when one is away.
    pub fn has_several_sources(&self) -> bool {
        self.sources.len() > 1
    }

    /// Whether one of the brokers that it takes from or leads to is such a one.
    pub(crate) fn touches(&self, sets: &[Set], is_such: impl Fn(BrokerId) -> bool) -> bool {
        let leads = |target: Target| match target {
            Target::Broker(broker) => is_such(broker),
            Target::Set(set) => sets[set.at()].brokers().any(&is_such),
        };
        self.sources.iter().any(|source| is_such(*source)) || self.targets().any(leads)
    }

    /// The targets of its own.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        self.targets.iter().map(|target| target.to)
    }
}

/// One decision about a message, or about a copy of it, in one route: what it belongs to, carried from step to step
/// beside the message. For each copy that is made of the message under it, it ends in one of: an entry of a lane, a
/// delivery in the stash of its debt, a message put aside, a drop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) route: RouteId,
    /// Of the received message; `None` if nobody waits for it.
    pub(crate) debt: Option<crate::ids::DebtId>,
    /// The draft that the decision goes into, if it may not be recorded alone.
    pub(crate) draft: Option<DraftId>,
    /// In microseconds since the epoch.
    pub(crate) received_us: u64,
}
