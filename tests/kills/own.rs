//! `kill -9` at random instants, of a box whose devices have no other broker: what it acknowledged to them is there, their sessions are as
//! they were, and so is what is retained; alone, and with a broker behind it that messages go to and come from.
//!
//! `scripts/soak own` runs these with more kills, and does the same to mosquitto, which makes no such promise: what it loses is printed.

use super::random::{KILLS_VARIABLE, LIFE_MS};
use super::*;
use crate::fixture::Dice;
use tidegate_testkit::free_port;

/// Without [`KILLS_VARIABLE`].
const KILLS: u64 = 5;

/// Devices that publish at each QoS, and how often, in messages a second.
const DEVICES: usize = 20;
const RATE: u32 = 25;

/// Hear everything at QoS 2: some are there all the time, one comes at the end.
const HEARERS: usize = 8;

/// Who is away misses nothing for want of it.
const ROOM: &str = "limits = { session_queue_max = 1000000, session_queue_size = \"1GiB\", queues_size = \"4GiB\" }\n";

#[test]
fn devices_lose_nothing_and_at_qos_2_get_nothing_twice() {
    killed("own broker", false);
}

#[test]
fn devices_lose_nothing_and_at_qos_2_get_nothing_twice_with_a_broker_behind() {
    killed("own broker, another behind", true);
}

/// What is killed.
enum Killed {
    Tidegate(Tidegate),
    Mosquitto(Mosquitto),
}

impl Killed {
    fn kill_and_start(&mut self) {
        match self {
            Self::Tidegate(tidegate) => {
                tidegate.kill();
                tidegate.relaunch();
            }
            Self::Mosquitto(mosquitto) => {
                mosquitto.kill();
                mosquitto.restart();
            }
        }
    }
}

/// What goes one way at one QoS.
struct Flow {
    qos: u8,
    ledger: Ledger,
    publishers: Vec<Publisher>,
    hearers: Vec<(String, Subscriber)>,
}

impl Flow {
    fn new(qos: u8) -> Self {
        Self { qos, ledger: Ledger::new(), publishers: Vec::new(), hearers: Vec::new() }
    }

    fn publish(&mut self, port: u16, name: &str, topic: &str) {
        let client = ClientOptions::new(Version::V5, &format!("{name}-q{}", self.qos)).clean(false);
        let mut options = PublisherOptions::new(client, topic);
        (options.qos, options.rate, options.keys, options.payload_bytes) = (self.qos, RATE, 2, 64);
        options.key_prefix = format!("{name}-");
        self.publishers.push(Publisher::start(port, options, &self.ledger));
    }

    fn hear(&mut self, port: u16, name: &str, filter: &str, version: Version) {
        let name = format!("{name}-q{}", self.qos);
        let client = ClientOptions::new(version, &name).clean(false);
        let options = SubscriberOptions::new(client, &name, filter, 2);
        self.hearers.push((name, Subscriber::start(port, options, &self.ledger)));
    }

    fn stop_publishing(&mut self) {
        for publisher in self.publishers.drain(..) {
            publisher.stop();
        }
    }

    /// Everything arrives, with nobody publishing any more.
    #[track_caller]
    fn finish(mut self, what: &str, seed: u64) {
        self.stop_publishing();
        let all = self.ledger.published_count() as u64;
        for (name, hearer) in &self.hearers {
            eventually(&format!("{name} has all {all}"), LONG_PATIENCE, || hearer.received() >= all);
        }
        let qos = self.qos;
        for check in self.heard(what, seed) {
            check.assert_published(30).assert_at_least_once().assert_in_order();
            if qos == 2 {
                check.assert_at_most_once();
            }
        }
    }

    /// Nothing comes any more. What each hearer has heard, which is printed.
    fn heard(self, what: &str, seed: u64) -> Vec<Check> {
        // What comes twice comes soon.
        std::thread::sleep(Duration::from_millis(300));
        let mut checks = Vec::new();
        for (name, hearer) in self.hearers {
            hearer.stop();
            let check = self.ledger.check(&name);
            let repeated: u64 = check.repeated.iter().map(|(_, times)| times - 1).sum();
            println!(
                "kills: {what}, {name}: {} published, {} acknowledged, lost {}, repeated {repeated}, reordered {}, seed {seed}",
                check.published,
                check.acknowledged,
                check.lost.len(),
                check.reordered.len(),
            );
            checks.push(check);
        }
        checks
    }
}

