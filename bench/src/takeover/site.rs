//! Brokers behind proxies, and a gateway whose devices are at home on its own broker.

use anyhow::{Result, bail};
use std::path::Path;
use std::time::Duration;
use tidegate_testkit::{FaultProxy, Mosquitto, Tidegate, free_port, within};

/// Anything may take this long before the benchmark gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What devices publish to.
pub(super) const FILTER: &str = "d/#";

/// A broker behind a proxy.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) broker: Mosquitto,
    pub(super) proxy: FaultProxy,
}

/// The gateway and the brokers that it sends to.
pub(super) struct Site {
    pub(super) home_port: u16,
    pub(super) places: Vec<Place>,
    pub(super) gateway: Tidegate,
}

impl Site {
    /// `places` are `m0`, `m1` and so on. `keys` are those of each broker, `rest` is what stands behind them: sets and routes.
    pub(super) fn start(tidegate: &Path, places: usize, keys: &str, rest: &str) -> Self {
        let place = |n: usize| {
            let broker = Mosquitto::start();
            Place { name: format!("m{n}"), proxy: FaultProxy::start(broker.port()), broker }
        };
        let places: Vec<Place> = (0..places).map(place).collect();
        let home_port = free_port();
        let mut config = format!("[brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{home_port}\"]\n");
        for Place { name, proxy, .. } in &places {
            config += &format!("[brokers.{name}]\nurl = \"{}\"\n{keys}\n", proxy.url());
        }
        let gateway = Tidegate::builder(&(config + rest)).binary(tidegate).start();
        Self { home_port, places, gateway }
    }

    /// Everything goes to one set of all places, with these keys of the set.
    pub(super) fn of_set(tidegate: &Path, places: usize, keys: &str, set: &str) -> Self {
        let members: Vec<String> = (0..places).map(|n| format!("m{n}")).collect();
        let rest = format!("[targets.u]\nmembers = {members:?}\n{set}\n{}", route("all", "u"));
        Self::start(tidegate, places, keys, &rest)
    }

    /// How much of all topics a member gets.
    pub(super) fn share(&self, place: &Place) -> f64 {
        self.gateway.metrics().get("tidegate_set_share", &[("broker", &place.name)]).unwrap_or(f64::NAN)
    }

    /// How many messages wait on disk, or are under way from there.
    pub(super) fn waiting(&self) -> f64 {
        self.gateway.metrics().get("tidegate_spool_queued", &[]).unwrap_or(0.0)
    }

    /// Waits for something, and fails with the gateway's log if it does not come.
    pub(super) fn wait(&self, what: &str, condition: impl FnMut() -> bool) -> Result<()> {
        if !within(PATIENCE, condition) {
            bail!("not within {PATIENCE:?}: {what}\n{}", self.gateway.log());
        }
        Ok(())
    }
}

/// From the devices to a broker or a set.
pub(super) fn route(name: &str, to: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\nfrom = {{ broker = \"home\", topics = [\"{FILTER}\"], qos = 1 }}\nto = [\"{to}\"]\n"
    )
}
