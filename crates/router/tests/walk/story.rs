//! What may happen in a story, by chance.

use crate::setup::*;
use proptest::prelude::*;

/// Picks are taken modulo what there is to pick from.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A source sends a message, perhaps one that expires soon.
    Send {
        source: u8,
        topic: u8,
        qos: u8,
        expires: bool,
    },
    /// The disk does what it was handed.
    Work,
    /// The router takes the news of the disk.
    News,
    /// Sources take their acknowledgements.
    Acks,
    /// A source releases the packet identifier of a QoS 2 message.
    Release {
        source: u8,
    },
    /// A source forgets our session, and all that it has not seen acknowledged.
    Forget {
        source: u8,
    },
    /// Plugins get their parcels.
    HandOver,
    /// A plugin decides some of its parcels in one batch: as `table` says, one entry after the other.
    Decide {
        route: u8,
        count: u8,
        table: [u8; 3],
        remembers: bool,
    },
    /// A plugin acts on time.
    Tick {
        route: u8,
        outputs: u8,
        remembers: bool,
    },
    /// A target's session takes messages.
    Pull {
        target: u8,
        count: u8,
    },
    /// A target goes on with one of its messages.
    Answer {
        target: u8,
        pick: u8,
    },
    /// A target refuses messages for now, or one for good.
    RefuseForNow {
        target: u8,
        count: u8,
    },
    RefuseForGood {
        target: u8,
        pick: u8,
    },
    /// What a target's session has and has not sent goes back, for it refuses, or because it may go elsewhere meanwhile.
    GiveBack {
        target: u8,
        refuses: bool,
    },
    /// A target hangs up on a message.
    HangUpOn {
        target: u8,
        pick: u8,
    },
    Down {
        broker: u8,
    },
    Up {
        broker: u8,
    },
    /// It has been away for long, or answers nothing.
    GiveUp {
        broker: u8,
    },
    /// What is written to it takes its time to arrive, or no longer.
    Slow {
        broker: u8,
        is_slow: bool,
    },
    /// Whoever is well gets a share of its sets.
    Look,
    Reload(Change),
    Replay {
        pick: u8,
        to: Option<u8>,
    },
    DeleteParked {
        pick: u8,
    },
    Move {
        from: u8,
        to: u8,
    },
    Discard {
        target: u8,
    },
    DropOld,
    Wait {
        ms: u16,
    },
    DiskFull(bool),
    /// The power goes after so many more operations on the disk, or none.
    Crash {
        after: u8,
        choice: u64,
    },
    Kill,
    Close,
}

/// What a reload changes.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Broker {
        at: u8,
    },
    BrokerKind {
        at: u8,
    },
    BrokerSpool {
        at: u8,
        spool: SpoolSetup,
    },
    Set {
        at: u8,
    },
    SetMembers {
        at: u8,
        members: Vec<u8>,
    },
    SetPolicy {
        at: u8,
        policy: u8,
    },
    SetWeight {
        at: u8,
        weight: u8,
    },
    SetSpool {
        at: u8,
        spool: SpoolSetup,
    },
    Route {
        at: u8,
    },
    RouteAnew {
        at: u8,
        route: RouteSetup,
    },
    RouteFilters {
        at: u8,
        filters: u8,
    },
    RouteTargets {
        at: u8,
        targets: Vec<u8>,
    },
    RoutePlugins {
        at: u8,
        plugins: u8,
    },
    /// Two routes change places in the file.
    Reorder,
    /// Nothing.
    Again,
}

impl Change {
    pub(crate) fn apply(&self, setup: &mut Setup) {
        let route = |at: u8| usize::from(at) % ROUTES;
        let (broker, set) = (|at: u8| usize::from(at) % BROKERS, |at: u8| usize::from(at) % SETS);
        match self {
            Self::Broker { at } => setup.brokers[broker(*at)].there ^= true,
            Self::BrokerKind { at } => setup.brokers[broker(*at)].embedded ^= true,
            Self::BrokerSpool { at, spool } => setup.brokers[broker(*at)].spool = *spool,
            Self::Set { at } => setup.sets[set(*at)].there ^= true,
            Self::SetMembers { at, members } => setup.sets[set(*at)].members.clone_from(members),
            Self::SetPolicy { at, policy } => setup.sets[set(*at)].policy = *policy,
            Self::SetWeight { at, weight } => setup.sets[set(*at)].weight = *weight,
            Self::SetSpool { at, spool } => setup.sets[set(*at)].spool = *spool,
            Self::Route { at } => setup.routes[route(*at)].there ^= true,
            Self::RouteAnew { at, route: anew } => setup.routes[route(*at)] = anew.clone(),
            Self::RouteFilters { at, filters } => setup.routes[route(*at)].filters = *filters,
            Self::RouteTargets { at, targets } => setup.routes[route(*at)].targets.clone_from(targets),
            Self::RoutePlugins { at, plugins } => setup.routes[route(*at)].plugins = *plugins,
            Self::Reorder => setup.is_reversed ^= true,
            Self::Again => {}
        }
    }
}

