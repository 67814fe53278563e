//! Nothing is put aside because of the network: hundreds of real cuts, and a broker that restarts again and again.

use super::*;
use crate::fixture::{Dice, assert_balanced, route};
use std::time::Duration;
use tidegate_testkit::{
    ClientOptions, Direction, FaultProxy, Ledger, Metrics, Mosquitto, Publisher, PublisherOptions, Subscriber,
    SubscriberOptions, Version,
};

/// What is cut, in all; `TIDEGATE_CUTS` says another number.
const CUTS: u64 = 300;

/// From one cut to the next, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 2..60;

/// Messages a second.
const RATE: u32 = 400;

/// Each broker restarts so often.
const RESTARTS: usize = 12;

/// Both directions at once between two mosquittos: `there` and `back`, each with its own publisher and subscriber.
struct Traffic {
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    ledger: Ledger,
    qos: u8,
}

impl Traffic {
    fn config(home: &str, office: &str, version: &str) -> String {
        link("home", home, version, "keep_alive = \"2s\"")
            + &link("office", office, version, "keep_alive = \"2s\"")
            + &route("home", &["there/#"], &["office"], "")
            + &route("office", &["back/#"], &["home"], "")
    }

    #[track_caller]
    fn start(home: &Mosquitto, office: &Mosquitto, qos: u8) -> Self {
        let ledger = Ledger::new();
        let (mut publishers, mut subscribers) = (Vec::new(), Vec::new());
        for (way, from, to) in [("there", home, office), ("back", office, home)] {
            let client = ClientOptions::new(Version::V5, &format!("hears-{way}")).clean(false);
            let options = SubscriberOptions::new(client, way, &format!("{way}/#"), qos);
            subscribers.push(Subscriber::start(to.port(), options, &ledger));
            let client = ClientOptions::new(Version::V5, &format!("says-{way}")).clean(false);
            let mut options = PublisherOptions::new(client, &format!("{way}/{{key}}/x"));
            (options.qos, options.rate, options.key_prefix) = (qos, RATE, format!("{way}-"));
            publishers.push(Publisher::start(from.port(), options, &ledger));
        }
        Self { publishers, subscribers, ledger, qos }
    }

    /// Everything has arrived, in order, and nothing was put aside, dropped or given up.
    #[track_caller]
    fn finish(self, tidegate: &Tidegate, exactly_once: bool) -> Metrics {
        for publisher in self.publishers {
            publisher.stop();
        }
        for way in ["there", "back"] {
            let missing = || self.ledger.check_of(way, |id| id.key.starts_with(way)).missing.len();
            let all = within(2 * PATIENCE, || missing() == 0);
            assert!(all, "{way}: {} are missing\n{}", missing(), tidegate.log());
        }
        for subscriber in self.subscribers {
            subscriber.stop();
        }
        for way in ["there", "back"] {
            let check = self.ledger.check_of(way, |id| id.key.starts_with(way));
            check.assert_at_least_once().assert_in_order().assert_published(100);
            if exactly_once && self.qos == 2 {
                check.assert_at_most_once();
            }
        }
        drained(tidegate);
        ready(tidegate);
        assert_eq!(parked(tidegate), Vec::<Value>::new(), "nothing is put aside\n{}", tidegate.log());
        let metrics = assert_balanced(tidegate);
        for name in ["tidegate_route_dropped_total", "tidegate_skipped_total", "tidegate_broker_given_up_total"] {
            assert_eq!(metrics.get(name, &[]).unwrap_or(0.0), 0.0, "{name}\n{}", tidegate.log());
        }
        metrics
    }
}

