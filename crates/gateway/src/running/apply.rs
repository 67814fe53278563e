//! From one configuration to another: everything that can fail first, then the difference, between two batches.

use super::Gateway;
use crate::data_path::{DataPath, Kind, wall_ms};
use crate::embedded::Patience;
use crate::held::{LinkSettings, link_settings};
use crate::plugins;
use crate::plugins::build::{PluginInfo, Prepared};
use crate::report::{self, Changes};
use crate::users::{self, UserFile};
use crate::versions::{self, Came};
use crate::{Error, embedded, next_start, settings};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tidegate_config::Config;
use tidegate_mqtt::{Restored, RestoredMessage};
use tidegate_router::{Sent, Ticket};

impl Gateway {
    /// Whether what is wrong with this broker's files was so before, and the broker is held back for it: then a reload is
    /// not to blame.
    pub(crate) fn excuses(&self, name: &str, after: &Config) -> bool {
        let before = self.inner.config.borrow();
        let after = &next_start::in_force(&before, after);
        self.inner.held.excuses(name, before.brokers.get(name), after.brokers.get(name))
            || self.waits_for_users(name) && before.brokers.get(name) == after.brokers.get(name)
    }

    pub(super) async fn apply(&self, written: Config, patience: Patience) -> Result<Changes, Error> {
        let _one_at_a_time = self.inner.reloading.lock().await;
        self.apply_alone(written, patience, &[]).await
    }

    /// While nobody else does. Routes with plugins of components in `late` hold what comes for them.
    pub(super) async fn apply_alone(
        &self,
        written: Config,
        patience: Patience,
        late: &[PathBuf],
    ) -> Result<Changes, Error> {
        let inner = &self.inner;
        let missing = written.brokers.iter().filter_map(|(name, broker)| {
            let wrong = settings::missing_feature(broker, cfg!(feature = "nats"))?;
            Some(format!("broker `{name}`: {}", wrong.words))
        });
        let missing: Vec<String> = missing.collect();
        if !missing.is_empty() {
            return Err(Error::Config(missing));
        }
        let before = inner.config.borrow().clone();
        let files = inner.versions.borrow().asked(&written);
        let digests = tokio::task::spawn_blocking(move || versions::digests(files)).await.unwrap_or_default();
        let config = inner.versions.borrow().in_force(next_start::in_force(&before, &written), &digests);
        let config = Arc::new(config);
        let (wanted, runs) = (config.clone(), before.clone());
        let reading = move || (link_settings(&wanted, |_| true), users::read(&wanted, &runs));
        let (links, user_files) = tokio::task::spawn_blocking(reading)
            .await
            .map_err(|error| Error::Config(vec![format!("reading secrets panicked, which is a bug: {error}")]))?;
        if patience == Patience::Refuse {
            let new = |link: &&LinkSettings| {
                !inner.held.excuses(&link.name, before.brokers.get(&link.name), config.brokers.get(&link.name))
            };
            let words = |link: &LinkSettings| {
                let wrong = link.read.as_ref().err()?;
                Some(format!("broker `{}`: {}", link.name, settings::in_words(wrong)))
            };
            let mut wrong: Vec<_> = links.iter().filter(new).filter_map(words).collect();
            let users = user_files.iter().filter(|file| file.goes_on && !self.waits_for_users(&file.broker));
            wrong.extend(users.filter_map(|file| {
                let words = &file.settings.as_ref().err()?.words;
                Some(format!("broker `{}`: {words}", file.broker))
            }));
            if !wrong.is_empty() {
                return Err(Error::Config(wrong));
            }
        }
        // Sockets before links: who finds another gateway in its place must not have thrown out that one's clients.
        let here = self.listening();
        let new_brokers = embedded::open(&config, &before, patience, &here).await?;
        drop(here);
        let prepared = self.prepare(&config, late).await.map_err(Error::Config)?;
        // From here on nothing can fail.
        let difference = before.difference(&config);
        let mut changes = Changes::default();
        // At the start all of it is new, which nobody needs to hear.
        if inner.recovered.get() {
            let waiting = inner.path.borrow().waiting_by_target();
            changes = report::changes(&before, &config, &waiting);
            changes.next_start = next_start::told(&config, &inner.written.borrow(), &written);
        }
        for name in &difference.brokers.removed {
            if let Some(folder) = embedded::folder(&before, name) {
                let folder = folder.display();
                let kept = format!("what broker `{name}` kept of its clients stays in {folder}, for one of that name");
                changes.now.push(kept);
            }
            self.remove_broker(name);
        }
        for LinkSettings { name, read, material } in links {
            let settings = match read {
                Ok(settings) => settings,
                Err(wrong) => {
                    self.hold_link(&config, &name, &settings::in_words(&wrong));
                    continue;
                }
            };
            let released = inner.held.release(&name);
            let rotated = inner.material.borrow_mut().insert(name.clone(), material).is_some_and(|old| old != material);
            let added = difference.brokers.added.contains(&name);
            if added || rotated || released || difference.brokers.changed.contains(&name) {
                if rotated {
                    changes.rotated(&name, "another password or certificate");
                }
                self.start_end(&config, &name, settings);
            }
        }
        for opened in new_brokers {
            self.start_embedded(opened);
        }
        for file in user_files {
            self.set_users(file, &mut changes);
        }
        inner.again.notify_waiters();
        self.configure(&config, prepared, &mut changes);
        self.set_sources(&config, &before);
        self.set_probes(&config);
        self.subscribe(&config, &before);
        self.tell_status(&config, &before);
        self.know_versions(&written, &config, patience);
        inner.traced.want(config.traces.as_ref());
        *inner.config.borrow_mut() = config;
        *inner.written.borrow_mut() = Arc::new(written);
        inner.last_reloads.borrow_mut().applied(changes.clone());
        inner.applied.notify_one();
        Ok(changes)
    }

