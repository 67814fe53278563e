//! Restarts, cuts, silence and signals while a few thousand messages are on their way.

use super::last_of_all;
use crate::fixture::{PATIENCE, assert_balanced, broker, route};
use std::process::Command;
use tidegate_testkit::{
    Client, ClientOptions, Direction, FaultProxy, Id, Ledger, Mosquitto, MosquittoBuilder, Publisher, PublisherOptions,
    Subscriber, SubscriberOptions, Tidegate, Version, eventually,
};

/// Messages a second.
const RATE: u32 = 1_500;

/// Carried before something happens, and after it.
const SOME: u64 = 1_000;

/// Publisher, `home`, gateway, `office`, subscriber, with a proxy on each side of the gateway.
struct Line {
    home: Mosquitto,
    to_home: FaultProxy,
    tidegate: Tidegate,
    to_office: FaultProxy,
    office: Mosquitto,
    qos: u8,
    ledger: Ledger,
    publisher: Publisher,
    subscriber: Subscriber,
}

impl Line {
    /// Everything under way, and `SOME` messages through already.
    #[track_caller]
    fn start(version: &str, qos: u8) -> Self {
        Self::between(mosquitto().start(), mosquitto().start(), version, qos, RATE)
    }

    /// With brokers that may be killed. What mosquitto finds on its disk beyond its window it takes for never sent,
    /// even where it was already released (QoS 2), so the window is wider than ours.
    #[track_caller]
    fn mortal(version: &str, qos: u8) -> Self {
        let start = || mosquitto().max_inflight(2_000).start();
        Self::between(start(), start(), version, qos, RATE)
    }

    #[track_caller]
    fn between(home: Mosquitto, office: Mosquitto, version: &str, qos: u8, rate: u32) -> Self {
        let (to_home, to_office) = (FaultProxy::start(home.port()), FaultProxy::start(office.port()));
        let keys = format!(
            "version = \"{version}\"\nkeep_alive = \"1s\"\nconnect_timeout = \"2s\"\n\
             reconnect = {{ min = \"20ms\", max = \"100ms\" }}"
        );
        let mut config = broker("home", &to_home.url(), &keys) + &broker("office", &to_office.url(), &keys);
        config += &route("home", &["dev/#"], &["office"], "");
        let tidegate = Tidegate::start(&config);
        let ledger = Ledger::new();
        let client = ClientOptions::new(Version::V5, "subscriber").clean(false);
        let options = SubscriberOptions::new(client, "office", "dev/+/temp", qos);
        let subscriber = Subscriber::start(office.port(), options, &ledger);
        let client = ClientOptions::new(Version::V5, "publisher").clean(false);
        let mut options = PublisherOptions::new(client, "dev/{key}/temp");
        (options.qos, options.rate) = (qos, rate);
        let publisher = Publisher::start(home.port(), options, &ledger);
        let line = Self { home, to_home, tidegate, to_office, office, qos, ledger, publisher, subscriber };
        line.carries_some();
        line
    }

    /// Waits until `SOME` more messages have arrived.
    #[track_caller]
    fn carries_some(&self) {
        let before = self.subscriber.received();
        eventually("messages arrive", PATIENCE, || self.subscriber.received() >= before + SOME);
    }

    /// Waits until the gateway has noticed that a broker is away.
    #[track_caller]
    fn is_away(&self, broker: &str) {
        eventually(&format!("it is noticed that {broker} is away"), PATIENCE, || {
            self.tidegate.metrics().get("tidegate_broker_up", &[("broker", broker)]) == Some(0.0)
        });
    }

    /// Stops publishing, waits for the last message, and compares.
    #[track_caller]
    fn finish(self) {
        // Every session was kept. At QoS 1 what the target had received when its link was cut is sent again: nobody can know.
        let at_most_once = self.qos == 2;
        self.compare(at_most_once);
    }

