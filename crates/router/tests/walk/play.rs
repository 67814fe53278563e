//! Plays a story: does to a router what the gateway, brokers, plugins, operators and disks do.

use crate::ledger::{Ledger, Stamp};
use crate::setup::*;
use crate::source::{Source, Token};
use crate::story::{Step, Story};
use crate::target::{Memory, Session, Shared};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tidegate_message::Message;
use tidegate_router::{BrokerId, Moment, Parcel, Router};
use tidegate_testkit::{Fault, SimDisk};

/// The router knows no other clock.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
const START_US: u64 = 1_700_000_000_000_000;

pub(crate) struct Play {
    pub(crate) disk: SimDisk,
    pub(crate) router: Router<Token, Shared>,
    pub(crate) buffers: Shared,
    /// Sessions take messages past the lanes.
    pub(crate) goes_at_once: bool,
    pub(crate) setup: Setup,
    pub(crate) window: usize,
    elapsed: Duration,
    pub(crate) ids: BTreeMap<String, BrokerId>,
    pub(crate) sources: BTreeMap<String, Source>,
    /// Packet identifiers of a session that a source had forgotten when a process ended, before that was durable: the one
    /// gap that is MQTT's own (docs/operations.md), for the next process takes them for those of the session that it finds.
    pub(crate) stale: BTreeSet<(String, u16)>,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) memories: BTreeMap<String, Memory>,
    /// Parcels that the plugins of each route have before them.
    pub(crate) pipelines: BTreeMap<String, VecDeque<Parcel>>,
    /// Routes as the router knows them, those of before included, with whether they are configured.
    pub(crate) views: BTreeMap<String, (RouteView, bool)>,
    pub(crate) ledger: Ledger,
    /// Somebody follows every message.
    pub(crate) follows: bool,
}

impl Play {
    pub(crate) fn new(setup: Setup, window: usize, goes_at_once: bool, follows: bool) -> Self {
        let disk = SimDisk::new();
        let now = Moment { at: *START, us: START_US };
        let buffers = Shared::default();
        let mut play = Self {
            router: Router::new(crate::disk::open(&disk).expect("a spool"), buffers.clone(), now),
            buffers,
            goes_at_once,
            disk,
            setup,
            window,
            elapsed: Duration::ZERO,
            ids: BTreeMap::new(),
            sources: BTreeMap::new(),
            stale: BTreeSet::new(),
            sessions: BTreeMap::new(),
            memories: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            views: BTreeMap::new(),
            ledger: Ledger::default(),
            follows,
        };
        play.start();
        play
    }

    pub(crate) fn tell(story: &Story) {
        // Who follows changes nothing.
        let follows = story.steps.len() % 2 == 1;
        let mut play = Self::new(story.setup.clone(), story.window, story.goes_at_once, follows);
        for step in &story.steps {
            play.step(step);
        }
        play.drain();
        play.check_all_ended();
        play.check_all_arrived();
        play.check_all_told();
    }

    pub(crate) fn now(&self) -> Moment {
        Moment { at: *START + self.elapsed, us: START_US + self.elapsed.as_micros() as u64 }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.elapsed += time;
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.look_at_buffers();
        let now = self.now();
        let broker = |at: u8| broker_name(usize::from(at) % BROKERS);
        let route = |at: u8| route_name(usize::from(at) % ROUTES);
        let target = |at: u8| target_name(usize::from(at));
        match *step {
            Step::Send { source, topic, qos, expires } => {
                self.send(&broker(source), TOPICS[usize::from(topic.min(3 + topic % 3)) % 4], qos, expires);
            }
            Step::Work => self.work(),
            Step::News => self.router.spool_news(now),
            Step::Acks => _ = self.take_acks(),
            Step::Release { source } => _ = self.release(&broker(source)),
            Step::Forget { source } => self.forget(&broker(source)),
            Step::HandOver => _ = self.hand_over(),
            Step::Decide { route: at, count, table, remembers } => {
                _ = self.decide(&route(at), usize::from(count), &table, remembers);
            }
            Step::Tick { route: at, outputs, remembers } => self.tick(&route(at), outputs, remembers),
            Step::Pull { target, count } => _ = self.pull(&broker(target), usize::from(count)),
            Step::Answer { target, pick } => _ = self.answer(&broker(target), usize::from(pick)),
            Step::RefuseForNow { target, count } => self.refuse_for_now(&broker(target), usize::from(count)),
            Step::RefuseForGood { target, pick } => self.refuse_for_good(&broker(target), usize::from(pick)),
            Step::GiveBack { target, refuses } => self.give_back(&broker(target), refuses),
            Step::HangUpOn { target, pick } => self.hang_up_on(&broker(target), usize::from(pick)),
            Step::Down { broker: at } => self.down(&broker(at)),
            Step::Up { broker: at } => self.up(&broker(at)),
            Step::GiveUp { broker: at } => self.give_up(&broker(at)),
            Step::Slow { broker: at, is_slow } => self.slow(&broker(at), is_slow),
            Step::Look => self.router.look_at_sets(now),
            Step::Reload(ref change) => {
                let mut setup = self.setup.clone();
                change.apply(&mut setup);
                self.reload(setup);
            }
            Step::Replay { pick, to } => self.replay(usize::from(pick), to.map(target)),
            Step::DeleteParked { pick } => self.delete_parked(usize::from(pick)),
            Step::Move { from, to } => self.move_waiting(&target(from), &target(to)),
            Step::Discard { target: at } => self.discard(&target(at)),
            Step::DropOld => self.router.drop_old(now),
            Step::Wait { ms } => self.wait(Duration::from_millis(ms.into())),
            Step::DiskFull(is_full) => self.disk.fill(is_full),
            Step::Crash { after, choice } => {
                if let Some(after) = after.checked_sub(1) {
                    self.disk.fail(self.disk.operations() + u64::from(after), Fault::PowerOff);
                    self.router.step_log();
                }
                let ids = &self.ids;
                self.ledger.lose_sessions(|broker| !ids.contains_key(broker));
                self.reopen(self.disk.crash(choice));
            }
            Step::Kill => self.reopen(self.disk.killed()),
            Step::Close => {
                self.router.close(Duration::ZERO);
                self.reopen(self.disk.killed());
            }
        }
        self.router.flush_log();
        self.settle_sessions();
        for (_, route) in self.router.routes() {
            assert_eq!(
                route.account.imbalance(),
                0,
                "the account of {} after {step:?}: {:?}",
                route.name,
                route.account
            );
        }
    }

    /// The disk does what it was handed.
    pub(crate) fn work(&mut self) {
        self.router.step_log();
    }

    /// The same message, as a decision of a batch.
    pub(crate) fn stamped(message: &Message, batch: u64, copy: u64) -> Message {
        let stamp = Stamp { batch, copy, ..Stamp::of(message) };
        Message { payload: stamp.payload().into(), ..message.clone() }
    }
}