    /// What runs from now on is a version of each plugin, with what it did before it.
    fn know_versions(&self, written: &Config, config: &Config, patience: Patience) {
        let running: Vec<PluginInfo> = {
            let path = self.inner.path.borrow();
            let routes = path.router.routes().filter(|(_, route)| !route.removed);
            routes.flat_map(|(at, _)| path.plugins(at).to_vec()).collect()
        };
        let came = if patience == Patience::Hold { Came::Start } else { Came::Saved };
        let over = {
            let mut versions = self.inner.versions.borrow_mut();
            let over = versions.take_out(written, config);
            if !versions.run(config, running.iter(), came, wall_ms()) && over.is_empty() {
                return;
            }
            over
        };
        for plugin in over {
            tracing::info!(name: "rollback_over", plugin, "what the configuration says of this plugin runs again");
        }
        // It runs: who waits for that does not wait for the disk.
        let gateway = self.clone();
        tokio::task::spawn_local(async move { gateway.save_versions().await });
    }

    /// Builds plugins on a thread of its own: compiling never stalls traffic.
    async fn prepare(&self, config: &Arc<Config>, late: &[PathBuf]) -> Result<Vec<Prepared>, Vec<String>> {
        let Some(mut preparer) = self.inner.preparer.take() else {
            return Err(vec!["the plugin host is gone after a bug; restart the gateway".to_owned()]);
        };
        let (config, keys, late) = (config.clone(), self.inner.keys.borrow().clone(), late.to_owned());
        let built = tokio::task::spawn_blocking(move || {
            let outcome = preparer.prepare(&config, &keys, &late);
            (preparer, outcome)
        });
        match built.await {
            Ok((preparer, outcome)) => {
                self.inner.preparer.set(Some(preparer));
                outcome
            }
            Err(error) => Err(vec![format!("building the plugins panicked, which is a bug: {error}")]),
        }
    }

