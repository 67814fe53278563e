//! A process ends, by whatever way, and the next one goes on with what is on the disk.

use crate::deciding::state;
use crate::play::Play;
use crate::setup::ROUTES;
use crate::target::{InFlight, Session, Stage};
use std::collections::BTreeMap;
use tidegate_router::{Only, Router, Sampling, Wanted};
use tidegate_testkit::SimDisk;

impl Play {
    /// Another process, on what a crash, a kill or the end of the process before has left of the disk.
    pub(crate) fn reopen(&mut self, disk: SimDisk) {
        self.count_dropped();
        self.ledger.end_life();
        let mut spool = crate::disk::open(&disk).expect("a spool");
        spool.set_window_items(self.window);
        self.disk = disk;
        self.buffers.0.borrow_mut().room.clear();
        self.buffers.0.borrow_mut().written.clear();
        self.buffers.0.borrow_mut().unfinished.clear();
        self.router = Router::new(spool, self.buffers.clone(), self.now());
        self.ids.clear();
        self.sessions.clear();
        self.pipelines.clear();
        self.views.clear();
        for name in self.setup.brokers().filter(|(_, is_link)| !is_link).map(|(name, _)| name).collect::<Vec<_>>() {
            self.void_source(&name);
        }
        self.start();
        let mut ledger = std::mem::take(&mut self.ledger);
        ledger.look_at_state(|route, key| state(self, route, key));
        self.ledger = ledger;
    }

    /// What routes have counted as dropped is kept beyond their life.
    pub(crate) fn count_dropped(&mut self) {
        for (_, route) in self.router.routes() {
            for (reason, count) in &route.account.dropped {
                *self.ledger.dropped.entry((route.name.to_string(), reason.to_string())).or_default() += count;
            }
        }
    }

    /// The start of a process: everything is configured, sessions go on where they were, sources send again.
    pub(crate) fn start(&mut self) {
        let now = self.now();
        if self.follows {
            let all = Wanted {
                whole: false,
                filter: tidegate_message::TopicFilter::new("#").expect("a filter"),
                broker: None,
                route: None,
                contains: None,
                only: Only::All,
                rate: u32::MAX,
            };
            self.router.follow_messages(all).expect("nobody else follows");
            self.router.sample_messages(Some(Sampling { one_in: 3, rate: u32::MAX }));
        }
        for (name, is_link) in self.setup.brokers() {
            let id = self.router.add_broker(&name, is_link);
            self.ids.insert(name, id);
        }
        self.configure();
        debug_assert!(self.views.len() <= ROUTES);
        let mut taken: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for (id, mut sent, packet_ids) in self.router.recover(now) {
            let name = self.router.broker(id).name.to_string();
            sent.sort_by_key(|one| one.serial);
            let in_flight = sent.into_iter().map(|one| {
                let stage = if one.message.is_some() { Stage::Buffered } else { Stage::TakenOver };
                let (via, serial) = (self.via(one.ticket), Some(one.serial));
                InFlight {
                    ticket: one.ticket,
                    message: one.message,
                    via,
                    serial,
                    gate: 0,
                    stage,
                    is_done: false,
                    arrival: None,
                }
            });
            let session = Session { in_flight: in_flight.collect(), ..Session::default() };
            self.sessions.insert(name.clone(), session);
            taken.insert(name, packet_ids);
        }
        self.look_at_sessions();
        self.router.hold_for_sessions();
        self.router.spool_news(now);
        for name in self.ids.keys().cloned().collect::<Vec<_>>() {
            self.up(&name);
            let taken = taken.get(&name).map_or(&[][..], Vec::as_slice);
            let sent = self.sources.get(&name).map(|source| &source.sent);
            let is_known = |id: &u16| sent.is_some_and(|sent| sent.iter().any(|sent| sent.packet_id == *id));
            let stale = taken.iter().filter(|id| !is_known(id)).map(|id| (name.clone(), *id));
            self.stale.extend(stale.collect::<Vec<_>>());
            self.send_again(&name, taken);
        }
    }
}
