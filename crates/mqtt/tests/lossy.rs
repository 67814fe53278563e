//! Stories of two sessions and a bad wire, told against the model in `model`.

use crate::model::{Model, Step, Terms};
use proptest::prelude::*;
use tidegate_mqtt::Version;

/// In all, over the three versions; `TIDEGATE_CASES` or `PROPTEST_CASES` asks for more.
const CASES: u32 = 20_000;

pub(crate) fn cases(tenths: u32) -> ProptestConfig {
    let asked = std::env::var("TIDEGATE_CASES").or_else(|_| std::env::var("PROPTEST_CASES"));
    let count = asked.ok().and_then(|text| text.parse().ok()).unwrap_or(CASES) * tenths / 10;
    ProptestConfig { cases: count.max(1), failure_persistence: None, max_shrink_iters: 20_000, ..Default::default() }
}

/// Any number of bytes, most often few or all.
pub(crate) fn some_bytes() -> impl Strategy<Value = u16> {
    prop_oneof![0u16..12, 12u16..200, Just(u16::MAX)]
}

fn step() -> impl Strategy<Value = Step> {
    let publish = (0usize..2, 0u8..3, 0u8..6, 0u8..60, any::<bool>())
        .prop_map(|(from, qos, topic, pad, rich)| Step::Publish { from, qos, topic, pad, rich });
    prop_oneof![
        4 => Just(Step::Connect),
        14 => publish,
        12 => (0usize..2).prop_map(|from| Step::Flush { from }),
        16 => (0usize..2, some_bytes()).prop_map(|(to, bytes)| Step::Deliver { to, bytes }),
        8 => (0usize..2, any::<u8>(), prop::bool::weighted(0.1))
            .prop_map(|(by, pick, refuse)| Step::Ack { by, pick, refuse }),
        2 => (0usize..2, any::<u8>()).prop_map(|(by, pick)| Step::Stale { by, pick }),
        3 => (0usize..2, any::<u8>()).prop_map(|(from, pick)| Step::Repeat { from, pick }),
        3 => (some_bytes(), some_bytes()).prop_map(|(a, b)| Step::Cut { arrive: [a, b] }),
        1 => (0usize..2).prop_map(|side| Step::Lose { side }),
    ]
}

fn terms(v5: bool) -> impl Strategy<Value = Terms> {
    let receive_maximum = prop_oneof![1u16..4, 4u16..12, Just(u16::MAX)];
    let size = if v5 { prop_oneof![3 => Just(100_000u32), 1 => 64u32..120].boxed() } else { Just(100_000).boxed() };
    let aliases = if v5 { (0u16..5).boxed() } else { Just(0).boxed() };
    let both = (receive_maximum, size, aliases);
    (both.clone(), both).prop_map(|(client, server)| Terms {
        receive_maximum: [client.0, server.0],
        max_packet_size: [client.1, server.1],
        topic_alias_max: [client.2, server.2],
    })
}

fn story(v5: bool) -> impl Strategy<Value = (Vec<Terms>, Vec<Step>)> {
    (prop::collection::vec(terms(v5), 1..4), prop::collection::vec(step(), 0..120))
}

fn tell(version: Version, terms: Vec<Terms>, steps: &[Step]) {
    let mut model = Model::new(version, terms);
    handshake().iter().chain(steps).for_each(|step| model.step(step));
    model.heal();
}

/// Stories start with a connection that stands.
fn handshake() -> [Step; 5] {
    let all = u16::MAX;
    [
        Step::Connect,
        Step::Flush { from: 0 },
        Step::Deliver { to: 1, bytes: all },
        Step::Flush { from: 1 },
        Step::Deliver { to: 0, bytes: all },
    ]
}

proptest! {
    #![proptest_config(cases(2))]
    #[test]
    fn a_bad_wire_costs_no_promise_in_mqtt_3_1((terms, steps) in story(false)) {
        tell(Version::V31, terms, &steps);
    }
}

proptest! {
    #![proptest_config(cases(3))]
    #[test]
    fn a_bad_wire_costs_no_promise_in_mqtt_3_1_1((terms, steps) in story(false)) {
        tell(Version::V311, terms, &steps);
    }
}

proptest! {
    #![proptest_config(cases(5))]
    #[test]
    fn a_bad_wire_costs_no_promise_in_mqtt_5((terms, steps) in story(true)) {
        tell(Version::V5, terms, &steps);
    }
}
