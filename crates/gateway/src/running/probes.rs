//! Sends probes to the brokers that are to have some, for as long as the gateway runs.

use super::Gateway;
use crate::data_path::Kind;
use crate::probe::Probing;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_config::{Broker, Config};
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{RetainHandling, SubscribeFilter};

/// How often it is looked whether a broker is there.
const LOOK: Duration = Duration::from_millis(200);

impl Gateway {
    /// Takes over which brokers have probes. What stays the same goes on.
    pub(super) fn set_probes(&self, config: &Config) {
        let mut path = self.inner.path.borrow_mut();
        for (name, broker) in &config.brokers {
            let Some(at) = path.router.broker_named(name) else { continue };
            let wanted = match broker {
                Broker::Link(link) => link.probe.as_ref(),
                Broker::Embedded(_) | Broker::Nats(_) => None,
            };
            let end = path.end_mut(at);
            if end.probing.as_ref().map(Probing::probe) != wanted {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
                let mark = format!("tidegate {} {:x}-{now:x} ", config.gateway.name, std::process::id());
                end.probing = wanted.map(|probe| Probing::new(probe.clone(), mark));
            }
        }
        self.inner.probes_changed.notify_one();
    }

    /// What is to be subscribed to for the probes of a broker. Not by no-local: they are to come back.
    pub(super) fn probe_filter(&self, name: &str) -> Option<SubscribeFilter> {
        let path = self.inner.path.borrow();
        let probing = path.end(path.router.broker_named(name)?).probing.as_ref()?;
        let filter = TopicFilter::new(probing.probe().topic.as_str()).ok()?;
        let retain_handling = RetainHandling::Never;
        Some(SubscribeFilter { retain_handling, ..SubscribeFilter::new(filter, QoS::AtMostOnce) })
    }

    pub(super) async fn send_probes(self) {
        let stop = self.inner.stop.clone();
        loop {
            let now = Instant::now();
            let brokers: Vec<_> = self.inner.path.borrow().router.brokers().map(|(at, _)| at).collect();
            let mut has_some = false;
            for at in brokers {
                let mut path = self.inner.path.borrow_mut();
                let end = path.end_mut(at);
                has_some |= end.probing.is_some();
                if let (Some(probing), Kind::Link(link)) = (&mut end.probing, &end.kind)
                    && let Some(message) = probing.due(link.is_settled(), now)
                {
                    link.say(message);
                }
            }
            let wait = async {
                if has_some {
                    tokio::time::sleep(LOOK).await;
                } else {
                    self.inner.probes_changed.notified().await;
                }
            };
            if stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }
}
