//! Plugins that misbehave, beside an honest route that must not notice.
//!
//! | Module | What it shows |
//! |---|---|
//! | `beside` | every way to misbehave, next to an honest route from the same broker |
//! | `policies` | `on_failure`: park, drop, pass and block; the operator's way with what is parked |
//! | `circuits` | poison, circuits that open and close, bounded retries, slow and leaking plugins |
//! | `grants` | what a plugin may send, and what it may import |
//! | `workers` | several instances of a route's plugins: order, one that is stuck, other numbers under traffic |

mod beside;
mod circuits;
mod grants;
mod policies;
mod workers;

use crate::fixture::{PATIENCE, Witness, assert_balanced, memory_peak_bytes, plugin, run};
use serde_json::Value;
use tidegate_testkit::{
    Client, ClientOptions, Ledger, Metrics, Mosquitto, Publisher, PublisherOptions, Tidegate, TidegateBuilder, Version,
    eventually, within,
};

/// What the gateway may use at its peak, whatever plugins do: compiling, two plugins of 16 MiB each, and itself.
const MEMORY_MAX_BYTES: u64 = 200 << 20;

/// The route under test takes `bad/+`, goes through the plugin `bad`, and ends at the office under `from-bad/`.
struct House {
    home: Mosquitto,
    office: Mosquitto,
    ledger: Ledger,
}

/// What differs from test to test: keys of `[plugins.bad]` and of its route, as lines of TOML.
#[derive(Debug, Clone, Copy, Default)]
struct Bad<'a> {
    component: &'a str,
    plugin: &'a str,
    route: &'a str,
}

impl House {
    #[track_caller]
    fn new() -> Self {
        Self { home: Mosquitto::start(), office: Mosquitto::start(), ledger: Ledger::new() }
    }

    fn config(&self, bad: &Bad<'_>) -> String {
        let (home, office) = (self.home.url(), self.office.url());
        let Bad { plugin, route, .. } = bad;
        format!(
            r#"
            [brokers.home]
            url = "{home}"
            [brokers.office]
            url = "{office}"
            [plugins.honest]
            path = "plugins/honest.wasm"
            limits = {{ deadline = "5s" }}
            [plugins.bad]
            path = "plugins/bad.wasm"
            {plugin}
            [[routes]]
            name = "honest"
            from = {{ broker = "home", topics = ["dev/+/temp"] }}
            plugins = ["honest"]
            to = ["office"]
            remap = {{ strip = "dev/", prefix = "honest/" }}
            [[routes]]
            name = "bad"
            from = {{ broker = "home", topics = ["bad/+"] }}
            plugins = ["bad"]
            to = ["office"]
            remap = {{ strip = "bad/", prefix = "from-bad/" }}
            {route}
            "#
        )
    }

    fn gateway(&self, bad: &Bad<'_>) -> TidegateBuilder {
        let builder = Tidegate::builder(&self.config(bad));
        builder.file("plugins/honest.wasm", plugin("versioned-v1")).file("plugins/bad.wasm", plugin(bad.component))
    }

    /// Sees everything that arrives at the office.
    #[track_caller]
    fn witness(&self) -> Witness {
        Witness::start(self.office.port(), "office", "#", &Ledger::new())
    }

    /// Honest traffic at QoS 1, and what of it arrives.
    #[track_caller]
    fn honest_traffic(&self) -> (Publisher, Witness) {
        let witness = Witness::start(self.office.port(), "honest", "honest/#", &self.ledger);
        let client = ClientOptions::new(Version::V5, "publisher-honest");
        let mut options = PublisherOptions::new(client, "dev/{key}/temp");
        options.rate = 1_000;
        (Publisher::start(self.home.port(), options, &self.ledger), witness)
    }

    /// All of the honest traffic came, once, in order, and through its plugin.
    #[track_caller]
    fn assert_honest(&self, (publisher, witness): (Publisher, Witness)) {
        eventually("the honest route has carried something", PATIENCE, || witness.count() >= 200);
        let sent = publisher.stop() as usize;
        // If not, the check says what is missing.
        within(PATIENCE, || witness.count() >= sent);
        let check = self.ledger.check("honest");
        check.assert_exactly_once().assert_in_order().assert_nothing_missing().assert_published(200);
        assert!(witness.arrivals().iter().all(|arrival| arrival.mark == " v1"));
    }

    #[track_caller]
    fn client(&self) -> Client {
        Client::connect(self.home.port(), &ClientOptions::new(Version::V5, "publisher-bad")).expect("it connects")
    }
}

/// Publishes `bad/<n>` at QoS 1 for each payload.
#[track_caller]
fn send<P: AsRef<[u8]>>(client: &mut Client, payloads: impl IntoIterator<Item = P>) {
    for (number, payload) in payloads.into_iter().enumerate() {
        client.send(&format!("bad/{number}"), payload.as_ref(), 1, false).expect("it is sent");
    }
    eventually("the broker has all of it", PATIENCE, || {
        client.turn(std::time::Duration::from_millis(1)).expect("the connection stays");
        client.in_flight() == 0
    });
}

/// A counter of the route or plugin under test.
fn of_bad(metrics: &Metrics, name: &str) -> u64 {
    metrics.get(name, &[("route", "bad")]).unwrap_or_default() as u64
}

fn faults(metrics: &Metrics, kind: &str) -> u64 {
    metrics.get("tidegate_plugin_faults_total", &[("route", "bad"), ("kind", kind)]).expect("a known kind") as u64
}

/// Waits until the route has taken so many messages and none of them is under way.
#[track_caller]
fn settled(tidegate: &Tidegate, count: u64) -> Metrics {
    eventually("the route has dealt with all", PATIENCE, || {
        let metrics = tidegate.metrics();
        let taken = of_bad(&metrics, "tidegate_route_received_total");
        assert!(taken <= count, "{taken} of {count} messages came");
        taken == count && of_bad(&metrics, "tidegate_route_in_flight") == 0
    });
    tidegate.metrics()
}

/// What `tidegate parked WORDS` prints.
#[track_caller]
fn operator(tidegate: &Tidegate, words: &[&str]) -> String {
    let config = tidegate.dir().join("tidegate.toml").display().to_string();
    let mut args = vec!["parked"];
    args.extend(words);
    args.extend(["--config", &config]);
    let output = run(&args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tidegate {args:?} ends with {}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `/parked` lists.
#[track_caller]
fn parked(tidegate: &Tidegate) -> Vec<Value> {
    let (status, body) = tidegate.get("/parked").expect("the admin listener answers");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("a list in JSON")
}