fn spool() -> impl Strategy<Value = SpoolSetup> {
    let max_messages = prop_oneof![3 => Just(None), 2 => (1u8..5).prop_map(Some)];
    let max_age_s = prop_oneof![7 => Just(None), 1 => (1u8..9).prop_map(Some)];
    let drain_rate = prop_oneof![7 => Just(None), 1 => (1u8..9).prop_map(Some)];
    (max_messages, 0u8..3, max_age_s, drain_rate).prop_map(|(max_messages, when_full, max_age_s, drain_rate)| {
        SpoolSetup { max_messages, when_full, max_age_s, drain_rate }
    })
}

fn members() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..BROKERS as u8, 2..5)
}

fn targets() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..(BROKERS + SETS) as u8, 1..3)
}

fn plugins() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0u8), 1u8..4]
}

fn broker() -> impl Strategy<Value = BrokerSetup> {
    let there = prop::bool::weighted(0.8);
    (there, prop::bool::weighted(0.15), spool()).prop_map(|(there, embedded, spool)| BrokerSetup {
        there,
        embedded,
        spool,
    })
}

fn set() -> impl Strategy<Value = SetSetup> {
    let there = prop::bool::weighted(0.6);
    (there, 0u8..3, members(), (0u8..4, any::<bool>()), prop::bool::weighted(0.03), spool()).prop_map(
        |(there, policy, members, (weight, relieves), many, spool)| SetSetup {
            there,
            policy,
            members,
            weight,
            relieves,
            many,
            spool,
        },
    )
}

