//! Loops: brokers that carry marks, keep to the bridge bit, or do neither, with one to three gateways between them, on
//! simulated time. Which messages cross which route, how often, and that it ends.

use crate::source::Token;
use crate::started::{US, started};
use crate::target::Shared;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};
use tidegate_message::{Message, Properties, QoS, Topic};
use tidegate_router::{Arrival, Audience, BrokerId, Hops, Moment, RouteId, Router};

/// What a broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// MQTT 5: no-local, user properties.
    Marks,
    /// The bridge bit: no echo, no properties.
    Bridge,
    /// It echoes, and has no properties.
    Plain,
}

/// Brokers, and of each gateway its routes: from one of them to another.
#[derive(Debug, Clone)]
struct Mesh {
    brokers: Vec<Kind>,
    gateways: Vec<Vec<(usize, usize)>>,
}

/// What happened.
#[derive(Debug, Default)]
struct Outcome {
    /// By gateway, route and payload.
    crossings: BTreeMap<(usize, (usize, usize), String), usize>,
    looping: usize,
    /// When the last message crossed, in milliseconds.
    last_ms: u64,
}

impl Outcome {
    fn of(&self, gateway: usize, route: (usize, usize), text: &str) -> usize {
        self.crossings.get(&(gateway, route, text.to_owned())).copied().unwrap_or(0)
    }

    fn most(&self) -> usize {
        self.crossings.values().max().copied().unwrap_or(0)
    }
}

#[derive(Debug)]
enum What {
    /// A device or a gateway publishes at a broker.
    Published { broker: usize, by: Option<usize>, message: Message },
    /// A gateway gets it from there.
    Comes { broker: usize, gateway: usize, message: Message },
    /// A gateway has asked to be woken.
    Wakes { gateway: usize },
}

struct Gateway {
    router: Router<Token, Shared>,
    hops: Hops,
    brokers: Vec<BrokerId>,
    routes: BTreeMap<RouteId, (usize, usize)>,
}

struct World<'m> {
    mesh: &'m Mesh,
    gateways: Vec<Gateway>,
    start: Instant,
    now_ms: u64,
    /// By time, then by number.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, What>,
    next: u64,
    outcome: Outcome,
}

impl<'m> World<'m> {
    fn new(mesh: &'m Mesh) -> Self {
        let start = Instant::now();
        let gateways = (0..mesh.gateways.len()).map(|at| Gateway::new(mesh, at, start)).collect();
        let (due, events, outcome) = (BinaryHeap::new(), BTreeMap::new(), Outcome::default());
        Self { mesh, gateways, start, now_ms: 0, due, events, next: 0, outcome }
    }

    fn now(&self) -> Moment {
        let elapsed = Duration::from_millis(self.now_ms);
        Moment { at: self.start + elapsed, us: US + self.now_ms * 1000 }
    }

    fn at(&mut self, ms: u64, what: What) {
        self.next += 1;
        self.due.push(Reverse((ms, self.next)));
        self.events.insert(self.next, what);
    }

    fn run(mut self, devices: &[(u64, usize, String)], until_ms: u64) -> Outcome {
        for (ms, broker, text) in devices {
            let message = Message::new(Topic::new("t/x").expect("a topic"), text.clone(), QoS::AtMostOnce);
            self.at(*ms, What::Published { broker: *broker, by: None, message });
        }
        while let Some(Reverse((ms, number))) = self.due.pop().filter(|Reverse((ms, _))| *ms <= until_ms) {
            self.now_ms = ms;
            assert!(number < 300_000, "it does not end: {:?}", self.outcome);
            match self.events.remove(&number).expect("an event") {
                What::Published { broker, by, message } => self.published(broker, by, &message),
                What::Comes { broker, gateway, message } => self.comes(broker, gateway, message),
                What::Wakes { gateway } => self.look(gateway),
            }
        }
        let routes = self.gateways.iter().flat_map(|gateway| gateway.router.routes());
        self.outcome.looping = routes.filter(|(_, route)| route.sifts).count();
        self.outcome
    }

