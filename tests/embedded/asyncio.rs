//! aiomqtt and gmqtt, clients for Python's asyncio, are at home on the box's own broker.
//!
//! `scripts/soak clients` has the longer story: keep-alive, a broker that goes away, mosquitto beside it.

use super::at_home::{at_home, limited, python};

#[track_caller]
fn aiomqtt(transport: &str, version: &str) {
    at_home(limited(python("aiomqtt")), "aiomqtt_at_home.py", transport, version);
}

#[track_caller]
fn gmqtt(version: &str) {
    at_home(limited(python("gmqtt")), "gmqtt_at_home.py", "tcp", version);
}

#[test]
fn aiomqtt_is_at_home_over_tcp_with_3_1_1() {
    aiomqtt("tcp", "3.1.1");
}

#[test]
fn aiomqtt_is_at_home_over_tcp_with_5() {
    aiomqtt("tcp", "5");
}

#[test]
fn aiomqtt_is_at_home_over_websockets_with_3_1_1() {
    aiomqtt("ws", "3.1.1");
}

#[test]
fn aiomqtt_is_at_home_over_websockets_with_5() {
    aiomqtt("ws", "5");
}

#[test]
fn gmqtt_is_at_home_with_3_1_1() {
    gmqtt("3.1.1");
}

#[test]
fn gmqtt_is_at_home_with_5() {
    gmqtt("5");
}
