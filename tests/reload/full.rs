//! A queue is full and its sources wait for room in it; then nothing is sent there any more.

use super::backlog::{DEAD, set};
use crate::fixture::{PATIENCE, Witness, broker, named_route};
use tidegate_testkit::{Client, ClientOptions, Ledger, Mosquitto, Tidegate, Version, eventually};

const SENT: usize = 300;
const QUOTA: &str = "max_messages = 50, when_full = \"block\"";

/// Home, whose messages for `dev/#` wait for room, and the plant, where `other/#` goes.
struct Full {
    home: Mosquitto,
    plant: Mosquitto,
    tidegate: Tidegate,
    other: usize,
}

impl Full {
    #[track_caller]
    fn new(rest: &str) -> Self {
        let (home, plant) = (Mosquitto::start(), Mosquitto::start());
        let tidegate = Tidegate::builder(&Self::config(&home, &plant, rest)).spawn();
        eventually("it is subscribed", PATIENCE, || {
            tidegate.get("/health").is_ok()
                && tidegate.metrics().get("tidegate_broker_ready", &[("broker", "home")]) == Some(1.0)
        });
        let mut device = Client::connect(home.port(), &ClientOptions::new(Version::V5, "device")).unwrap();
        for n in 0..SENT {
            device.publish("dev/a", n.to_string().as_bytes(), 1, false).unwrap();
        }
        let full = Self { home, plant, tidegate, other: 0 };
        eventually("the source waits", PATIENCE, || full.blocked() > 0);
        full
    }

    fn config(home: &Mosquitto, plant: &Mosquitto, rest: &str) -> String {
        let brokers = broker("home", &home.url(), "") + &broker("plant", &plant.url(), "");
        brokers + &named_route("other", "home", &["other/#"], 1, &["plant"], "") + rest
    }

    fn gauge(&self, name: &str) -> usize {
        self.tidegate.metrics().get(name, &[]).unwrap_or_default() as usize
    }

    fn blocked(&self) -> usize {
        self.gauge("tidegate_spool_blocked")
    }

    #[track_caller]
    fn edit(&self, rest: &str) {
        let before = self.gauge("tidegate_reloads_total");
        self.tidegate.edit_config(&Self::config(&self.home, &self.plant, rest));
        eventually("it is reloaded", PATIENCE, || self.gauge("tidegate_reloads_total") > before);
    }

    /// Another route of the same source carries a message.
    #[track_caller]
    fn goes_on(&mut self) {
        let witness = Witness::start(self.plant.port(), "plant", "other/#", &Ledger::new());
        let id = format!("other-{}", self.other);
        let mut device = Client::connect(self.home.port(), &ClientOptions::new(Version::V5, &id)).unwrap();
        device.publish("other/a", b"x", 1, false).unwrap();
        eventually("the other route carries", PATIENCE, || witness.count() == 1);
        assert_eq!(self.blocked(), 0);
        self.other += 1;
    }

    /// Whatever was sent arrives here, in its order for each of the names it waited for.
    #[track_caller]
    fn all_comes(&self, office: &Witness) {
        eventually("all of it is at the office", PATIENCE, || office.count() >= SENT);
        let mut came: Vec<usize> =
            office.arrivals().into_iter().map(|arrival| arrival.mark.parse().expect("a number")).collect();
        came.sort_unstable();
        assert_eq!(came, (0..SENT).collect::<Vec<_>>());
        eventually("nothing waits", PATIENCE, || self.gauge("tidegate_spool_queued") == 0);
        assert_eq!(self.gauge("tidegate_route_imbalance"), 0);
    }
}

fn to(target: &str) -> String {
    named_route("r", "home", &["dev/#"], 1, &[target], "")
}

fn office_of(url: &str) -> String {
    broker("office", url, &format!("spool = {{ {QUOTA} }}"))
}

fn witness(office: &Mosquitto) -> Witness {
    Witness::start(office.port(), "office", "dev/#", &Ledger::new())
}

#[test]
fn a_full_target_that_is_renamed_holds_nobody_up() {
    let office = Mosquitto::start();
    let came = witness(&office);
    let mut full = Full::new(&(office_of(DEAD) + &to("office")));
    let renamed = broker("hq", &office.url(), "") + &to("hq");
    full.edit(&renamed);
    full.goes_on();
    full.edit(&(renamed + &office_of(&office.url())));
    full.all_comes(&came);
}

#[test]
fn a_full_target_that_is_removed_with_its_route_holds_nobody_up() {
    let office = Mosquitto::start();
    let came = witness(&office);
    let mut full = Full::new(&(office_of(DEAD) + &to("office")));
    full.edit("");
    full.goes_on();
    full.edit(&(office_of(&office.url()) + &to("office")));
    full.all_comes(&came);
}

#[test]
fn a_full_target_that_no_route_has_any_more_holds_nobody_up() {
    let office = Mosquitto::start();
    let came = witness(&office);
    let mut full = Full::new(&(office_of(DEAD) + &to("office")));
    full.edit(&(office_of(DEAD) + &to("plant").replace("dev/#", "nothing/#")));
    full.goes_on();
    full.edit(&(office_of(&office.url()) + &to("office")));
    full.all_comes(&came);
}

#[test]
fn a_full_set_that_is_renamed_holds_nobody_up() {
    let office = Mosquitto::start();
    let came = witness(&office);
    let set = |name: &str| set(&["office"]).replace("[targets.up]", &format!("[targets.{name}]"));
    let limited = |name: &str| format!("{}spool = {{ {QUOTA} }}\n", set(name));
    let mut full = Full::new(&(broker("office", DEAD, "") + &limited("up") + &to("up")));
    full.edit(&(broker("office", DEAD, "") + &set("higher") + &to("higher")));
    full.goes_on();
    let brokers = broker("office", &office.url(), "");
    full.edit(&(brokers + &set("higher") + &set("up") + &to("higher")));
    full.all_comes(&came);
}
