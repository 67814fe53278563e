//! What waits on disk for a target: how much of it, how long, in which order it leaves, and what it costs the others.
//!
//! | Module | What it shows |
//! |---|---|
//! | `durable` | a source is told when its message is on disk |
//! | `failing` | a disk whose fsync fails |
//! | `quotas` | `max_messages` with each `when_full`, `max_age`, MQTT 5 expiry |
//! | `tools` | `tidegate spool status`, `verify`, `export` |
//! | `leaving` | priorities, `drain_rate`, `mark_late` |
//! | `full` | a disk that is full, again and again |
//! | `beside` | a target that is away beside one that is not |

mod beside;
mod durable;
mod failing;
mod full;
mod leaving;
mod quotas;
mod tools;

use crate::fixture::{PATIENCE, Witness, assert_balanced, broker, named_route, route};
use std::time::Duration;
use tidegate_testkit::{
    ClientOptions, FaultProxy, Id, Ledger, Metrics, Mosquitto, MosquittoSub, Publisher, PublisherOptions, Tidegate,
    Version, eventually, free_port, mosquitto_pub,
};

/// The box's own broker `device` on a port, `office`, which nobody is, and a route from one to the other with these keys.
fn from_the_box(route: &str) -> (u16, String) {
    let (device, nobody) = (free_port(), free_port());
    let mut config = format!("[brokers.device]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{device}\"]\n");
    config += &broker("office", &format!("mqtt://127.0.0.1:{nobody}"), "");
    (device, config + &named_route("up", "device", &["dev/#"], 2, &["office"], route))
}

/// `home`, the gateway, a proxy, and `office`, which is away from the start.
struct Queue {
    home: Mosquitto,
    tidegate: Tidegate,
    to_office: FaultProxy,
    office: Mosquitto,
    ledger: Ledger,
}

impl Queue {
    /// With keys of the office's `spool`, and routes.
    #[track_caller]
    fn start(spool: &str, routes: &str) -> Self {
        let (home, office) = (Mosquitto::start(), Mosquitto::start());
        let to_office = FaultProxy::start(office.port());
        let keys = format!("version = \"5\"\nreconnect = {{ min = \"20ms\", max = \"100ms\" }}\nspool = {{ {spool} }}");
        let config =
            broker("home", &home.url(), "version = \"5\"") + &broker("office", &to_office.url(), &keys) + routes;
        let tidegate = Tidegate::start(&config);
        to_office.refuse(true);
        to_office.reset();
        Self { home, tidegate, to_office, office, ledger: Ledger::new() }
    }

    /// One route, of everything below `dev/`.
    #[track_caller]
    fn of_one_route(spool: &str) -> Self {
        Self::start(spool, &route("home", &["dev/#"], &["office"], ""))
    }

    /// Publishes so many of one key at QoS 1 to `TREE/KEY/temp`, all acknowledged by the broker.
    #[track_caller]
    fn publish(&self, tree: &str, key: &str, count: u64) {
        let client = ClientOptions::new(Version::V5, &format!("publisher-{key}"));
        let mut options = PublisherOptions::new(client, &format!("{tree}/{{key}}/temp"));
        (options.keys, options.count, options.key_prefix) = (1, Some(count), key.to_owned());
        Publisher::start(self.home.port(), options, &self.ledger).finish(PATIENCE);
    }

    /// Sees everything that comes to the office, from before anything can.
    #[track_caller]
    fn witness(&self) -> Witness {
        Witness::start(self.office.port(), "office", "#", &self.ledger)
    }

    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.tidegate.metrics().get(name, labels).unwrap_or(0.0) as u64
    }

    /// Waits until so many have come from the source and their source has been told of all of them.
    #[track_caller]
    fn taken(&self, count: u64) {
        eventually("they are taken and acknowledged", PATIENCE, || {
            self.count("tidegate_route_received_total", &[]) == count && self.count("tidegate_unacknowledged", &[]) == 0
        });
    }

    #[track_caller]
    fn dropped(&self, reason: &str) -> u64 {
        self.count("tidegate_route_dropped_total", &[("reason", reason)])
    }

    /// The target is back; what waits for it arrives, up to a message that is sent last; says what came before it.
    #[track_caller]
    fn drain(&self, witness: &Witness) -> (Vec<Id>, Metrics) {
        self.to_office.heal();
        // Whatever has the lowest priority and comes last of it.
        eventually("everything is delivered", PATIENCE, || self.count("tidegate_route_in_flight", &[]) == 0);
        let metrics = assert_balanced(&self.tidegate);
        let out = metrics.get("tidegate_route_out_total", &[]).unwrap_or(0.0) as usize;
        eventually("what is delivered arrives", PATIENCE, || witness.count() >= out);
        let arrived = witness.arrivals().into_iter().filter_map(|arrival| arrival.id).collect();
        (arrived, metrics)
    }
}

fn ids(key: &str, range: std::ops::Range<u64>) -> Vec<Id> {
    range.map(|n| Id::new(format!("{key}0"), n)).collect()
}
