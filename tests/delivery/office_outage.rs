//! The office is away for long, under load: home does not notice, and the office gets everything afterwards.
//!
//! At home are the box's own broker and a mosquitto in the barn; the office, a mosquitto too, is behind a proxy. What clients
//! publish at either broker goes to the other and to the office, at QoS 1. Home's publishers wait for their acknowledgements,
//! with a window: if anything at home waited for the office, they would not come to their end while it is away.

use crate::fixture::{PATIENCE, assert_balanced, broker, named_route};
use tidegate_testkit::{
    Client, ClientOptions, FaultProxy, Id, Ledger, Mosquitto, Publisher, PublisherOptions, Subscriber,
    SubscriberOptions, Tidegate, Version, eventually, free_port, mosquitto_pub,
};

/// Published at each of home's brokers before the cut and across it.
const EARLY: u64 = 2_000;

/// Published at the box while the office is away: more than a lane holds in memory.
const LATE: u64 = 25_000;

/// The same in the barn, where mosquitto lets a publisher have 20 under way.
const LATE_AT_THE_BARN: u64 = 5_000;

/// So many are at the office before it is cut off.
const SOME: u64 = 200;

/// What mosquitto lets the gateway have under way (its receive maximum): no more may come twice after a cut.
const WINDOW: usize = 20;

struct Site {
    box_port: u16,
    barn: Mosquitto,
    office: Mosquitto,
    to_office: FaultProxy,
    tidegate: Tidegate,
    ledger: Ledger,
    at_office: Subscriber,
    at_home: [Subscriber; 2],
}

impl Site {
    #[track_caller]
    fn start() -> Self {
        let (barn, office, box_port) = (Mosquitto::start(), Mosquitto::start(), free_port());
        let to_office = FaultProxy::start(office.port());
        let keys = "keep_alive = \"1s\"\nconnect_timeout = \"1s\"\nreconnect = { min = \"20ms\", max = \"100ms\" }";
        let mut config = format!("[brokers.box]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{box_port}\"]\n");
        config += &(broker("barn", &barn.url(), "") + &broker("office", &to_office.url(), keys));
        config += &named_route("box-barn", "box", &["box/#"], 1, &["barn"], "");
        config += &named_route("box-office", "box", &["box/#"], 1, &["office"], "");
        config += &named_route("barn-box", "barn", &["barn/#"], 1, &["box"], "");
        config += &named_route("barn-office", "barn", &["barn/#"], 1, &["office"], "");
        config += &named_route("commands", "office", &["cmd/#"], 1, &["box"], "");
        let (tidegate, ledger) = (Tidegate::start(&config), Ledger::new());
        let subscriber = |port, name: &str| {
            let client = ClientOptions::new(Version::V5, &format!("all-at-{name}"));
            let mut options = SubscriberOptions::new(client, name, "box/+/temp", 1);
            options.filters.push(("barn/+/temp".to_owned(), 1));
            Subscriber::start(port, options, &ledger)
        };
        let at_office = subscriber(office.port(), "office");
        let at_home = [subscriber(box_port, "box"), subscriber(barn.port(), "barn")];
        Self { box_port, barn, office, to_office, tidegate, ledger, at_office, at_home }
    }

    /// One at each of home's brokers, whose keys begin with `when`.
    #[track_caller]
    fn publishers(&self, when: &str, [at_box, at_barn]: [u64; 2]) -> [Publisher; 2] {
        [("box", self.box_port, at_box), ("barn", self.barn.port(), at_barn)].map(|(place, port, count)| {
            let client = ClientOptions::new(Version::V5, &format!("{when}-{place}")).window(500);
            let mut options = PublisherOptions::new(client, &format!("{place}/{{key}}/temp"));
            (options.key_prefix, options.count) = (format!("{when}-{place}-"), Some(count));
            Publisher::start(port, options, &self.ledger)
        })
    }

    fn is_up(&self, broker: &str) -> bool {
        self.tidegate.metrics().get("tidegate_broker_up", &[("broker", broker)]) == Some(1.0)
    }

    #[track_caller]
    fn is_noticed(&self) {
        eventually("it is noticed that the office is away", PATIENCE, || !self.is_up("office"));
    }