fn route() -> impl Strategy<Value = RouteSetup> {
    let qos = prop_oneof![5 => Just(None), 1 => (0u8..3).prop_map(Some)];
    let ways = (prop::bool::weighted(0.75), any::<bool>(), qos, 0u8..3);
    let source = prop_oneof![3 => Just(0u8), 1 => 0..BROKERS as u8];
    (prop::bool::weighted(0.6), source, 1u8..16, targets(), any::<u8>(), plugins(), ways).prop_map(
        |(there, source, filters, targets, required, plugins, (spooled, persist_qos0, qos, priority))| RouteSetup {
            there,
            source,
            filters,
            targets,
            required,
            plugins,
            spooled,
            persist_qos0,
            qos,
            priority,
        },
    )
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    let brokers = prop::collection::vec(broker(), BROKERS);
    let (sets, routes) = (prop::collection::vec(set(), SETS), prop::collection::vec(route(), ROUTES));
    (brokers, sets, routes).prop_map(|(brokers, sets, routes)| {
        let mut setup = Setup { brokers, sets, routes, is_reversed: false };
        setup.brokers[0].there = true;
        setup.routes[0].there = true;
        setup
    })
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<u8>;
    prop_oneof![
        6 => at().prop_map(|at| Change::Broker { at }),
        1 => at().prop_map(|at| Change::BrokerKind { at }),
        2 => (at(), spool()).prop_map(|(at, spool)| Change::BrokerSpool { at, spool }),
        3 => at().prop_map(|at| Change::Set { at }),
        3 => (at(), members()).prop_map(|(at, members)| Change::SetMembers { at, members }),
        1 => (at(), 0u8..3).prop_map(|(at, policy)| Change::SetPolicy { at, policy }),
        3 => (at(), 0u8..4).prop_map(|(at, weight)| Change::SetWeight { at, weight }),
        2 => (at(), spool()).prop_map(|(at, spool)| Change::SetSpool { at, spool }),
        4 => at().prop_map(|at| Change::Route { at }),
        2 => (at(), route()).prop_map(|(at, route)| Change::RouteAnew { at, route }),
        2 => (at(), 1u8..16).prop_map(|(at, filters)| Change::RouteFilters { at, filters }),
        2 => (at(), targets()).prop_map(|(at, targets)| Change::RouteTargets { at, targets }),
        3 => (at(), plugins()).prop_map(|(at, plugins)| Change::RoutePlugins { at, plugins }),
        1 => Just(Change::Reorder),
        1 => Just(Change::Again),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let pick = any::<u8>;
    let source = || prop_oneof![3 => Just(0u8), 1 => any::<u8>()];
    let qos = prop_oneof![1 => Just(0u8), 3 => Just(1u8), 3 => Just(2u8)];
    let send = (source(), 0u8..12, qos, prop::bool::weighted(0.05));
    let decide = (pick(), 1u8..4, any::<[u8; 3]>(), prop::bool::weighted(0.4));
    let traffic = prop_oneof![
        22 => send.prop_map(|(source, topic, qos, expires)| Step::Send { source, topic, qos, expires }),
        8 => Just(Step::Work),
        9 => Just(Step::News),
        5 => Just(Step::Acks),
        3 => source().prop_map(|source| Step::Release { source }),
        5 => Just(Step::HandOver),
        9 => decide.prop_map(|(route, count, table, remembers)| Step::Decide { route, count, table, remembers }),
        1 => (pick(), 1u8..4, any::<bool>())
            .prop_map(|(route, outputs, remembers)| Step::Tick { route, outputs, remembers }),
        10 => (pick(), 1u8..5).prop_map(|(target, count)| Step::Pull { target, count }),
        12 => (pick(), pick()).prop_map(|(target, pick)| Step::Answer { target, pick }),
        5 => Just(Step::Look),
        4 => (pick(), prop::bool::weighted(0.6)).prop_map(|(broker, is_slow)| Step::Slow { broker, is_slow }),
        3 => prop_oneof![2 => 1u16..900, 1 => 900u16..7000].prop_map(|ms| Step::Wait { ms }),
    ];
    let trouble = prop_oneof![
        2 => (pick(), 1u8..4).prop_map(|(target, count)| Step::RefuseForNow { target, count }),
        1 => (pick(), pick()).prop_map(|(target, pick)| Step::RefuseForGood { target, pick }),
        3 => (pick(), any::<bool>()).prop_map(|(target, refuses)| Step::GiveBack { target, refuses }),
        2 => (pick(), pick()).prop_map(|(target, pick)| Step::HangUpOn { target, pick }),
        3 => pick().prop_map(|broker| Step::Down { broker }),
        4 => pick().prop_map(|broker| Step::Up { broker }),
        4 => pick().prop_map(|broker| Step::GiveUp { broker }),
        1 => pick().prop_map(|source| Step::Forget { source }),
        2 => (pick(), prop::option::of(pick())).prop_map(|(pick, to)| Step::Replay { pick, to }),
        1 => pick().prop_map(|pick| Step::DeleteParked { pick }),
        1 => (pick(), pick()).prop_map(|(from, to)| Step::Move { from, to }),
        1 => pick().prop_map(|target| Step::Discard { target }),
        1 => Just(Step::DropOld),
        2 => any::<bool>().prop_map(Step::DiskFull),
        3 => (0u8..24, 0u64..1_000_000).prop_map(|(after, choice)| Step::Crash { after, choice }),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
    ];
    prop_oneof![16 => traffic, 3 => trouble, 2 => change().prop_map(Step::Reload)]
}

/// A story: what is configured at first, how much of a queue is in memory, and what happens.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) setup: Setup,
    pub(crate) window: usize,
    /// Sessions take messages past the lanes.
    pub(crate) goes_at_once: bool,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn story() -> impl Strategy<Value = Story> {
    let window = prop_oneof![2 => Just(8192usize), 1 => 1usize..6];
    (setup(), window, any::<bool>(), prop::collection::vec(step(), 0..70))
        .prop_map(|(setup, window, goes_at_once, steps)| Story { setup, window, goes_at_once, steps })
}

impl std::fmt::Display for Story {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Setup { brokers, sets, routes, .. } = &self.setup;
        brokers.iter().enumerate().try_for_each(|(at, broker)| writeln!(out, "b{at}: {broker:?}"))?;
        sets.iter().enumerate().try_for_each(|(at, set)| writeln!(out, "s{at}: {set:?}"))?;
        routes.iter().enumerate().try_for_each(|(at, route)| writeln!(out, "r{at}: {route:?}"))?;
        writeln!(out, "window {}{}", self.window, if self.goes_at_once { ", past the lanes" } else { "" })?;
        self.steps.iter().try_for_each(|step| writeln!(out, "    {step:?}"))
    }
}