    /// Takes over sets, routes and plugins, once the brokers are as the configuration has them.
    fn configure(&self, config: &Config, prepared: Vec<Prepared>, changes: &mut Changes) {
        let mut path = self.inner.path.borrow_mut();
        let path = &mut *path;
        let now = path.moment(Instant::now());
        path.router.configure(config, now);
        let removed: Vec<_> = path.router.routes().filter(|(_, route)| route.removed).map(|(at, _)| at).collect();
        for route in removed {
            // What its plugins are deciding now still goes out: the verdicts find the route.
            let undecided = path.pipeline(route).crew.retire();
            if !undecided.is_empty() {
                path.router.decided(route, undecided.into_iter().map(plugins::removed).collect(), now);
            }
        }
        if prepared.iter().flat_map(|prepared| &prepared.swaps).any(|swap| !swap.meetings.is_empty()) {
            self.inner.states_moved.set(Some(Instant::now()));
        }
        let mut keys = HashMap::new();
        for (route, prepared) in config.routes.iter().zip(prepared) {
            let Some(at) = path.router.route_at(&route.name) else { continue };
            if prepared.swaps.is_empty() {
                path.hold_plugins(at, route.workers);
                continue;
            }
            changes.now.extend(prepared.changed.iter().map(|what| format!("route `{}` runs {what}", route.name)));
            path.change_plugins(at, route.workers, prepared.swaps, prepared.plugins);
            keys.insert(prepared.route, prepared.keys);
        }
        *self.inner.keys.borrow_mut() = keys;
        if !self.inner.recovered.replace(true) {
            path.recover();
        }
        path.flush(Instant::now());
    }

    /// Lets in who is in a user file now.
    fn set_users(&self, file: UserFile, changes: &mut Changes) {
        let before = self.inner.material.borrow_mut().insert(file.broker.clone(), file.material);
        let is_new = file.goes_on && before.is_some_and(|before| before != file.material);
        let Some(at) = self.broker_index(&file.broker).filter(|_| is_new) else { return };
        // What is wrong with a file has been said: nobody is let in yet.
        let own = self.inner.tasks.borrow().get(&at).and_then(|task| task.own.clone());
        let (Some(own), Ok(settings)) = (own, file.settings) else { return };
        own.reconfigure(settings);
        changes.rotated(&file.broker, "other users, access lists, certificates or limits");
    }
}

impl DataPath {
    /// At the start, before any link connects: what was being sent at QoS 2 goes on where it was.
    fn recover(&mut self) {
        let nobody: Vec<String> = self.router.waiting_for_nobody().into_iter().map(|one| one.key.target).collect();
        for (target_name, messages) in self.waiting_by_target() {
            if nobody.contains(&target_name) {
                tracing::warn!(
                    name: "recovered",
                    target_name,
                    messages,
                    "recovered from the spool: wait for a target that is not configured"
                );
            } else {
                tracing::info!(name: "recovered", target_name, messages, "recovered from the spool");
            }
        }
        let now = self.moment(Instant::now());
        for (at, sent, received) in self.router.recover(now) {
            let Kind::Link(handle) = &self.end(at).kind else {
                // It was at the end of a link, and is none any more: what it did not have goes the new way.
                let (again, done): (Vec<_>, Vec<_>) = sent.into_iter().partition(|sent| sent.message.is_some());
                let again = again.into_iter().filter_map(|Sent { ticket, message, .. }| Some((ticket, message?)));
                self.router.returned(at, again, false, now);
                done.into_iter().for_each(|Sent { ticket, .. }| self.router.complete(ticket, now));
                continue;
            };
            let restored = |Sent { serial, ticket, message }| RestoredMessage { serial, key: ticket.key(), message };
            let sent = sent.into_iter().map(restored).collect();
            for key in handle.clone().restore(Restored { sent, received }) {
                self.router.complete(Ticket::from_key(key), now);
            }
        }
        self.router.hold_for_sessions();
        self.spool_news(now.at);
    }
}
