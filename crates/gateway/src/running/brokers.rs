//! The brokers of a running gateway: started, held back, subscribed to, removed.

use super::{BrokerTask, GOODBYE, Gateway};
use crate::broker_port::BrokerPort;
use crate::data_path::Kind;
use crate::embedded::{Addresses, Listening, Running};
use crate::held::{self, EndSettings, LinkSettings, link_settings};
use crate::{embedded, settings, subscriptions};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_config::Config;
use tidegate_link::{Address, Link, LinkHandle};
use tidegate_mqtt::SubscribeFilter;
use tidegate_router::BrokerId;
use tidegate_router::Hops;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a broker has answered to a change of filters, and for how long.
const FILTERS_LOOK: Duration = Duration::from_millis(20);
const FILTERS_SETTLE: Duration = Duration::from_secs(30);

/// The end of a broker that is not started: whoever starts it has other settings.
fn idle(config: &Config, name: &str) -> Kind {
    #[cfg(feature = "nats")]
    if config.brokers.get(name).is_some_and(|broker| broker.nats().is_some()) {
        return Kind::Nats(tidegate_nats::Nats::new(tidegate_nats::Settings::default()).1);
    }
    #[cfg(not(feature = "nats"))]
    let _ = config;
    Kind::Link(Link::new(tidegate_link::Settings::new(name, Address::Unix(PathBuf::new()))).1)
}

impl Gateway {
    pub(super) fn broker_index(&self, name: &str) -> Option<BrokerId> {
        self.inner.path.borrow().router.broker_named(name)
    }

    /// The handle of a link.
    pub(super) fn link_of(&self, at: BrokerId) -> Option<LinkHandle> {
        match &self.inner.path.borrow().end(at).kind {
            Kind::Link(handle) => Some(handle.clone()),
            _ => None,
        }
    }

    /// Whether a broker of the box's own lets nobody in, or listens nowhere yet.
    pub(super) fn waits_for_users(&self, name: &str) -> bool {
        let at = self.broker_index(name);
        let tasks = self.inner.tasks.borrow();
        let task = at.and_then(|at| tasks.get(&at));
        task.is_some_and(|task| task.own.is_some() && task.addresses.borrow().is_empty())
    }