    #[track_caller]
    fn compare(self, at_most_once: bool) {
        self.publisher.stop();
        last_of_all(self.home.port(), self.qos, &self.ledger, "office");
        let metrics = assert_balanced(&self.tidegate);
        assert_eq!(metrics.get("tidegate_route_dropped_total", &[]).unwrap_or(0.0), 0.0);
        // What is behind the last message would be a repetition: this one comes after it.
        let id = Id::new("behind", 0);
        let mut client = Client::connect(self.office.port(), &ClientOptions::new(Version::V5, "behind")).unwrap();
        self.ledger.published(id.clone());
        client.publish("dev/behind/temp", &id.encode(0), self.qos, false).unwrap();
        eventually("nothing more comes", PATIENCE, || {
            self.ledger.check_of("office", |id| id.key == "behind").missing.is_empty()
        });
        self.subscriber.stop();
        let check = self.ledger.check("office");
        check.assert_at_least_once().assert_in_order().assert_published(SOME as usize);
        if at_most_once {
            check.assert_at_most_once();
        }
    }
}

/// One that writes when it is stopped, or told to: every few messages is more than a small disk can do.
fn mosquitto() -> MosquittoBuilder {
    Mosquitto::builder().persistence(true).line("autosave_interval 0")
}

/// What the broker has acknowledged is on disk from here on: mosquitto writes on SIGUSR1, before it serves anybody else.
#[track_caller]
fn persist(mosquitto: &Mosquitto) {
    let status = Command::new("kill").args(["-USR1", &mosquitto.pid().to_string()]).status().expect("kill runs");
    assert!(status.success());
    // Each waits for a turn of its loop, the second for one that began after the signal.
    for _ in 0..2 {
        let client =
            Client::connect(mosquitto.port(), &ClientOptions::new(Version::V311, "turn")).expect("it connects");
        client.disconnect().expect("it is served");
    }
}

/// Nothing moves on this connection, in neither direction.
fn freeze(proxy: &FaultProxy, on: bool) {
    proxy.freeze(Direction::ToServer, on);
    proxy.freeze(Direction::ToClient, on);
}