fn kills() -> u64 {
    std::env::var(KILLS_VARIABLE).ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

/// Hearers and devices, at each QoS; and clients that have a session and are not there.
fn with_devices(port: u16, office: Option<&Mosquitto>) -> (Vec<Flow>, Vec<ClientOptions>) {
    let mut flows = vec![Flow::new(1), Flow::new(2)];
    let mut late = Vec::new();
    for flow in &mut flows {
        for at in 0..HEARERS - 1 {
            let version = if at % 2 == 0 { Version::V5 } else { Version::V311 };
            flow.hear(port, &format!("hearer-{at}"), &format!("up/q{}/#", flow.qos), version);
        }
        let client = ClientOptions::new(Version::V5, &format!("late-q{}", flow.qos)).clean(false);
        let mut asleep = Client::connect(port, &client).expect("it connects");
        asleep.subscribe(&[(&format!("up/q{}/#", flow.qos), 2)]).expect("it subscribes");
        asleep.disconnect().expect("it goes");
        late.push(client);
        if let Some(office) = office {
            flow.hear(office.port(), "office", &format!("up/q{}/#", flow.qos), Version::V5);
        }
        for at in 0..DEVICES {
            flow.publish(port, &format!("device-{at}"), &format!("up/q{}/{{key}}", flow.qos));
        }
    }
    (flows, late)
}

/// A life that ends at a random instant, before which a retained message was acknowledged; and what is retained in the next.
#[track_caller]
fn one_life(killed: &mut Killed, port: u16, number: u64, dice: &mut Dice) -> (String, Option<String>) {
    std::thread::sleep(Duration::from_millis(dice.between(LIFE_MS.start, LIFE_MS.end)));
    let said = format!("kept {number}");
    let mut client = connected(port, &ClientOptions::new(Version::V5, "says"));
    client.publish("kept", said.as_bytes(), 1, true).expect("it is acknowledged");
    std::thread::sleep(Duration::from_micros(dice.between(0, 20_000)));
    killed.kill_and_start();
    let mut client = connected(port, &ClientOptions::new(Version::V311, "asks"));
    client.subscribe(&[("kept", 1)]).expect("it subscribes");
    let kept = client.receive(Duration::from_secs(5)).expect("it is connected");
    (said, kept.map(|kept| String::from_utf8_lossy(&kept.payload).into_owned()))
}

#[track_caller]
fn killed(what: &str, has_office: bool) {
    let (kills, mut dice) = (kills(), Dice::new());
    println!("{what}: {kills} kills, TIDEGATE_SEED={}", dice.seed);
    let device = free_port();
    let office = has_office.then(|| Mosquitto::builder().max_inflight(2_000).start());
    let mut config = format!("[brokers.device]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{device}\"]\n{ROOM}");
    if let Some(office) = &office {
        config += &broker("office", &office.url(), "version = \"5\"\nreconnect = { min = \"20ms\", max = \"100ms\" }");
        config += &named_route("up", "device", &["up/#"], 2, &["office"], "");
        config += &named_route("down", "office", &["down/#"], 2, &["device"], "");
    }
    let mut tidegate = Killed::Tidegate(Tidegate::builder(&config).start());
    let (mut flows, late) = with_devices(device, office.as_ref());
    if let Some(office) = &office {
        for qos in [1, 2] {
            let mut flow = Flow::new(qos);
            flow.hear(device, "down", &format!("down/q{qos}/#"), Version::V5);
            flow.publish(office.port(), "office-device", &format!("down/q{qos}/{{key}}"));
            flows.push(flow);
        }
    }
    for kill in 0..kills {
        let (said, kept) = one_life(&mut tidegate, device, kill, &mut dice);
        assert_eq!(kept.as_deref(), Some(&*said), "a retained message");
    }
    for (flow, client) in flows.iter_mut().zip(late) {
        let known = connected(device, &client);
        assert!(known.session_present(), "its session is there after {kills} kills");
        known.abort();
        flow.hear(device, "late", &format!("up/q{}/#", flow.qos), Version::V5);
    }
    for flow in flows {
        flow.finish(what, dice.seed);
    }
}

/// The same of mosquitto, which writes its file after each change. It promises less, and is asked for no more than that the story can be told of it:
/// what it loses is printed.
#[test]
fn mosquitto_is_killed_as_often() {
    let what = "mosquitto, persistence after each change";
    let (kills, mut dice) = (kills(), Dice::new());
    println!("{what}: {kills} kills, TIDEGATE_SEED={}", dice.seed);
    let mosquitto = Mosquitto::builder().persistence(true).max_inflight(1_000).start();
    let port = mosquitto.port();
    let mut mosquitto = Killed::Mosquitto(mosquitto);
    let (mut flows, late) = with_devices(port, None);
    let lives: Vec<_> = (0..kills).map(|kill| one_life(&mut mosquitto, port, kill, &mut dice)).collect();
    let wrong = lives.iter().filter(|(said, kept)| kept.as_ref() != Some(said)).count();
    let mut gone = 0;
    for (flow, client) in flows.iter_mut().zip(late) {
        let known = connected(port, &client);
        gone += usize::from(!known.session_present());
        known.abort();
        flow.hear(port, "late", &format!("up/q{}/#", flow.qos), Version::V5);
    }
    println!("kills: {what}: {kills} kills, retained messages wrong {wrong}, sessions gone {gone} of {}", flows.len());
    for mut flow in flows {
        flow.stop_publishing();
        let heard = || flow.hearers.iter().map(|(_, hearer)| hearer.received()).sum::<u64>();
        // Until nothing has come for a while.
        let mut before = u64::MAX;
        while before != heard() {
            before = heard();
            std::thread::sleep(Duration::from_secs(3));
        }
        for check in flow.heard(what, dice.seed) {
            check.assert_published(30);
        }
    }
}

/// The box may be about to start.
#[track_caller]
fn connected(port: u16, options: &ClientOptions) -> Client {
    let mut client = None;
    eventually("the box lets it in", PATIENCE, || {
        client = Client::connect(port, options).ok();
        client.is_some()
    });
    client.expect("it connected")
}
