//! NATS JetStream as a broker: into a stream, out of it, and both with processes that die.
//!
//! | Module | What it shows |
//! |---|---|
//! | `faithful` | what a message of MQTT bears comes out of the stream as it went in; topics, filters, what others publish |
//! | `outages` | gateways and servers are killed under load: nothing is lost, in order, and repeats are one message |
//! | `sets` | a stream as a member of a set beside a broker of MQTT: who leaves, is silent, refuses or is slow gives its topics away |
//! | `refusals` | what a stream refuses for now, and what it can never take; streams and rights that are missing |

mod faithful;
mod outages;
mod refusals;
mod sets;

use crate::fixture::{PATIENCE, broker, named_route};
use std::time::Duration;
use tidegate_testkit::{
    ClientOptions, Ledger, Mosquitto, NatsMessage, Publisher, PublisherOptions, Subscriber, SubscriberOptions,
    Tidegate, Version,
};

/// Back soon after a broken connection.
const SOON: &str = "reconnect = { min = \"20ms\", max = \"200ms\" }";

/// An election takes its time, and so does a message that is delivered again.
const LONG_PATIENCE: Duration = Duration::from_secs(90);

/// Messages a second.
const RATE: u32 = 1_000;

/// `[brokers.site]`: the stream `S`, which is made if it is missing.
fn stream(url: &str, keys: &str) -> String {
    broker("site", url, &format!("stream = \"S\"\nsubjects = [\"site.>\"]\n{SOON}\n{keys}"))
}

/// From `home` into the stream, below `site`.
fn into_stream(home: &Mosquitto, site: &str) -> String {
    let remap = "remap = { strip = \"dev/\", prefix = \"site/\" }";
    broker("home", &home.url(), SOON)
        + site
        + &named_route("in", "home", &["dev/#"], 2, &["site"], remap)
        + &named("into")
}

/// Gateways behind each other have names of their own: what bears its name a gateway has had already.
fn named(name: &str) -> String {
    format!("[gateway]\nname = \"{name}\"\ndata_dir = \"{{dir}}/data\"\n")
}

/// Out of the stream to `office`.
fn out_of_stream(office: &Mosquitto, site: &str) -> String {
    broker("office", &office.url(), SOON)
        + site
        + &named_route("out", "site", &["site/#"], 1, &["office"], "")
        + &named("out-of")
}

#[track_caller]
fn publisher(home: &Mosquitto, qos: u8, ledger: &Ledger) -> Publisher {
    let client = ClientOptions::new(Version::V5, "publisher").clean(false);
    let mut options = PublisherOptions::new(client, "dev/{key}/temp");
    (options.rate, options.qos) = (RATE, qos);
    Publisher::start(home.port(), options, ledger)
}

#[track_caller]
fn subscriber(office: &Mosquitto, ledger: &Ledger) -> Subscriber {
    let client = ClientOptions::new(Version::V5, "subscriber").clean(false);
    Subscriber::start(office.port(), SubscriberOptions::new(client, "office", "site/+/temp", 1), ledger)
}

/// What is in a stream, as a subscriber of the ledger would have received it.
fn read_stream(messages: &[NatsMessage], ledger: &Ledger) {
    messages.iter().for_each(|message| ledger.received_payload("stream", &message.payload));
}
