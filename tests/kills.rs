//! The gateway ends, in every way it can, with messages in its sessions, its plugins and its spool.
//!
//! | Module | What it shows |
//! |---|---|
//! | `random` | `kill -9` at random instants under load: QoS 1 and 2, the target there and away, with a plugin |
//! | `own` | `kill -9` of a box whose devices have no other broker, alone and with one behind it |
//! | `backlog` | SIGTERM with the target away; kills while a backlog drains |
//! | `remembered` | parked messages and the state of plugins outlive `kill -9` |

mod backlog;
mod own;
mod random;
mod remembered;

use crate::fixture::{PATIENCE, assert_balanced, broker, named_route, plugin, route};
use std::time::Duration;
use tidegate_testkit::{
    Check, Client, ClientOptions, FaultProxy, Id, Ledger, Metrics, Mosquitto, Publisher, PublisherOptions, Subscriber,
    SubscriberOptions, Tidegate, Version, eventually,
};

/// Messages a second, unless a test asks for another rate.
const RATE: u32 = 1_500;

/// A backlog of many kills takes its time.
const LONG_PATIENCE: Duration = Duration::from_secs(180);

/// Rewrites `dev/KEY/temp` to `site/KEY/temp`, which is what the route does by itself where there is no plugin.
const RETOPIC: &str = r#"
[plugins.site]
path = "plugins/retopic.wasm"
config = { strip = "dev/", prefix = "site/" }
grants = { topics = ["site/#"] }
"#;

/// Publisher, `home`, gateway, proxy, `office`, subscriber. Both brokers stay up, and keep every session.
struct Line {
    home: Mosquitto,
    tidegate: Tidegate,
    to_office: FaultProxy,
    office: Mosquitto,
    qos: u8,
    ledger: Ledger,
    subscriber: Subscriber,
}

impl Line {
    /// Ready, with nothing published yet.
    #[track_caller]
    fn start(qos: u8, with_plugin: bool) -> Self {
        // mosquitto 2.0 sends again what is beyond its window without asking whether it was released.
        let mosquitto = || Mosquitto::builder().max_inflight(2_000).start();
        let (home, office) = (mosquitto(), mosquitto());
        let to_office = FaultProxy::start(office.port());
        let keys = "version = \"5\"\nreconnect = { min = \"20ms\", max = \"100ms\" }";
        let mut config = broker("home", &home.url(), keys) + &broker("office", &to_office.url(), keys);
        config += match with_plugin {
            true => RETOPIC,
            false => "",
        };
        config += &route(
            "home",
            &["dev/#"],
            &["office"],
            match with_plugin {
                true => "plugins = [\"site\"]",
                false => "remap = { strip = \"dev/\", prefix = \"site/\" }",
            },
        );
        let tidegate = Tidegate::builder(&config).file("plugins/retopic.wasm", plugin("retopic")).start();
        let ledger = Ledger::new();
        let client = ClientOptions::new(Version::V5, "subscriber").clean(false);
        let options = SubscriberOptions::new(client, "office", "site/+/temp", qos);
        let subscriber = Subscriber::start(office.port(), options, &ledger);
        Self { home, tidegate, to_office, office, qos, ledger, subscriber }
    }

    /// Publishes without an end.
    #[track_caller]
    fn publish(&self, rate: u32) -> Publisher {
        let client = ClientOptions::new(Version::V5, "publisher").clean(false);
        let mut options = PublisherOptions::new(client, "dev/{key}/temp");
        (options.qos, options.rate) = (self.qos, rate);
        Publisher::start(self.home.port(), options, &self.ledger)
    }

    /// Publishes so many, all of them acknowledged by the source broker.
    #[track_caller]
    fn publish_all(&self, count: u64) {
        let client = ClientOptions::new(Version::V5, "publisher").clean(false);
        let mut options = PublisherOptions::new(client, "dev/{key}/temp");
        (options.qos, options.count) = (self.qos, Some(count));
        Publisher::start(self.home.port(), options, &self.ledger).finish(PATIENCE);
    }

    /// Nobody reaches the target from here on; what is under way is cut.
    fn cut(&self) {
        self.to_office.refuse(true);
        self.to_office.reset();
    }

    /// The target is there again.
    fn heal(&self) {
        self.to_office.heal();
    }

    /// Waits until so many more messages have arrived.
    #[track_caller]
    fn carries(&self, more: u64) {
        let before = self.subscriber.received();
        eventually("messages arrive", LONG_PATIENCE, || self.subscriber.received() >= before + more);
    }

    /// Waits for everything, with nobody publishing any more; compares; nothing is lost, nothing out of order, and at
    /// QoS 2 nothing comes twice.
    #[track_caller]
    fn finish(mut self) -> (Check, Metrics) {
        self.tidegate.wait_ready(PATIENCE);
        self.last("last");
        let metrics = assert_balanced(&self.tidegate);
        assert_eq!(metrics.get("tidegate_route_dropped_total", &[]).unwrap_or(0.0), 0.0);
        // Behind the last message there could only be a repetition: this one comes after it.
        let id = Id::new("behind", 0);
        self.ledger.published(id.clone());
        let mut client = self.client(self.office.port());
        client.publish("site/behind/temp", &id.encode(0), self.qos, false).expect("published");
        self.arrives(&id);
        self.subscriber.stop();
        let check = self.ledger.check("office");
        check.assert_at_least_once().assert_in_order();
        if self.qos == 2 {
            check.assert_at_most_once();
        }
        (check, metrics)
    }

    /// Publishes one more message at the source, and waits for it.
    #[track_caller]
    fn last(&self, key: &str) {
        let id = Id::new(key, 0);
        self.ledger.published(id.clone());
        let mut client = self.client(self.home.port());
        client.publish(&format!("dev/{key}/temp"), &id.encode(0), self.qos, false).expect("published");
        self.ledger.acknowledged(&id);
        self.arrives(&id);
    }

    #[track_caller]
    fn arrives(&self, id: &Id) {
        let arrived = || self.ledger.check_of("office", |other| other == id).missing.is_empty();
        // Counted first: a look at the whole ledger holds up those who write it.
        let all = self.ledger.published_count() as u64;
        tidegate_testkit::within(LONG_PATIENCE, || self.subscriber.received() >= all);
        eventually("the last message arrives", PATIENCE, arrived);
    }

    #[track_caller]
    fn client(&self, port: u16) -> Client {
        Client::connect(port, &ClientOptions::new(Version::V5, "last")).expect("the broker is up")
    }
}