/// Links are cut at random moments, within packets and between them, with and without a word, and refused for a while.
#[track_caller]
fn cut(version: &str, qos: u8) {
    let cuts = std::env::var("TIDEGATE_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(CUTS);
    let mut dice = Dice::new();
    println!("TIDEGATE_SEED={}", dice.seed);
    // mosquitto 2.0 sends again what is beyond its window without asking whether it was released.
    let start = || Mosquitto::builder().max_inflight(2_000).start();
    let (home, office) = (start(), start());
    let proxies = [FaultProxy::start(home.port()), FaultProxy::start(office.port())];
    let tidegate = Tidegate::start(&Traffic::config(&proxies[0].url(), &proxies[1].url(), version));
    let traffic = Traffic::start(&home, &office, qos);
    for _ in 0..cuts {
        std::thread::sleep(Duration::from_millis(dice.between(LIFE_MS.start, LIFE_MS.end)));
        let proxy = &proxies[dice.between(0, 2) as usize];
        match dice.between(0, 5) {
            0 => proxy.reset(),
            1 => proxy.close(),
            2 => proxy.cut_after(Direction::ToServer, dice.between(0, 2_000)),
            3 => proxy.cut_after(Direction::ToClient, dice.between(0, 2_000)),
            _ => {
                proxy.refuse(true);
                proxy.reset();
                std::thread::sleep(Duration::from_millis(dice.between(LIFE_MS.start, LIFE_MS.end)));
                proxy.refuse(false);
            }
        }
    }
    for proxy in &proxies {
        proxy.heal();
    }
    println!("{} connections, seed {}", proxies[0].accepted() + proxies[1].accepted(), dice.seed);
    assert!(proxies[0].accepted() > cuts / 20 && proxies[1].accepted() > cuts / 20);
    // mosquitto 2.0 repeats a message whose PUBREL it is about to send again, if that connection is lost too.
    traffic.finish(&tidegate, false);
}

#[test]
fn hundreds_of_cuts_put_nothing_aside_at_qos_1() {
    cut("5", 1);
}

#[test]
fn hundreds_of_cuts_put_nothing_aside_at_qos_2() {
    cut("5", 2);
}

#[test]
fn hundreds_of_cuts_put_nothing_aside_at_qos_1_in_3_1_1() {
    cut("3.1.1", 1);
}

#[test]
fn hundreds_of_cuts_put_nothing_aside_at_qos_2_in_3_1_1() {
    cut("3.1.1", 2);
}

/// With a window of one message, every cut finds the same message first.
#[test]
fn cuts_of_a_link_with_one_message_at_a_time_put_nothing_aside() {
    let mut dice = Dice::new();
    println!("TIDEGATE_SEED={}", dice.seed);
    let start = || Mosquitto::builder().line("max_inflight_messages 1").start();
    let (home, office) = (start(), start());
    let proxy = FaultProxy::start(office.port());
    proxy.latency(Duration::from_millis(10));
    let tidegate = Tidegate::start(&Traffic::config(&home.url(), &proxy.url(), "5"));
    let traffic = Traffic::start(&home, &office, 1);
    for _ in 0..CUTS / 2 {
        // Just when something is under way.
        proxy.cut_after(Direction::ToServer, dice.between(60, 400));
        let cut = within(PATIENCE, || !proxy.cut_is_pending());
        assert!(cut, "the cut happens");
    }
    proxy.heal();
    traffic.finish(&tidegate, false);
}

/// mosquitto with a disk, restarted in turn under load.
#[track_caller]
fn restarted(qos: u8) {
    let start = || Mosquitto::builder().persistence(true).line("autosave_interval 0").max_inflight(2_000).start();
    let (mut home, mut office) = (start(), start());
    let tidegate = Tidegate::start(&Traffic::config(&home.url(), &office.url(), "5"));
    let traffic = Traffic::start(&home, &office, qos);
    for _ in 0..RESTARTS {
        for broker in [&mut home, &mut office] {
            let before: u64 = traffic.subscribers.iter().map(Subscriber::received).sum();
            eventually("messages arrive", PATIENCE, || {
                traffic.subscribers.iter().map(Subscriber::received).sum::<u64>() > before + 20
            });
            broker.restart();
        }
    }
    traffic.finish(&tidegate, false);
}

#[test]
fn a_broker_that_restarts_again_and_again_puts_nothing_aside_at_qos_1() {
    restarted(1);
}

#[test]
fn a_broker_that_restarts_again_and_again_puts_nothing_aside_at_qos_2() {
    restarted(2);
}
