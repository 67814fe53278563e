//! What the tests and the benchmark stand on: real brokers, a broken network, a client of our own, and a ledger.
//!
//! Where a broker, or the network, is to misbehave in a way that can be repeated, [`ScriptedBroker`] has the habits of real
//! ones. A typical test: [`Mosquitto`] on both sides, [`FaultProxy`] between one of them and the gateway, the real binary in
//! [`Tidegate`], a [`Publisher`] and a [`Subscriber`] that write into one [`Ledger`], and at the end
//! `ledger.check("upstream").assert_exactly_once()`.
//!
//! Invariants:
//! - nothing here uses the product's code: [`Client`] has a codec of its own, so that it is an independent check;
//! - it is plain threads and blocking sockets; call it from `spawn_blocking` where there is a runtime;
//! - what cannot be set up panics, with the log of the process that failed; nothing is retried in silence;
//! - every process is killed when its value is dropped, and its log is printed if the test is failing.
//!
//! Start reading at [`Ledger`], then [`Client`].

mod certs;
mod client;
mod ledger;
mod metrics;
mod mosquitto;
mod nats;
mod nats_client;
mod packet;
mod process;
mod proxy;
mod scripted;
mod simdisk;
mod tidegate;
mod tools;
mod traffic;
mod wait;

pub use certs::{Certs, Identity};
pub use client::{Client, ClientOptions, Received, Version, Will};
pub use ledger::{Check, Id, Ledger};
pub use metrics::{Metrics, Sample};
pub use mosquitto::{Mosquitto, MosquittoBuilder};
pub use nats::{Nats, NatsCluster};
pub use nats_client::{NatsClient, NatsMessage};
pub use process::Process;
pub use proxy::{Direction, FaultProxy};
pub use scripted::{
    Answer, End, Habit, Hello, Logged, Match, Message, OneAnswer, Packet, Properties, Property, Published, Script,
    ScriptedBroker, Subscription,
};
pub use simdisk::{Fault, Operation, SimDisk, SimFile, What};
pub use tidegate::{Tidegate, TidegateBuilder};
pub use tools::{MosquittoSub, mosquitto_pub, python};
pub use traffic::{Publisher, PublisherOptions, Subscriber, SubscriberOptions};
pub use wait::{eventually, free_port, within};
