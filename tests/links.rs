//! Links to brokers with habits: what a broker loses, refuses or cannot take costs that message at most.
//!
//! Most of these stand between two scripted brokers: `s`, the source, and `t`, the target. What goes on is asked of them, of
//! `/ready`, of the metrics and of the log, in this order.
//!
//! | Module | What it shows |
//! |---|---|
//! | `subscriptions` | what is subscribed is what a SUBACK has granted |
//! | `refused` | a refused subscription is a state, seen, and asked for again |
//! | `culprits` | a message that a target hangs up on is found and put aside |
//! | `doors` | what the next broker would hang up on is refused at the own broker |
//! | `skipped` | a packet from a source that we cannot take is read past |
//! | `cuts` | nothing is put aside because of the network |
//! | `handshakes` | exchanges that a broker answers its own way are completed |
//! | `personas` | whole brokers, by their habits |
//! | `hello` | `auto` finds a way in; all addresses of a name |
//! | `capabilities` | what a broker cannot do is said once |
//! | `refusals` | what a target refuses is told |
//! | `members` | members of sets that are there and do nothing: when others take over, and when not |
//! | `files` | `check` finds what `run` would refuse |
//! | `small_plants` | certificates, tokens, headers, births, `$SYS` of small set-ups |
//! | `conversations` | random conversations end drained, or with a reason in `/ready` |

mod capabilities;
mod conversations;
mod culprits;
mod cuts;
mod doors;
mod files;
mod handshakes;
mod hello;
mod members;
mod personas;
mod probes;
mod refusals;
mod refused;
mod skipped;
mod small_plants;
mod subscriptions;

use crate::fixture::{PATIENCE, broker, named_route};
use serde_json::Value;
use tidegate_testkit::{Message, ScriptedBroker, Tidegate, eventually, within};

/// Back soon after a broken connection.
const SOON: &str = "reconnect = { min = \"50ms\", max = \"300ms\" }";

/// The versions that differ on the wire.
const VERSIONS: [&str; 3] = ["3.1", "3.1.1", "5"];

/// `[brokers.NAME]` of a version, back soon, with more of its keys.
fn link(name: &str, url: &str, version: &str, keys: &str) -> String {
    broker(name, url, &format!("version = \"{version}\"\n{SOON}\n{keys}"))
}

/// From `s` to `t`, both of this version: everything that matches these filters, as it came.
fn line(s: &ScriptedBroker, t: &ScriptedBroker, version: &str, topics: &[&str]) -> String {
    link("s", &s.url(), version, "") + &link("t", &t.url(), version, "") + &named_route("r", "s", topics, 2, &["t"], "")
}

/// Messages with these payloads, of one topic.
fn send(s: &ScriptedBroker, topic: &str, qos: u8, payloads: impl IntoIterator<Item = String>) {
    for payload in payloads {
        s.publish(Message::new(topic, payload).at(qos));
    }
}

/// So many different payloads.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n:04}")).collect()
}

/// Waits until a broker has taken a message with this payload.
#[track_caller]
fn arrives(t: &ScriptedBroker, payload: &str) {
    eventually(&format!("`{payload}` arrives"), PATIENCE, || t.payloads().iter().any(|came| came == payload));
}

/// Waits until a broker has taken exactly these, and no others, in this order. A repetition with the DUP flag does not
/// count; where the connection ended before the first was taken, it is the first.
#[track_caller]
fn arrive_in_order(t: &ScriptedBroker, payloads: &[String]) {
    let came = || {
        let mut came: Vec<String> = Vec::new();
        for taken in t.published() {
            let payload = String::from_utf8_lossy(&taken.message.payload).into_owned();
            if !taken.dup || !came.contains(&payload) {
                came.push(payload);
            }
        }
        came
    };
    within(PATIENCE, || came().len() >= payloads.len());
    assert_eq!(came(), payloads, "what arrives is what was sent, in order");
}

/// Waits until the source has nothing more that we owe it an answer for.
#[track_caller]
fn acknowledged(s: &ScriptedBroker) {
    eventually("the source has all its acknowledgements", PATIENCE, || s.unacknowledged() == 0);
}

/// Waits until nothing is under way in any route, and nothing waits on disk.
#[track_caller]
fn drained(tidegate: &Tidegate) {
    eventually("everything has left", PATIENCE, || {
        let metrics = tidegate.metrics();
        ["tidegate_route_in_flight", "tidegate_unacknowledged", "tidegate_spool_queued"]
            .iter()
            .all(|name| metrics.get(name, &[]).unwrap_or(0.0) == 0.0)
    });
}

/// Waits until `/ready` is 503 and says all of these words.
#[track_caller]
fn not_ready(tidegate: &Tidegate, words: &[&str]) {
    let mut said = (0, String::new());
    let names_all = within(PATIENCE, || {
        said = tidegate.get("/ready").unwrap_or_default();
        said.0 == 503 && words.iter().all(|word| said.1.contains(word))
    });
    assert!(names_all, "/ready is to be 503 with {words:?}, and is {said:?}\n{}", tidegate.log());
}

/// Waits until `/ready` is 200.
#[track_caller]
fn ready(tidegate: &Tidegate) {
    let is_ready = within(PATIENCE, || tidegate.is_ready());
    assert!(is_ready, "/ready is to be 200, and is {:?}\n{}", tidegate.get("/ready"), tidegate.log());
}

/// Waits until one line of the log has all of these words, whatever their case.
#[track_caller]
fn says(tidegate: &Tidegate, words: &[&str]) {
    let said = within(PATIENCE, || lines_with(tidegate, words) > 0);
    assert!(said, "no line with {words:?} in\n{}", tidegate.log());
}

/// How many lines of the log have all of these words, whatever their case.
fn lines_with(tidegate: &Tidegate, words: &[&str]) -> usize {
    let log = tidegate.log().to_lowercase();
    log.lines().filter(|line| words.iter().all(|word| line.contains(&word.to_lowercase()))).count()
}

/// A counter or gauge; 0 where there is none.
fn count(tidegate: &Tidegate, name: &str, labels: &[(&str, &str)]) -> u64 {
    tidegate.metrics().get(name, labels).unwrap_or(0.0) as u64
}

/// Waits until a counter or gauge has this value.
#[track_caller]
fn counts(tidegate: &Tidegate, name: &str, labels: &[(&str, &str)], value: u64) {
    let counted = within(PATIENCE, || count(tidegate, name, labels) == value);
    let now = tidegate.metrics();
    assert!(counted, "{name} {labels:?} is to be {value}, and is {:?}\n{}", now.samples(name), tidegate.log());
}

/// What `/parked` lists.
#[track_caller]
fn parked(tidegate: &Tidegate) -> Vec<Value> {
    let (status, body) = tidegate.get("/parked").expect("an answer of the admin listener");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("a list in JSON")
}

/// Waits until so many are parked, and gives them back.
#[track_caller]
fn are_parked(tidegate: &Tidegate, messages: usize) -> Vec<Value> {
    let found = within(PATIENCE, || parked(tidegate).len() == messages);
    assert!(found, "{messages} are to be parked, and these are: {:?}\n{}", parked(tidegate), tidegate.log());
    parked(tidegate)
}