    /// Cuts the office off under load, and in other ways while more is published at home.
    #[track_caller]
    fn outage(self, cut: impl Fn(&Self), meanwhile: impl Fn(&Self)) {
        let early = self.publishers("early", [EARLY; 2]);
        eventually("some is at the office", PATIENCE, || self.at_office.received() > SOME);
        cut(&self);
        let late = self.publishers("late", [LATE, LATE_AT_THE_BARN]);
        meanwhile(&self);
        for publisher in early.into_iter().chain(late) {
            publisher.finish(PATIENCE);
        }
        let all = self.ledger.published_count();
        assert_eq!(all as u64, 2 * EARLY + LATE + LATE_AT_THE_BARN);
        for name in ["box", "barn"] {
            eventually("home has all that was published", PATIENCE, || self.ledger.received_count(name) >= all);
            self.ledger.check(name).assert_exactly_once().assert_nothing_missing().assert_in_order();
        }
        assert!(self.is_up("barn"));

        // And all that while the office got none of it: it waits on disk.
        let late = (LATE + LATE_AT_THE_BARN) as usize;
        assert_eq!(self.ledger.check_of("office", is_late).missing.len(), late);
        let waits = self.tidegate.metrics().get("tidegate_spool_queued", &[("target", "office")]);
        assert!(waits >= Some(late as f64), "{waits:?} wait for the office, which has none of {late}");

        self.to_office.heal();
        eventually("the office has everything", PATIENCE * 2, || self.at_office.received() as usize >= all);
        self.ends(all);
    }

    /// Compares what the office has, when nothing is under way any more; and its commands come home.
    #[track_caller]
    fn ends(self, all: usize) {
        let metrics = assert_balanced(&self.tidegate);
        assert_eq!(metrics.get("tidegate_route_dropped_total", &[]).unwrap_or(0.0), 0.0);
        // One that is behind everything, in the session of the office's subscriber too.
        let behind = Id::new("behind", 0);
        self.ledger.published(behind.clone());
        let mut client = Client::connect(self.office.port(), &ClientOptions::new(Version::V5, "behind")).unwrap();
        client.publish("box/behind/temp", &behind.encode(0), 1, false).unwrap();
        eventually("nothing more comes", PATIENCE, || {
            self.ledger.check_of("office", |id| *id == behind).missing.is_empty()
        });
        let check = self.ledger.check("office");
        check.assert_at_least_once().assert_nothing_missing().assert_in_order().assert_published(all);
        let repeated = &check.repeated;
        assert!(
            repeated.iter().all(|(id, _)| !is_late(id)),
            "nothing of this had left when the office was cut off: {check}"
        );
        assert!(repeated.len() <= WINDOW, "no more than was unacknowledged: {check}");

        let mut client = Client::connect(self.box_port, &ClientOptions::new(Version::V5, "lamp")).unwrap();
        client.subscribe(&[("cmd/#", 1)]).unwrap();
        mosquitto_pub(self.office.port(), &["-q", "1", "-t", "cmd/lamp", "-m", "on"]);
        assert_eq!(client.receive(PATIENCE).unwrap().map(|command| command.payload), Some(b"on".to_vec()));
        self.at_office.stop();
        for subscriber in self.at_home {
            subscriber.stop();
        }
    }
}

fn is_late(id: &Id) -> bool {
    id.key.starts_with("late-")
}

/// Connections end, and new ones are refused.
fn refuses(site: &Site) {
    site.to_office.refuse(true);
    site.to_office.close();
}

/// Connections stand, new ones are accepted, and nobody says a word.
fn is_silent(site: &Site) {
    site.to_office.black_hole(true);
}

#[test]
fn home_goes_on_while_the_office_refuses_connections() {
    Site::start().outage(refuses, Site::is_noticed);
}

#[test]
fn home_goes_on_while_nothing_comes_from_the_office() {
    Site::start().outage(is_silent, |_| ());
}

#[test]
fn home_goes_on_while_the_office_is_silent_then_refuses_then_is_silent() {
    Site::start().outage(is_silent, |site| {
        site.is_noticed();
        refuses(site);
        let accepted = site.to_office.accepted();
        site.to_office.refuse(false);
        eventually("it is tried again", PATIENCE, || site.to_office.accepted() > accepted + 1);
        site.is_noticed();
    });
}