    /// The broker sends it to all that subscribe.
    fn published(&mut self, broker: usize, by: Option<usize>, message: &Message) {
        let kind = self.mesh.brokers[broker];
        let mut message = message.clone();
        if kind != Kind::Marks {
            message.properties = None;
        }
        for gateway in 0..self.gateways.len() {
            let subscribes = self.mesh.gateways[gateway].iter().any(|(from, _)| *from == broker);
            if subscribes && (by != Some(gateway) || kind == Kind::Plain) {
                // Not all are equally far.
                let ms = self.now_ms + 2 + broker as u64 + gateway as u64;
                self.at(ms, What::Comes { broker, gateway, message: message.clone() });
            }
        }
    }

    fn comes(&mut self, broker: usize, gateway: usize, message: Message) {
        let now = self.now();
        let it = &mut self.gateways[gateway];
        let arrival = Arrival {
            message,
            ack: None,
            redelivered: false,
            subscription_id: None,
            audience: Audience::All,
            topic_id: None,
        };
        it.router.received(it.brokers[broker], [arrival].into_iter(), now, now.us / 1000);
        self.look(gateway);
    }

    fn look(&mut self, gateway: usize) {
        let now = self.now();
        let it = &mut self.gateways[gateway];
        if let Some(at) = it.router.read_on(now) {
            let ms = at.saturating_duration_since(self.start).as_millis() as u64 + 1;
            self.at(ms, What::Wakes { gateway });
        }
        for to in 0..self.mesh.brokers.len() {
            loop {
                let it = &mut self.gateways[gateway];
                let Some((ticket, mut message)) = it.router.pull(it.brokers[to], true, now) else { break };
                let route = it.router.route_of_ticket(ticket).expect("its route");
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                *self.outcome.crossings.entry((gateway, it.routes[&route], text)).or_default() += 1;
                self.outcome.last_ms = self.now_ms;
                it.router.complete(ticket, now);
                // What a link does.
                let properties = message.properties.get_or_insert_with(|| Box::new(Properties::default()));
                if let Some(mark) = it.hops.mark(&format!("b{to}"))
                    && properties.user.iter().all(|(name, _)| *name != mark.0)
                {
                    properties.user.push(mark);
                }
                self.at(self.now_ms + 1, What::Published { broker: to, by: Some(gateway), message });
            }
        }
    }
}

impl Gateway {
    fn new(mesh: &Mesh, at: usize, start: Instant) -> Self {
        let mut text = format!("[gateway]\nname = \"g{at}\"\ndata_dir = \"/d\"\n");
        for (broker, kind) in mesh.brokers.iter().enumerate() {
            let speaks = match kind {
                Kind::Marks => "version = \"5\"",
                Kind::Bridge => "version = \"3.1.1\"",
                Kind::Plain => "version = \"3.1.1\"\nbridge = \"off\"",
            };
            text += &format!("[brokers.b{broker}]\nurl = \"mqtt://b{broker}\"\n{speaks}\n");
        }
        for (from, to) in &mesh.gateways[at] {
            text += &format!(
                "[[routes]]\nname = \"r{from}{to}\"\nfrom = {{ broker = \"b{from}\", topics = [\"t/#\"] }}\nto = [\"b{to}\"]\n"
            );
        }
        let names: Vec<String> = (0..mesh.brokers.len()).map(|broker| format!("b{broker}")).collect();
        let known = names.iter().zip(&mesh.brokers);
        let known: Vec<_> =
            known.map(|(name, kind)| (name.as_str(), *kind == Kind::Plain, *kind == Kind::Marks)).collect();
        let (router, brokers, config) = started(&text, &known, start);
        let name =
            |route: &(usize, usize)| (router.route_at(&format!("r{}{}", route.0, route.1)).expect("a route"), *route);
        let routes = mesh.gateways[at].iter().map(name).collect();
        Self { router, hops: Hops::of(&config), brokers, routes }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Marks), Just(Kind::Bridge), Just(Kind::Plain)]
}