macro_rules! for_each_qos {
    ($($what:ident: $at_least_once:ident, $exactly_once:ident;)*) => {
        $(#[test] fn $at_least_once() { $what(1); }
          #[test] fn $exactly_once() { $what(2); })*
    };
}

for_each_qos! {
    the_target_restarts: no_loss_when_the_target_broker_restarts, exactly_once_when_the_target_broker_restarts;
    the_source_is_killed: no_loss_when_the_source_broker_is_killed, exactly_once_when_the_source_broker_is_killed;
    the_target_is_killed: no_loss_when_the_target_broker_is_killed, exactly_once_when_the_target_broker_is_killed;
    links_are_cut: no_loss_when_links_are_cut, exactly_once_when_links_are_cut;
    links_are_cut_in_3_1_1: no_loss_when_links_are_cut_in_3_1_1, exactly_once_when_links_are_cut_in_3_1_1;
    links_fall_silent: no_loss_when_links_fall_silent, exactly_once_when_links_fall_silent;
}

/// At QoS 1 only: mosquitto 2.0 saves its state while it goes down, and what it had settled after that comes again.
#[test]
fn no_loss_when_the_source_broker_restarts() {
    let qos = 1;
    let mut line = Line::start("5", qos);
    line.home.restart();
    line.carries_some();
    line.finish();
}

fn the_target_restarts(qos: u8) {
    let mut line = Line::start("5", qos);
    line.office.stop();
    line.is_away("office");
    line.office.restart();
    line.carries_some();
    line.finish();
}

fn the_source_is_killed(qos: u8) {
    let line = Line::mortal("5", qos);
    // Messages gather at the source, some of them under way to us.
    freeze(&line.to_home, true);
    let before = line.publisher.sent();
    eventually("messages gather", PATIENCE, || line.publisher.sent() >= before + SOME);
    // What is acknowledged after the last write would be lost by mosquitto, not by us.
    let Line { home, to_home, tidegate, to_office, office, qos, ledger, publisher, subscriber } = line;
    publisher.stop();
    persist(&home);
    let mut home = home;
    home.kill();
    home.restart();
    freeze(&to_home, false);
    let client = ClientOptions::new(Version::V5, "publisher-2").clean(false);
    let mut options = PublisherOptions::new(client, "dev/{key}/temp");
    (options.qos, options.rate, options.key_prefix) = (qos, RATE, "again-".to_owned());
    let publisher = Publisher::start(home.port(), options, &ledger);
    let line = Line { home, to_home, tidegate, to_office, office, qos, ledger, publisher, subscriber };
    line.carries_some();
    line.finish();
}

fn the_target_is_killed(qos: u8) {
    let mut line = Line::mortal("5", qos);
    // Some messages are under way from us, unacknowledged.
    freeze(&line.to_office, true);
    eventually("messages gather", PATIENCE, || {
        line.tidegate.metrics().get("tidegate_spool_queued", &[("target", "office")]).unwrap_or(0.0) >= 500.0
    });
    // Everything that the broker has is with the subscriber: the second of these is handled after all of its answers.
    let mut client = Client::connect(line.office.port(), &ClientOptions::new(Version::V5, "quiet")).unwrap();
    for n in 0..2 {
        let id = Id::new("quiet", n);
        line.ledger.published(id.clone());
        client.publish("dev/quiet/temp", &id.encode(0), qos, false).unwrap();
        eventually("the target is quiet", PATIENCE, || {
            line.ledger.check_of("office", |known| *known == id).missing.is_empty()
        });
    }
    client.disconnect().unwrap();
    persist(&line.office);
    line.office.kill();
    line.office.restart();
    freeze(&line.to_office, false);
    line.carries_some();
    line.finish();
}

/// Connections of both sides break again and again, within packets and between them.
/// Both links are cut after each number of bytes of what a new connection begins with: handshake, subscriptions, the
/// resumption of what was in flight, and the next messages. mosquitto 2.0 repeats here: a message whose PUBREL it is about to
/// send again is published again if that connection is lost too before it has (`db__message_reconnect_reset_outgoing` in its
/// `database.c` keeps only those that wait for PUBCOMP). So repetitions are not asserted.
#[test]
fn no_loss_when_links_are_cut_at_every_byte_at_qos_2() {
    const BYTES: u64 = 240;
    // Few, so that what gathers meanwhile is soon through; and a window that mosquitto does not outgrow: see `mortal`.
    let start = || mosquitto().max_inflight(2_000).start();
    let line = Line::between(start(), start(), "5", 2, 150);
    for direction in [Direction::ToServer, Direction::ToClient] {
        for bytes in 0..BYTES {
            for proxy in [&line.to_home, &line.to_office] {
                proxy.cut_after(direction, bytes);
                proxy.close();
            }
            for proxy in [&line.to_home, &line.to_office] {
                eventually("the cut happens", PATIENCE, || !proxy.cut_is_pending());
            }
        }
    }
    line.carries_some();
    assert!(line.to_home.accepted() > 2 * BYTES && line.to_office.accepted() > 2 * BYTES);
    line.compare(false);
}

/// With nothing under way at the cut, so that mosquitto has nothing to forget: exactly once, wherever handshake and exchange
/// are cut.
#[test]
fn exactly_once_when_quiet_links_are_cut_at_every_byte() {
    const BYTES: u64 = 200;
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let (to_home, to_office) = (FaultProxy::start(home.port()), FaultProxy::start(office.port()));
    let keys = "version = \"5\"\nreconnect = { min = \"20ms\", max = \"60ms\" }";
    let mut config = broker("home", &to_home.url(), keys) + &broker("office", &to_office.url(), keys);
    config += &route("home", &["dev/#"], &["office"], "");
    let tidegate = Tidegate::start(&config);
    let ledger = Ledger::new();
    let client = ClientOptions::new(Version::V5, "subscriber").clean(false);
    let subscriber =
        Subscriber::start(office.port(), SubscriberOptions::new(client, "office", "dev/+/temp", 2), &ledger);
    let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "publisher")).unwrap();
    let carried = || {
        let both = [Direction::ToServer, Direction::ToClient];
        both.iter().map(|direction| to_home.bytes(*direction) + to_office.bytes(*direction)).sum::<u64>()
    };
    let mut number = 0;
    for direction in [Direction::ToServer, Direction::ToClient] {
        for bytes in 0..BYTES {
            for proxy in [&to_home, &to_office] {
                proxy.cut_after(direction, bytes);
                proxy.close();
            }
            // Enough for any number of bytes to pass.
            for _ in 0..4 {
                let id = Id::new("quiet", number);
                ledger.published(id.clone());
                client.publish("dev/quiet/temp", &id.encode(0), 2, false).unwrap();
                number += 1;
            }
            eventually("everything arrives", PATIENCE, || ledger.received_count("office") as u64 >= number);
            for proxy in [&to_home, &to_office] {
                proxy.heal();
            }
            let mut before = u64::MAX;
            eventually("all is said", PATIENCE, || {
                std::thread::sleep(std::time::Duration::from_millis(25));
                std::mem::replace(&mut before, carried()) == carried() && tidegate.is_ready()
            });
        }
    }
    assert!(to_home.accepted() > BYTES && to_office.accepted() > BYTES);
    assert_balanced(&tidegate);
    subscriber.stop();
    ledger.check("office").assert_exactly_once().assert_nothing_missing().assert_in_order();
}

