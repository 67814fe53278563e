//! Stories of a client that is killed again and again, and carries on from a log of which the end may be lost.
//!
//! The server keeps its session, its memory and its owner's. The client's owner has only its log: what counts as
//! received is what the log says at the end, and what counts as sent is what the server's owner was given.

mod log;
mod model;

use crate::lossy::{cases, some_bytes};
use model::Model;
use proptest::prelude::*;
use tidegate_mqtt::Version;

/// One step of a story. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Connect,
    /// The client's owner sends its next message.
    Send {
        qos: u8,
    },
    /// The server's owner sends its next message.
    SendBack {
        qos: u8,
    },
    /// So many more records become durable.
    Sync {
        records: u8,
    },
    /// The client writes what it may.
    ClientFlush,
    ServerFlush,
    /// So many bytes come off the wire.
    ToServer {
        bytes: u16,
    },
    ToClient {
        bytes: u16,
    },
    /// The client's owner acknowledges a message whose record is durable.
    ClientAck {
        pick: u8,
    },
    ServerAck {
        pick: u8,
    },
    /// The connection breaks; so many bytes still arrive at the server.
    Cut {
        arrive: u16,
    },
    /// The client is killed; so many bytes still arrive at the server, and so many records turn out to be durable.
    Kill {
        arrive: u16,
        records: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let qos = || prop_oneof![1 => Just(1u8), 3 => Just(2u8)];
    prop_oneof![
        5 => Just(Step::Connect),
        10 => qos().prop_map(|qos| Step::Send { qos }),
        10 => qos().prop_map(|qos| Step::SendBack { qos }),
        8 => prop_oneof![1u8..4, Just(u8::MAX)].prop_map(|records| Step::Sync { records }),
        10 => Just(Step::ClientFlush),
        10 => Just(Step::ServerFlush),
        10 => some_bytes().prop_map(|bytes| Step::ToServer { bytes }),
        10 => some_bytes().prop_map(|bytes| Step::ToClient { bytes }),
        6 => any::<u8>().prop_map(|pick| Step::ClientAck { pick }),
        6 => any::<u8>().prop_map(|pick| Step::ServerAck { pick }),
        2 => some_bytes().prop_map(|arrive| Step::Cut { arrive }),
        3 => (some_bytes(), 0u8..4).prop_map(|(arrive, records)| Step::Kill { arrive, records }),
    ]
}

/// Stories start with a connection that stands.
fn handshake() -> [Step; 5] {
    let bytes = u16::MAX;
    [Step::Connect, Step::ClientFlush, Step::ToServer { bytes }, Step::ServerFlush, Step::ToClient { bytes }]
}

fn tell(version: Version, steps: &[Step]) {
    let mut model = Model::new(version);
    handshake().iter().chain(steps).for_each(|step| model.step(step));
    model.heal();
}

fn story() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..120)
}

proptest! {
    #![proptest_config(cases(1))]
    #[test]
    fn a_kill_costs_no_exactly_once_in_mqtt_3_1(steps in story()) {
        tell(Version::V31, &steps);
    }
}

proptest! {
    #![proptest_config(cases(1))]
    #[test]
    fn a_kill_costs_no_exactly_once_in_mqtt_3_1_1(steps in story()) {
        tell(Version::V311, &steps);
    }
}

proptest! {
    #![proptest_config(cases(2))]
    #[test]
    fn a_kill_costs_no_exactly_once_in_mqtt_5(steps in story()) {
        tell(Version::V5, &steps);
    }
}