    /// Where the box's own brokers listen.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let tasks = self.inner.tasks.borrow();
        tasks.values().flat_map(|task| task.addresses.borrow().clone()).collect()
    }

    pub(super) fn remove_broker(&self, name: &str) {
        let Some(at) = self.broker_index(name) else { return };
        // Whoever comes in the place of one of the box's own goes on with what that keeps.
        let own = self.inner.tasks.borrow().get(&at).and_then(|task| task.own.clone());
        let is_kept = own.is_none_or(|own| own.close_persistence());
        {
            let mut path = self.inner.path.borrow_mut();
            if !is_kept {
                // It waits in the spool, and goes out again.
                path.end_mut(at).owed.published.clear();
            }
            path.remove_broker(at);
        }
        self.inner.material.borrow_mut().remove(name);
        self.inner.held.release(name);
        self.inner.wanted.borrow_mut().remove(name);
        if let Some(task) = self.inner.tasks.borrow_mut().remove(&at) {
            task.stop.cancel();
        }
    }

    /// Keeps a link from starting, and the others from being kept by it. What is sent to it waits.
    pub(super) fn hold_link(&self, config: &Config, name: &str, words: &str) {
        if self.inner.held.hold(name, words) {
            tracing::error!(
                name: "broker_not_started",
                broker = name,
                error = words,
                "not started; tried again every minute and at each reload"
            );
        }
        let kind = idle(config, name);
        let same = |at: &BrokerId| {
            std::mem::discriminant(&self.inner.path.borrow().end(*at).kind) == std::mem::discriminant(&kind)
        };
        let at = match self.broker_index(name).filter(same) {
            Some(at) => at,
            None => {
                self.remove_broker(name);
                self.inner.held.hold(name, words);
                self.inner.path.borrow_mut().add_broker(name, kind)
            }
        };
        let mut path = self.inner.path.borrow_mut();
        path.end_mut(at).last_error = Some(words.to_owned());
        path.router.broker_mut(at).down_since.get_or_insert_with(Instant::now);
        path.look.notify_one();
    }

    /// Reads the files of brokers that are held back again, every minute; starts those that are right now.
    pub(super) async fn try_held_again(self) {
        let stop = self.inner.stop.clone();
        while stop.run_until_cancelled(tokio::time::sleep(held::AGAIN)).await.is_some() {
            let names = self.inner.held.names();
            if names.is_empty() {
                continue;
            }
            let _one_at_a_time = self.inner.reloading.lock().await;
            let (config, wanted) = (self.config(), self.config());
            let reading =
                tokio::task::spawn_blocking(move || link_settings(&wanted, |name| names.iter().any(|n| n == name)));
            for LinkSettings { name, read, material } in reading.await.unwrap_or_default() {
                match read {
                    Ok(settings) if self.inner.held.release(&name) => {
                        tracing::info!(name: "broker_started_late", broker = name, "its files can be used now");
                        self.inner.material.borrow_mut().insert(name.clone(), material);
                        self.start_end(&config, &name, settings);
                    }
                    Ok(_) => {}
                    Err(wrong) => self.hold_link(&config, &name, &settings::in_words(&wrong)),
                }
            }
        }
    }

    /// Starts what is at the end of a link, or at that of a stream, or goes on with it under other settings.
    pub(super) fn start_end(&self, config: &Config, name: &str, settings: EndSettings) {
        match settings {
            EndSettings::Link(settings) => self.start_link(config, name, settings),
            #[cfg(feature = "nats")]
            EndSettings::Nats(settings) => self.start_nats(name, settings),
        }
    }

    /// Starts a link, or goes on with a running one under other settings.
    fn start_link(&self, config: &Config, name: &str, mut settings: tidegate_link::Settings) {
        settings.fetch_stored = config.fetches_stored(name);
        settings.mark = Hops::of(config).mark(name);
        let running = self.broker_index(name).and_then(|at| Some((at, self.link_of(at)?)));
        let (at, link) = match running {
            Some((at, handle)) => (at, handle.with_settings(settings)),
            None => {
                self.remove_broker(name);
                let (link, handle) = Link::new(settings);
                (self.inner.path.borrow_mut().add_broker(name, Kind::Link(handle)), link)
            }
        };
        let port = Rc::new(RefCell::new(BrokerPort { path: self.inner.path.clone(), broker: at, name: name.into() }));
        self.run_end(at, |stop| link.run(port, stop));
    }

    /// Starts the connection to a stream, or goes on with a running one under other settings.
    #[cfg(feature = "nats")]
    fn start_nats(&self, name: &str, settings: tidegate_nats::Settings) {
        use tidegate_nats::Nats;
        let running = self.broker_index(name).and_then(|at| match &self.inner.path.borrow().end(at).kind {
            Kind::Nats(handle) => Some((at, handle.clone())),
            _ => None,
        });
        let (at, nats) = match running {
            Some((at, handle)) => (at, handle.with_settings(settings)),
            None => {
                self.remove_broker(name);
                let (nats, handle) = Nats::new(settings);
                (self.inner.path.borrow_mut().add_broker(name, Kind::Nats(handle)), nats)
            }
        };
        let gateway = self.inner.config.borrow().gateway.name.clone();
        let port = crate::nats_port::NatsPort::new(self.inner.path.clone(), at, name, &gateway);
        self.run_end(at, |stop| nats.run(Rc::new(RefCell::new(port)), stop));
    }

    /// Runs the task of a broker, after the one before it has ended.
    fn run_end<F: Future<Output = ()> + 'static>(&self, at: BrokerId, run: impl FnOnce(CancellationToken) -> F) {
        let before = self.inner.tasks.borrow_mut().remove(&at);
        let stop = self.inner.stop.child_token();
        let running = run(stop.clone());
        let task = tokio::task::spawn_local(async move {
            if let Some(before) = before {
                before.stop.cancel();
                let _ = tokio::time::timeout(GOODBYE, before.task).await;
            }
            running.await;
        });
        let task = BrokerTask { stop, task, addresses: Addresses::default(), own: None };
        self.inner.tasks.borrow_mut().insert(at, task);
    }

    pub(super) fn start_embedded(&self, opened: embedded::Opened) {
        let name = opened.name.clone();
        self.remove_broker(&name);
        let path = self.inner.path.clone();
        let at = BrokerId::new(path.borrow().router.brokers().count());
        let port = BrokerPort { path: path.clone(), broker: at, name: name.as_str().into() };
        let stop = self.inner.stop.child_token();
        let addresses = opened.addresses.clone();
        let again = self.inner.again.clone();
        let (kind, own, task) =
            embedded::start(opened, Running { port, path: path.clone(), at, again, stop: stop.clone() });
        {
            let mut path = path.borrow_mut();
            let added = path.add_broker(&name, kind);
            debug_assert_eq!(added, at);
            path.router.broker_mut(at).health.up_since = Some(Instant::now());
            if let Kind::Embedded { local, .. } = &path.end(added).kind {
                path.router.remembered_clients(at).iter().for_each(|client| local.remembers(client));
            }
            path.end_mut(at).version = Some("embedded".to_owned());
        }
        let task = BrokerTask { stop, task, addresses, own: Some(own) };
        self.inner.tasks.borrow_mut().insert(at, task);
    }

    /// Asks every source for what its routes want, `before` being what was in force.
    pub(super) fn subscribe(&self, config: &Config, before: &Config) {
        for name in config.brokers.keys() {
            let is_same = subscriptions::are_same(before, config, name);
            self.subscribe_at(config, name, is_same);
        }
    }

    /// Asks one source; `is_same`: its routes want what they wanted.
    pub(super) fn subscribe_at(&self, config: &Config, name: &str, is_same: bool) {
        let Some(at) = self.broker_index(name) else { return };
        let is_same = is_same && !config.sources.values().any(|set| set.brokers.iter().any(|broker| broker == name));
        if let Kind::Embedded { subscribed, .. } = &self.inner.path.borrow().end(at).kind
            && is_same
            && !subscribed.is_empty()
        {
            return;
        }
        // A link is asked all the same: it asks once more for what was refused.
        let known = self.inner.wanted.borrow().get(name).filter(|_| is_same).cloned();
        let wanted =
            known.unwrap_or_else(|| subscriptions::wanted(config, name, |from| self.is_subscribed(from, name)));
        let probe = self.probe_filter(name);
        let (local, mut subscribed) = match &mut self.inner.path.borrow_mut().end_mut(at).kind {
            Kind::Link(handle) => {
                self.subscribe_link(name, handle.clone(), wanted, probe);
                return;
            }
            #[cfg(feature = "nats")]
            Kind::Nats(handle) => {
                handle.subscribe(wanted.into_iter().filter_map(|one| one.filter.ok()).collect());
                return;
            }
            Kind::Embedded { local, subscribed, .. } => (local.clone(), std::mem::take(subscribed)),
            Kind::Gone => return,
        };
        // Retained messages come back while we ask: nothing may be borrowed here.
        embedded::subscribe(&local, &mut subscribed, &wanted);
        if let Kind::Embedded { subscribed: known, .. } = &mut self.inner.path.borrow_mut().end_mut(at).kind {
            *known = subscribed;
        }
    }

    /// Straight to what is wanted, or in two steps where a message could come twice in between.
    fn subscribe_link(
        &self,
        name: &str,
        handle: LinkHandle,
        wanted: Vec<SubscribeFilter>,
        probe: Option<SubscribeFilter>,
    ) {
        let before = self.inner.wanted.borrow().get(name).cloned().unwrap_or_default();
        let first = subscriptions::between(&before, &wanted).unwrap_or_else(|| wanted.clone());
        self.inner.wanted.borrow_mut().insert(name.to_owned(), first.clone());
        let with_probe = move |list: &[SubscribeFilter]| list.iter().cloned().chain(probe.clone()).collect::<Vec<_>>();
        handle.subscribe(&with_probe(&first));
        if first == wanted {
            return;
        }
        let (inner, name) = (Rc::downgrade(&self.inner), name.to_owned());
        tokio::task::spawn_local(async move {
            // What the broker never answers must not keep the old filters for ever.
            let until = Instant::now() + FILTERS_SETTLE;
            while !handle.is_settled() && Instant::now() < until {
                tokio::time::sleep(FILTERS_LOOK).await;
            }
            let Some(inner) = inner.upgrade() else { return };
            let mut all = inner.wanted.borrow_mut();
            // Another reload may have had other wishes since.
            if let Some(now) = all.get_mut(&name)
                && *now == first
            {
                now.clone_from(&wanted);
                handle.subscribe(&with_probe(&wanted));
            }
        });
    }
}
