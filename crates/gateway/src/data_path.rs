//! The data path: the router, and the ends that it is between. One thread owns all of this.
//!
//! The router decides; this carries it out: acknowledgements and wake-ups to links and the box's own broker, parcels to the
//! plugins' threads and their verdicts back.

mod own;
mod patience;

use crate::link_reports::Troubles;
use crate::plugins::build::PluginInfo;
use crate::plugins::{Crew, Here, Outbox, Post, Swap};
use crate::probe::Probing;
use crate::snapshot::Connection;
use crate::source_ack::SourceAck;
use crate::stored::RetainFlag;
use crate::tapping::{Looker, Recorded};
use crate::target_sessions::{Session, TargetSessions};
use crate::trial::Tried;
use own::OwnOwed;
use patience::Patience;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_broker::Local;
use tidegate_config::Workers;
use tidegate_link::LinkHandle;
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{Batch, Received, RetainHandling};
use tidegate_router::{Arrival, BrokerId, Decided, Journey, Moment, ReplayError, RouteId, Router, Ticket, Way};
use tidegate_spool::{DiskStatus, Spool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// If no route's plugins have more than this many parcels, their verdicts are waited for, this long at most, before
/// this thread goes to sleep: waking it again would cost more.
const AWAITED_PARCELS_MAX: usize = 8;
const AWAITED_FOR: Duration = Duration::from_micros(60);

/// So long, in one turn, plugins decide on this thread; what else there is goes to their own.
const HERE_FOR: Duration = Duration::from_millis(1);

/// What a broker is.
pub(crate) enum Kind {
    Link(LinkHandle),
    #[cfg(feature = "nats")]
    Nats(tidegate_nats::NatsHandle),
    Embedded {
        local: Local,
        /// What we are subscribed to there.
        subscribed: Vec<(TopicFilter, QoS, RetainHandling)>,
        /// Acknowledgements and messages wait for the broker's own turn: it may be in the middle of one now.
        wake: Rc<Notify>,
    },
    /// Not configured any more.
    Gone,
}

/// The gateway's side of one broker, beside the router's.
pub(crate) struct End {
    pub(crate) kind: Kind,
    pub(crate) last_error: Option<String>,
    /// Connecting failed, too, since it was up.
    pub(crate) attempt_failed: bool,
    /// Its connection ended for want of a word.
    pub(crate) was_silent: bool,
    /// Since when it is seen to have messages that it has not acknowledged.
    pub(crate) waits_since: Option<Instant>,
    /// Why sets do without it, while they do.
    pub(crate) given_up_for: Option<String>,
    /// What is spoken: `5`, `3.1.1 bridge`, `embedded`.
    pub(crate) version: Option<String>,
    pub(crate) retain_flag: RetainFlag,
    pub(crate) connects: u64,
    /// The last ones, the newest last.
    pub(crate) connections: VecDeque<Connection>,
    pub(crate) sessions_lost: u64,
    /// What its link tells of it.
    pub(crate) troubles: Troubles,
    pub(crate) probing: Option<Probing>,
    /// To the box's own broker.
    pub(crate) owed: OwnOwed,
}

/// The plugins of one route: where they are reached, and what they are.
#[derive(Default)]
pub(crate) struct Pipeline {
    pub(crate) crew: Crew,
    pub(crate) plugins: Vec<PluginInfo>,
}

/// Everything on the data path's thread.
pub(crate) struct DataPath {
    pub(crate) router: Router<SourceAck, TargetSessions>,
    /// By the place of the broker in the router.
    ends: Vec<End>,
    /// By the place of the route in the router.
    pipelines: Vec<Pipeline>,
    /// Routes whose workers are to be followed by others.
    leaving: Vec<RouteId>,
    pub(crate) outbox: Arc<Outbox>,
    decided: Vec<(RouteId, Vec<Decided>)>,
    /// Those who look at messages on their way.
    pub(crate) lookers: Vec<Looker<Way>>,
    pub(crate) recorders: Vec<Looker<Recorded>>,
    pub(crate) followers: Vec<Looker<Journey>>,
    /// How often something was put into the outbox when it was emptied last.
    taken: u64,
    patience: Patience,
    /// Somebody is held back, or down: upkeep looks again soon.
    pub(crate) look: Rc<Notify>,
    /// A broker has come or gone: sources of several may look elsewhere.
    pub(crate) broker_changed: Rc<Notify>,
    /// Cancelled when the disk has failed: only a restart finds out what is durable.
    pub(crate) disk_failed: CancellationToken,
    /// If it was that of the box's own broker: how.
    pub(crate) own_disk_error: Option<String>,
    started: Instant,
    started_us: u64,
}

impl DataPath {
    pub(crate) fn new(outbox: Arc<Outbox>, spool: Spool) -> Self {
        let started = Instant::now();
        let started_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        Self {
            router: Router::new(spool, TargetSessions::default(), Moment { at: started, us: started_us }),
            ends: Vec::new(),
            pipelines: Vec::new(),
            leaving: Vec::new(),
            outbox,
            decided: Vec::new(),
            lookers: Vec::new(),
            recorders: Vec::new(),
            followers: Vec::new(),
            taken: 0,
            patience: Patience::default(),
            look: Rc::new(Notify::new()),
            broker_changed: Rc::new(Notify::new()),
            disk_failed: CancellationToken::new(),
            own_disk_error: None,
            started,
            started_us,
        }
    }

    /// This instant by the clock of the router, which was right at the start and never jumps afterwards.
    pub(crate) fn moment(&self, at: Instant) -> Moment {
        Moment { at, us: self.started_us + at.saturating_duration_since(self.started).as_micros() as u64 }
    }

    pub(crate) fn end(&self, of: BrokerId) -> &End {
        &self.ends[of.at()]
    }

    pub(crate) fn end_mut(&mut self, of: BrokerId) -> &mut End {
        &mut self.ends[of.at()]
    }

    /// The plugins of a route.
    pub(crate) fn pipeline(&mut self, of: RouteId) -> &mut Pipeline {
        if self.pipelines.len() <= of.at() {
            self.pipelines.resize_with(of.at() + 1, Pipeline::default);
        }
        &mut self.pipelines[of.at()]
    }

    pub(crate) fn all_plugins(&self) -> impl Iterator<Item = &PluginInfo> {
        self.pipelines.iter().flat_map(|pipeline| &pipeline.plugins)
    }

    /// What is tried beside a plugin.
    pub(crate) fn tried(&self, plugin: &str) -> Option<Arc<Tried>> {
        self.all_plugins().find(|info| *info.name == *plugin).and_then(|info| info.tried.clone())
    }

    pub(crate) fn plugins(&self, of: RouteId) -> &[PluginInfo] {
        self.pipelines.get(of.at()).map_or(&[], |pipeline| &pipeline.plugins)
    }

    /// Tells every plugin's thread to end when it has nothing left.
    pub(crate) fn stop_plugins(&mut self) {
        self.pipelines.iter_mut().for_each(|pipeline| pipeline.crew.stop());
    }

    /// A route gets other plugins, or the same with other settings: those of each worker.
    pub(crate) fn change_plugins(&mut self, of: RouteId, workers: Workers, swaps: Vec<Swap>, plugins: Vec<PluginInfo>) {
        self.pipeline(of).plugins = plugins;
        let Self { router, pipelines, outbox, leaving, .. } = self;
        let crew = &mut pipelines[of.at()].crew;
        crew.change(workers, swaps, Post { route: of, name: &router.route(of).name, outbox });
        if crew.is_leaving() && !leaving.contains(&of) {
            leaving.push(of);
        }
    }

    /// What comes for a route waits for its plugins: they are not compiled yet.
    pub(crate) fn hold_plugins(&mut self, of: RouteId, workers: Workers) {
        self.pipeline(of);
        let Self { router, pipelines, outbox, .. } = self;
        pipelines[of.at()].crew.hold(workers, Post { route: of, name: &router.route(of).name, outbox });
    }

    /// Whether what comes for a route waits for its plugins.
    pub(crate) fn holds_plugins(&self, of: RouteId) -> bool {
        self.pipelines.get(of.at()).is_some_and(|pipeline| pipeline.crew.is_held())
    }

    /// Lets workers take over whose predecessors have left.
    fn take_over(&mut self) {
        let Self { router, pipelines, outbox, leaving, .. } = self;
        leaving.retain(|of| {
            let crew = &mut pipelines[of.at()].crew;
            crew.take_over(Post { route: *of, name: &router.route(*of).name, outbox });
            crew.is_leaving()
        });
    }

    pub(crate) fn add_broker(&mut self, name: &str, kind: Kind) -> BrokerId {
        let session = match &kind {
            Kind::Link(handle) => Some(Session::Link(handle.clone())),
            #[cfg(feature = "nats")]
            Kind::Nats(handle) => Some(Session::Nats(handle.clone())),
            Kind::Embedded { .. } | Kind::Gone => None,
        };
        let at = self.router.add_broker(name, session.is_some());
        self.router.broker_mut(at).marked_here = !matches!(kind, Kind::Link(_));
        self.router.sessions_mut().set(at, session);
        let troubles = Troubles::default();
        self.ends.push(End {
            kind,
            last_error: None,
            attempt_failed: false,
            was_silent: false,
            waits_since: None,
            given_up_for: None,
            version: None,
            retain_flag: RetainFlag::Kept,
            connects: 0,
            connections: VecDeque::new(),
            sessions_lost: 0,
            troubles,
            probing: None,
            owed: OwnOwed::default(),
        });
        if let Kind::Link(handle) = &self.ends[at.at()].kind
            && let Some(memory) = self.router.memory_of(at)
        {
            handle.restore_memory(memory);
        }
        at
    }

    /// A broker is no longer configured. If it is one of the box's own, what was published there is durable.
    pub(crate) fn remove_broker(&mut self, at: BrokerId) {
        let (mut unfinished, mut done) = (Vec::new(), Vec::new());
        self.router.sessions_mut().set(at, None);
        match std::mem::replace(&mut self.ends[at.at()].kind, Kind::Gone) {
            Kind::Link(handle) => {
                let (messages, keys) = handle.abandon();
                unfinished.extend(messages.into_iter().map(|(key, message)| (Ticket::from_key(key), message)));
                done.extend(keys.into_iter().map(Ticket::from_key));
            }
            #[cfg(feature = "nats")]
            Kind::Nats(handle) => unfinished.extend(crate::nats_port::tickets(handle.take_back(|_| true))),
            Kind::Embedded { .. } => self.published_locally(at, u64::MAX, Instant::now()),
            Kind::Gone => {}
        }
        let now = self.moment(Instant::now());
        self.router.remove_broker(at, unfinished, done, now);
    }

    /// What one turn of a link has brought. What is about our own messages comes first: the broker said it of what it had,
    /// before it, or a session of ours that it forgot, is given anything new. Returns for how long the broker is left alone,
    /// if it is.
    pub(crate) fn heard(&mut self, from: BrokerId, heard: &mut Batch, now: Instant) -> Option<Duration> {
        let moment = self.moment(now);
        let Batch { received, completed, taken_over, released, skipped, refused, control: _ } = heard;
        if !taken_over.is_empty() {
            self.router.taken_over(from, taken_over.drain(..).map(Ticket::from_key));
        }
        if !released.is_empty() {
            self.router.released(from, released);
        }
        let rest = if refused.is_empty() { None } else { self.rejected(from, refused, now) };
        if !completed.is_empty() {
            let done = completed.drain(..).map(|done| (Ticket::from_key(done.key), !done.reason.is_error()));
            self.router.completed(from, done, moment);
        }
        if !skipped.is_empty() {
            self.skipped(from, skipped, now);
        }
        if let Some(probing) = &mut self.end_mut(from).probing {
            received.retain(|one| one.ack.is_some() || !probing.takes(&one.message, now));
        }
        if !received.is_empty() {
            let flag = self.end(from).retain_flag;
            let arrivals = received.drain(..).map(|received| {
                let Received { message, ack, dup, subscription_id, subscription_bits, topic_id } = received;
                let audience = flag.audience(&message, subscription_bits);
                let ack = ack.map(SourceAck::Link);
                Arrival { message, ack, redelivered: dup, subscription_id, audience, topic_id }
            });
            self.router.received(from, arrivals, moment, wall_ms());
        }
        self.flush(now);
        rest
    }
    /// Gives parcels to plugins, takes verdicts that are worth a moment's wait, and tells everybody who has something new,
    /// once.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.outbox.pushed() != self.taken {
            // What was decided before stands before what is decided here.
            self.take_decided(now);
        }
        if !self.leaving.is_empty() {
            self.take_over();
        }
        let seen = self.outbox.pushed();
        let moment = self.moment(now);
        let Self { router, pipelines, outbox, decided: here, .. } = self;
        let (mut is_awaited, mut left) = (false, HERE_FOR);
        let few = router.hand_over(moment, AWAITED_PARCELS_MAX, |route, parcels, max| {
            let Some(pipeline) = pipelines.get_mut(route.at()) else { return Vec::new() };
            pipeline.crew.deal(parcels, |inbox, parcels| {
                let mut outcome = Here::Refused;
                if !left.is_zero() {
                    let began = Instant::now();
                    outcome = inbox.decide_here(parcels, || outbox.holds(route));
                    left = left.saturating_sub(began.elapsed());
                }
                match outcome {
                    Here::Decided(decided) => here.push((route, decided)),
                    Here::Elsewhere => {}
                    Here::Refused => {
                        is_awaited = true;
                        return inbox.push(parcels, max);
                    }
                }
                Vec::new()
            })
        });
        for (route, decided) in self.decided.drain(..) {
            self.router.decided(route, decided, moment);
        }
        if few && is_awaited && self.patience.admits() {
            let came = self.outbox.wait(seen, AWAITED_FOR);
            self.patience.learn(came);
            if came {
                self.take_decided(now);
            }
        }
        self.router.flush_log();
        if self.router.has_ways() {
            self.show();
        }
        self.tell();
    }

    /// Tells every broker's side what is new for it: acknowledgements, messages, whether to read on.
    pub(crate) fn tell(&mut self) {
        while let Some(at) = self.router.next_touched() {
            match &self.ends[at.at()].kind {
                Kind::Link(handle) => {
                    handle.pause(self.router.broker(at).is_held_back());
                    handle.wake();
                }
                #[cfg(feature = "nats")]
                Kind::Nats(handle) => {
                    handle.pause(self.router.broker(at).is_held_back());
                    handle.wake();
                }
                Kind::Embedded { local, wake, .. } => {
                    local.pause(self.router.broker(at).is_held_back());
                    wake.notify_one();
                }
                Kind::Gone => {}
            }
        }
        if self.router.take_wants_look() {
            self.look.notify_one();
        }
        if self.router.has_journeys() {
            self.show_journeys();
        }
    }

    /// Takes what the plugins have decided so far.
    pub(crate) fn take_decided(&mut self, now: Instant) {
        let moment = self.moment(now);
        let mut decided = std::mem::take(&mut self.decided);
        self.taken = self.outbox.pushed();
        self.outbox.take(&mut decided);
        for (route, decided) in decided.drain(..) {
            self.router.decided(route, decided, moment);
        }
        self.decided = decided;
    }

    /// Takes what has become durable.
    pub(crate) fn spool_news(&mut self, now: Instant) {
        let moment = self.moment(now);
        self.router.spool_news(moment);
        if matches!(self.router.disk(), DiskStatus::Failed(_)) {
            self.disk_failed.cancel();
        }
        for at in (0..self.ends.len()).filter(|at| !self.ends[*at].owed.releases.is_empty()) {
            self.router.touch(BrokerId::new(at));
        }
        self.flush(now);
    }

    /// A parked message enters its route again, or goes to a target.
    pub(crate) fn replay(&mut self, number: u64, to: Option<&str>, now: Instant) -> Result<(), ReplayError> {
        let moment = self.moment(now);
        let outcome = match to {
            Some(to) => self.router.replay_to(number, to, moment),
            None => self.router.replay(number, moment),
        };
        self.flush(now);
        outcome
    }
}

/// What the machine's clock says, in milliseconds since the epoch.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
