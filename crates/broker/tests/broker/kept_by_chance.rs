//! Stories by chance: clients publish, take, come and go, and the process is killed or the power lost at any time. What was
//! acknowledged arrives, at QoS 2 once, and of each publisher in the order of publishing.

use crate::device::{Device, anonymous, lasting, message, with_disk};
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::{ClientSession, ReasonCode, Version};
use tidegate_testkit::SimDisk;

const PUBLISHERS: usize = 3;
const SUBSCRIBERS: usize = 3;
const LIVES: usize = 12;
const STEPS: u64 = 120;

fn stories() -> u64 {
    let asked = std::env::var("TIDEGATE_CASES").ok().and_then(|text| text.parse::<u64>().ok());
    asked.map_or(20, |cases| cases / 500).max(1)
}

/// Chance that is the same every time (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// A client over all lives of the broker.
struct Client {
    name: String,
    version: Version,
    session: Option<ClientSession>,
    device: Option<Device>,
    /// What a publisher has sent, and what is acknowledged, by payload.
    sent: BTreeMap<String, bool>,
    next: usize,
    /// What a subscriber got, in order.
    got: Vec<String>,
}

impl Client {
    fn new(name: String, version: Version) -> Self {
        Self { name, version, session: None, device: None, sent: BTreeMap::new(), next: 0, got: Vec::new() }
    }

    async fn connect(&mut self, addr: std::net::SocketAddr, subscribes: bool) {
        if self.device.is_some() {
            return;
        }
        let is_first = self.session.is_none();
        let session = self.session.take().unwrap_or_else(|| ClientSession::new(std::time::Instant::now()));
        let (mut device, connected) = Device::resume(addr, lasting(&self.name, self.version), session).await.unwrap();
        assert!(is_first || connected.session_present, "{} had a session", self.name);
        if subscribes && is_first {
            device.subscribe("t/#", QoS::ExactlyOnce).await;
        }
        self.device = Some(device);
    }

    fn vanish(&mut self) {
        if let Some(mut device) = self.device.take() {
            Self::take(&mut device, &mut self.got);
            self.session = Some(device.vanish());
        }
    }

    /// Reads what there is, for a moment.
    async fn read(&mut self, moment: Duration) {
        let Some(device) = &mut self.device else { return };
        if let Ok(false) = tokio::time::timeout(moment, device.turn()).await {
            panic!("the broker closed the connection of {}", self.name);
        }
        device.flush().await;
        while let Some(completed) = device.completed.pop_front() {
            assert_eq!(completed.reason, ReasonCode::SUCCESS, "{}", self.name);
            let payload = format!("{}/{:05}", self.name, completed.key);
            self.sent.insert(payload, true);
        }
        Self::take(device, &mut self.got);
        device.flush().await;
    }

    fn take(device: &mut Device, got: &mut Vec<String>) {
        while let Some(received) = device.received.pop_front() {
            got.push(String::from_utf8(received.message.payload.to_vec()).unwrap());
            if let Some(token) = received.ack {
                device.session.ack(token);
            }
        }
    }
}

fn tell(seed: u64, qos: QoS) {
    let mut dice = Dice(seed);
    let mut disk = SimDisk::new();
    let versions = [Version::V311, Version::V5];
    let mut publishers: Vec<_> = (0..PUBLISHERS).map(|at| Client::new(format!("p{at}"), versions[at % 2])).collect();
    let mut subscribers: Vec<_> = (0..SUBSCRIBERS).map(|at| Client::new(format!("s{at}"), versions[at % 2])).collect();
    for life in 0..LIVES {
        let is_last = life + 1 == LIVES;
        let (publishers, subscribers) = (&mut publishers, &mut subscribers);
        let mut chance = Dice(dice.below(usize::MAX) as u64);
        with_disk(&disk, anonymous(), |server| async move {
            // Whoever is there before anything is published gets everything.
            for one in subscribers.iter_mut() {
                one.connect(server.addr, true).await;
            }
            for _ in 0..STEPS {
                let (at, other) = (chance.below(PUBLISHERS), chance.below(SUBSCRIBERS));
                match chance.below(12) {
                    0..4 => {
                        let one = &mut publishers[at];
                        one.connect(server.addr, false).await;
                        let number = one.next + 1;
                        let payload = format!("{}/{number:05}", one.name);
                        let device = one.device.as_mut().unwrap();
                        let topic = format!("t/{}", one.name);
                        // What was under way is sent again first.
                        if device.session.publish(number as u64, message(&topic, &payload, qos)).is_ok() {
                            one.next = number;
                            one.sent.insert(payload, false);
                        }
                        device.flush().await;
                    }
                    4..7 => publishers[at].read(Duration::from_millis(1)).await,
                    7..10 => subscribers[other].read(Duration::from_millis(1)).await,
                    10 => subscribers[other].vanish(),
                    _ => subscribers[other].connect(server.addr, true).await,
                }
            }
            if is_last {
                for one in publishers.iter_mut() {
                    one.connect(server.addr, false).await;
                    while one.sent.values().any(|acked| !acked) {
                        one.read(Duration::from_secs(5)).await;
                    }
                }
                for one in subscribers.iter_mut() {
                    one.connect(server.addr, true).await;
                    let wanted: usize = publishers.iter().map(|one| one.sent.len()).sum();
                    let distinct = |got: &[String]| got.iter().collect::<std::collections::BTreeSet<_>>().len();
                    let deadline = std::time::Instant::now() + Duration::from_secs(10);
                    while distinct(&one.got) < wanted && std::time::Instant::now() < deadline {
                        one.read(Duration::from_millis(50)).await;
                    }
                    one.read(Duration::from_millis(20)).await;
                }
            }
            for one in publishers.iter_mut().chain(subscribers.iter_mut()) {
                one.vanish();
            }
        });
        disk = if dice.below(2) == 0 { disk.killed() } else { disk.crash(dice.below(usize::MAX) as u64) };
    }
    for one in &subscribers {
        for publisher in &publishers {
            let is_its = |payload: &&String| payload.starts_with(&publisher.name);
            let got: Vec<&String> = one.got.iter().filter(is_its).collect();
            let mut first: Vec<&String> = Vec::new();
            for payload in &got {
                if !first.contains(payload) {
                    first.push(payload);
                }
            }
            let wanted: Vec<&String> = publisher.sent.keys().collect();
            assert_eq!(first, wanted, "story {seed}: what {} got of {}", one.name, publisher.name);
            if qos == QoS::ExactlyOnce {
                assert_eq!(got.len(), wanted.len(), "story {seed}: {} got something twice: {got:?}", one.name);
            }
        }
    }
}

#[test]
fn at_qos_1_nothing_is_lost_or_out_of_order_whenever_the_process_ends() {
    (0..stories()).for_each(|seed| tell(seed, QoS::AtLeastOnce));
}

#[test]
fn at_qos_2_nothing_is_lost_or_repeated_whenever_the_process_ends() {
    (0..stories()).for_each(|seed| tell(1000 + seed, QoS::ExactlyOnce));
}