/// Up to four brokers of these kinds and so many gateways, each with some of the routes that there can be.
fn mesh(kind: impl Strategy<Value = Kind>, gateways: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Mesh> {
    (prop::collection::vec(kind, 2..=4), gateways).prop_flat_map(|(brokers, gateways)| {
        let count = brokers.len();
        let pairs: Vec<(usize, usize)> =
            (0..count).flat_map(|from| (0..count).filter(move |to| *to != from).map(move |to| (from, to))).collect();
        let routes = prop::sample::subsequence(pairs.clone(), 1..=pairs.len().min(6));
        prop::collection::vec(routes, gateways).prop_map(move |gateways| Mesh { brokers: brokers.clone(), gateways })
    })
}

/// Two to four brokers, each of which leads to the next by one of three gateways, and perhaps the other way round too.
fn ring() -> impl Strategy<Value = Mesh> {
    let side = (kind(), 0..3usize);
    (prop::collection::vec(side, 2..=4), any::<bool>()).prop_map(|(sides, both)| {
        let mut gateways = vec![Vec::new(); 3];
        for (at, (_, gateway)) in sides.iter().enumerate() {
            let next = (at + 1) % sides.len();
            gateways[*gateway].push((at, next));
            if both && sides.len() > 2 {
                gateways[*gateway].push((next, at));
            }
        }
        Mesh { brokers: sides.into_iter().map(|(kind, _)| kind).collect(), gateways }
    })
}

/// Devices that say things of which many are the same, at any of four brokers.
fn devices(count: usize) -> impl Strategy<Value = Vec<(u64, usize, String)>> {
    prop::collection::vec((0..400u64, 0..4usize, 0..3u8), 1..count)
        .prop_map(|all| all.into_iter().map(|(ms, broker, text)| (ms, broker, text.to_string())).collect())
}

fn published(devices: &[(u64, usize, String)], broker: usize, text: &str) -> usize {
    devices.iter().filter(|(_, at, said)| *at == broker && said == text).count()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever the brokers are: each route carries what devices say at its source, as often as they say it, and nothing that
    /// the gateway has published there itself.
    #[test]
    fn one_gateway_carries_what_devices_say_and_no_more(mesh in mesh(kind(), 1..=1), devices in devices(40)) {
        let devices: Vec<_> = devices.into_iter().filter(|(_, broker, _)| *broker < mesh.brokers.len()).collect();
        let outcome = World::new(&mesh).run(&devices, 60_000);
        for route in &mesh.gateways[0] {
            for text in ["0", "1", "2"] {
                prop_assert_eq!(outcome.of(0, *route, text), published(&devices, route.0, text), "{:?} {}", route, text);
            }
        }
        prop_assert_eq!(outcome.looping, 0);
    }

    /// With marks a message crosses each route once at most, whatever way it came, and each that begins where it was said.
    #[test]
    fn with_marks_a_message_crosses_a_route_once(mesh in mesh(Just(Kind::Marks), 2..=3), from in 0..4usize) {
        let from = from % mesh.brokers.len();
        let outcome = World::new(&mesh).run(&[(0, from, "once".to_owned())], 60_000);
        for (gateway, routes) in mesh.gateways.iter().enumerate() {
            for route in routes {
                let crossed = outcome.of(gateway, *route, "once");
                // It comes to another broker as often as gateways bring it there.
                let ways = mesh.gateways.len() * mesh.brokers.len();
                prop_assert!(crossed <= ways, "{crossed} over {route:?} of {gateway}");
                prop_assert!(route.0 != from || crossed >= 1, "{route:?} of {gateway}");
            }
        }
        prop_assert!(outcome.last_ms < 500, "{outcome:?}");
    }

    /// A ring of brokers of any kind, one way or both, each side of it with one of three gateways: it ends, and each route carries
    /// what is said at its source.
    #[test]
    fn a_ring_over_other_gateways_ends(mesh in ring(), from in 0..4usize) {
        let from = from % mesh.brokers.len();
        let outcome = World::new(&mesh).run(&[(0, from, "once".to_owned())], 600_000);
        prop_assert!(outcome.last_ms < 300_000, "{outcome:?}");
        for (gateway, routes) in mesh.gateways.iter().enumerate() {
            for route in routes.iter().filter(|route| route.0 == from) {
                prop_assert!(outcome.of(gateway, *route, "once") >= 1, "{route:?} of {gateway}");
            }
        }
    }

    /// A device that says the same again and again, as regularly as it likes, is carried to the last word.
    #[test]
    fn a_device_that_repeats_itself_is_no_loop(every_ms in 1..2_500u64, count in 2..40u64, stray in 0..40u64) {
        let mesh = Mesh { brokers: vec![Kind::Plain, Kind::Bridge], gateways: vec![vec![(0, 1), (1, 0)]] };
        let mut devices: Vec<_> = (0..count).map(|n| (n * every_ms, 0, "same".to_owned())).collect();
        devices.push((stray * every_ms + every_ms / 2, 0, "other".to_owned()));
        let outcome = World::new(&mesh).run(&devices, 3_600_000);
        prop_assert_eq!(outcome.of(0, (0, 1), "same"), count as usize);
        prop_assert_eq!((outcome.of(0, (0, 1), "other"), outcome.looping), (1, 0));
    }
}

/// A program that says the same as fast as it can.
#[test]
fn a_thousand_times_the_same_in_a_second_is_no_flood() {
    let mesh = Mesh { brokers: vec![Kind::Plain, Kind::Bridge], gateways: vec![vec![(0, 1), (1, 0)]] };
    for at_once in [1, 20] {
        let devices: Vec<_> = (0..4000).map(|n| (n / at_once, 0, "same".to_owned())).collect();
        let outcome = World::new(&mesh).run(&devices, 3_600_000);
        assert_eq!((outcome.of(0, (0, 1), "same"), outcome.looping), (4000, 0), "{at_once} at once");
    }
}

/// A program that begins slowly, or says the same faster and faster: as a flood looks, and it is carried to the last word.
#[test]
fn a_program_that_says_the_same_faster_and_faster_is_no_flood() {
    let mesh = Mesh { brokers: vec![Kind::Plain, Kind::Bridge], gateways: vec![vec![(0, 1), (1, 0)]] };
    let bursts = |n: u64| if n == 0 { 0 } else { 400 + n / 10 };
    let accelerates = |n: u64| ((n as f64 + 1.0).log2() * 70.0) as u64;
    let pauses = |n: u64| n / 3 + 200 * (n / 900);
    for (name, at) in [("bursts", &bursts as &dyn Fn(u64) -> u64), ("accelerates", &accelerates), ("pauses", &pauses)] {
        let devices: Vec<_> = (0..4000).map(|n| (at(n), 0, "same".to_owned())).collect();
        let outcome = World::new(&mesh).run(&devices, 3_600_000);
        assert_eq!((outcome.of(0, (0, 1), "same"), outcome.looping), (4000, 0), "{name}");
    }
}

/// Two gateways with all ways between three brokers, where a message multiplies.
#[test]
fn loops_that_feed_each_other_are_ended() {
    let all: Vec<_> = (0..3).flat_map(|from| (0..3).filter(move |to| *to != from).map(move |to| (from, to))).collect();
    for kinds in [[Kind::Bridge; 3], [Kind::Plain; 3]] {
        let mesh = Mesh { brokers: kinds.to_vec(), gateways: vec![all.clone(), all.clone()] };
        let outcome = World::new(&mesh).run(&[(0, 0, "once".to_owned())], 600_000);
        assert!(outcome.looping >= 1 && outcome.last_ms < 60_000, "{kinds:?}: {outcome:?}");
    }
}

/// Two gateways that face each other over brokers without marks: found, and stopped.
#[test]
fn two_gateways_that_face_each_other_are_stopped() {
    let both = vec![(0, 1), (1, 0)];
    for kinds in [[Kind::Bridge, Kind::Bridge], [Kind::Plain, Kind::Plain], [Kind::Plain, Kind::Bridge]] {
        let mesh = Mesh { brokers: kinds.to_vec(), gateways: vec![both.clone(), both.clone()] };
        let outcome = World::new(&mesh).run(&[(0, 0, "once".to_owned())], 600_000);
        assert!(outcome.looping >= 1 && outcome.last_ms < 60_000, "{kinds:?}: {outcome:?}");
        assert!(outcome.most() < 200, "{kinds:?}: {outcome:?}");
    }
    // One that carries marks is no help if the other does not; two of them end it at once.
    let mesh = Mesh { brokers: vec![Kind::Marks, Kind::Marks], gateways: vec![both.clone(), both] };
    let outcome = World::new(&mesh).run(&[(0, 0, "once".to_owned())], 600_000);
    assert_eq!(outcome.looping, 0);
    assert!(outcome.last_ms < 100, "{outcome:?}");
}
