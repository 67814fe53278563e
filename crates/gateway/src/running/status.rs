//! Publishes what the gateway says of its own state at each broker that is to be told: at a start, at reloads, now and then.

use super::Gateway;
use crate::data_path::Kind;
use crate::status;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tidegate_broker::Local;
use tidegate_config::Config;
use tidegate_link::LinkHandle;
use tidegate_message::{Message, QoS, Topic};
use tidegate_router::BrokerId;

/// What a broker has been told of our state in this process.
#[derive(Default)]
pub(super) struct ToldStatus {
    /// Where it was then.
    at: Option<BrokerId>,
    /// Topics on which nothing is to be retained any more.
    gone: Vec<Topic>,
    had_counters: bool,
}

/// How a broker is told something past the routes.
enum Way {
    Link(LinkHandle),
    /// The box's own.
    Own(Local),
}

impl Way {
    fn say(&self, message: Message) {
        match self {
            Self::Link(handle) => handle.say(message),
            Self::Own(local) => {
                // Nobody waits for what it says of it.
                let _ = local.publish(message);
            }
        }
    }
}

impl Gateway {
    fn way_to(&self, broker: &str) -> Option<Way> {
        let at = self.broker_index(broker)?;
        match &self.inner.path.borrow().end(at).kind {
            Kind::Link(handle) => Some(Way::Link(handle.clone())),
            Kind::Embedded { local, .. } => Some(Way::Own(local.clone())),
            #[cfg(feature = "nats")]
            Kind::Nats(_) => None,
            Kind::Gone => None,
        }
    }

    /// Another configuration is in force: says what is new of it, and takes away what is not said any more. `before` is
    /// what was in force; the brokers are as `config` has them.
    pub(super) fn tell_status(&self, config: &Config, before: &Config) {
        let gateway = &config.gateway.name;
        for (name, broker) in &config.brokers {
            let Some(way) = self.way_to(name) else { continue };
            let (was, is) = (before.brokers.get(name).and_then(|broker| broker.status()), broker.status());
            let kept: Vec<Topic> = is.map(|status| status::topics(gateway, status)).unwrap_or_default();
            let mut gone: Vec<Topic> = was.map(|status| status::topics(gateway, status)).unwrap_or_default();
            gone.extend(was.map(|status| status.topic.clone()));
            let stays = |topic: &Topic| kept.contains(topic) || is.is_some_and(|status| status.topic == *topic);
            gone.retain(|topic| !stays(topic));
            let mut all_told = self.inner.told_status.borrow_mut();
            let told = all_told.entry(name.clone()).or_default();
            told.had_counters |= was.is_some_and(|status| status.counters.is_some());
            let lasting = is.and_then(|status| status::lasting(gateway, status, told.had_counters));
            let place = self.broker_index(name);
            let is_new = std::mem::replace(&mut told.at, place) != place;
            match &way {
                Way::Link(handle) => {
                    told.gone.retain(|topic| !stays(topic));
                    told.gone.extend(gone);
                    told.gone.sort_unstable();
                    told.gone.dedup();
                    // At each connection, for the broker may be away now.
                    let all = told.gone.iter().cloned().map(status::removal).chain(lasting);
                    handle.set_lasting(all.collect());
                }
                Way::Own(_) => {
                    gone.into_iter().for_each(|topic| way.say(status::removal(topic)));
                    if is_new || was != is {
                        let online = is.map(|status| status::announced(status, QoS::AtLeastOnce).online);
                        online.into_iter().chain(lasting).for_each(|message| way.say(message));
                    }
                }
            }
        }
        self.inner.status_changed.notify_one();
    }

    /// Publishes the counters, for as long as the gateway runs.
    pub(super) async fn tell_counters(self) {
        let (started, stop) = (Instant::now(), self.inner.stop.clone());
        let mut told: HashMap<String, (Duration, Instant)> = HashMap::new();
        while !stop.is_cancelled() {
            let now = Instant::now();
            let config = self.config();
            let wanted = || {
                let brokers = config.brokers.iter();
                brokers.filter_map(|(name, broker)| Some((name, broker.status()?, broker.status()?.counters?)))
            };
            told.retain(|name, (every, _)| wanted().any(|(known, _, now)| known == name && now == *every));
            let is_due = |name: &String| told.get(name).is_none_or(|(_, next)| *next <= now);
            let due: Vec<_> = wanted().filter(|(name, ..)| is_due(name)).collect();
            if !due.is_empty() {
                let all = self.snapshot();
                for (name, status, every) in due {
                    told.insert(name.clone(), (every, now + every));
                    let message = status::counters(status, &all, now - started);
                    message.into_iter().zip(self.way_to(name)).for_each(|(message, way)| way.say(message));
                }
            }
            let next = told.values().map(|(_, next)| *next).min();
            let wait = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.inner.status_changed.notified() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// The clients of the box's own broker are told that it ends; who connects elsewhere is told by a farewell.
    pub(super) fn tell_offline(&self) {
        let config = self.config();
        for (name, broker) in &config.brokers {
            if let (Some(status), Some(Way::Own(local))) = (broker.status(), self.way_to(name)) {
                local.publish(status::announced(status, QoS::AtLeastOnce).offline);
            }
        }
    }
}