fn cut(version: &str, qos: u8) {
    let line = Line::start(version, qos);
    for round in 0..6 {
        for (proxy, direction) in [
            (&line.to_home, Direction::ToClient),
            (&line.to_office, Direction::ToServer),
            (&line.to_home, Direction::ToServer),
            (&line.to_office, Direction::ToClient),
        ] {
            proxy.cut_after(direction, 1_000 + 731 * round);
            eventually("the cut happens", PATIENCE, || !proxy.cut_is_pending());
        }
    }
    line.carries_some();
    assert!(line.to_home.accepted() > 12 && line.to_office.accepted() > 12);
    line.finish();
}

fn links_are_cut(qos: u8) {
    cut("5", qos);
}

fn links_are_cut_in_3_1_1(qos: u8) {
    cut("3.1.1", qos);
}

fn links_fall_silent(qos: u8) {
    let line = Line::start("5", qos);
    for (proxy, broker) in [(&line.to_home, "home"), (&line.to_office, "office")] {
        // Nothing comes any more, and what we say goes nowhere; nobody closes anything.
        proxy.black_hole(true);
        line.is_away(broker);
        proxy.black_hole(false);
        line.carries_some();
    }
    // Our packets still arrive; the answers do not.
    for (proxy, broker) in [(&line.to_home, "home"), (&line.to_office, "office")] {
        proxy.freeze(Direction::ToClient, true);
        line.is_away(broker);
        proxy.freeze(Direction::ToClient, false);
        line.carries_some();
    }
    line.finish();
}

#[test]
fn no_loss_when_the_gateway_is_told_to_stop_under_load() {
    let mut line = Line::start("5", 1);
    for _ in 0..3 {
        assert_eq!(line.tidegate.terminate(PATIENCE).code(), Some(0), "{}", line.tidegate.log());
        let before = line.publisher.sent();
        eventually("the publisher goes on", PATIENCE, || line.publisher.sent() > before + 100);
        line.tidegate.restart();
        line.carries_some();
    }
    line.finish();
}

#[test]
fn no_loss_when_the_gateway_is_killed_under_load() {
    let mut line = Line::start("5", 1);
    for _ in 0..3 {
        line.tidegate.kill();
        line.tidegate.restart();
        line.carries_some();
    }
    line.finish();
}
