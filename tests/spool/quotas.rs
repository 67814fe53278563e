//! What does not fit, and what has waited too long.

use super::*;

const QUOTA: u64 = 1_000;
const SENT: u64 = 3_000;

impl Queue {
    /// The log tells of some of the messages that were dropped, with route and topic, and not of each.
    #[track_caller]
    fn told(&self, words: &str, reason: &str) {
        eventually(&format!("the log tells of {words}"), PATIENCE, || self.tidegate.log().contains(words));
        let log = self.tidegate.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
        assert!((1..=100).contains(&lines.len()), "{} lines of {words}", lines.len());
        for word in ["WARN", "route=", "topic=dev/", &format!("reason=\"{reason}\"")] {
            assert!(lines[0].contains(word), "no {word} in {}", lines[0]);
        }
    }
}

#[test]
fn drop_oldest_keeps_the_newest() {
    let queue = Queue::of_one_route("max_messages = 1000, when_full = \"drop-oldest\"");
    let witness = queue.witness();
    queue.publish("dev", "k", SENT);
    queue.taken(SENT);
    assert_eq!(queue.dropped("quota"), SENT - QUOTA);
    queue.told("a message that waited is dropped", "quota");
    let (arrived, _) = queue.drain(&witness);
    assert_eq!(arrived, ids("k", SENT - QUOTA..SENT));
}

#[test]
fn drop_newest_keeps_the_oldest() {
    let queue = Queue::of_one_route("max_messages = 1000, when_full = \"drop-newest\"");
    let witness = queue.witness();
    queue.publish("dev", "k", SENT);
    queue.taken(SENT);
    assert_eq!(queue.dropped("quota"), SENT - QUOTA);
    queue.told("the spool does not take a message", "quota");
    let (arrived, _) = queue.drain(&witness);
    assert_eq!(arrived, ids("k", 0..QUOTA));
}

#[test]
fn block_leaves_the_rest_with_the_source_and_loses_nothing() {
    let mut queue = Queue::of_one_route("max_messages = 1000, when_full = \"block\"");
    let witness = queue.witness();
    queue.publish("dev", "k", SENT);
    eventually("the source waits", PATIENCE, || {
        queue.count("tidegate_spool_blocked", &[]) > 0 && queue.count("tidegate_spool_queued", &[]) == QUOTA
    });
    assert!(queue.count("tidegate_unacknowledged", &[]) > 0, "its source has not been told");
    // Not even a start makes it more than that.
    queue.tidegate.kill();
    queue.tidegate.relaunch();
    eventually("the source waits again", PATIENCE, || {
        queue.tidegate.get("/metrics").is_ok() && queue.count("tidegate_spool_blocked", &[]) > 0
    });
    assert_eq!(queue.count("tidegate_spool_queued", &[]), QUOTA);
    queue.to_office.heal();
    eventually("all of it arrives", PATIENCE, || witness.count() as u64 >= SENT);
    let (arrived, metrics) = queue.drain(&witness);
    assert_eq!(arrived, ids("k", 0..SENT));
    assert_eq!(metrics.get("tidegate_route_dropped_total", &[]).unwrap_or(0.0), 0.0);
}

#[test]
fn what_is_too_old_is_dropped_and_counted() {
    let queue = Queue::of_one_route("max_age = \"1s\"");
    let witness = queue.witness();
    queue.publish("dev", "old", 100);
    eventually("it is too old", PATIENCE, || queue.dropped("too_old") == 100);
    queue.told("a message that waited is dropped", "too_old");
    assert_eq!(queue.count("tidegate_spool_queued", &[]), 0);
    queue.to_office.heal();
    queue.publish("dev", "new", 1);
    eventually("what is new arrives", PATIENCE, || witness.count() >= 1);
    assert_eq!(queue.drain(&witness).0, ids("new", 0..1));
}

#[test]
fn what_is_left_of_an_expiry_goes_on_and_what_has_expired_does_not() {
    let queue = Queue::of_one_route("");
    let subscriber =
        MosquittoSub::start(queue.office.port(), &["-V", "5", "-q", "1", "-t", "dev/#", "-F", "MESSAGE %t %E"]);
    for (topic, seconds) in [("dev/long", "100"), ("dev/short", "1")] {
        let expiry = ["-D", "publish", "message-expiry-interval", seconds];
        mosquitto_pub(queue.home.port(), &[&["-V", "5", "-q", "1", "-t", topic, "-m", "x"][..], &expiry].concat());
    }
    queue.taken(2);
    eventually("they have waited", PATIENCE, || {
        let oldest = queue.tidegate.metrics().get("tidegate_spool_oldest_seconds", &[]);
        oldest.is_some_and(|seconds| seconds >= 3.0)
    });
    queue.to_office.heal();
    eventually("the short one has expired", PATIENCE, || queue.dropped("expired") == 1);
    let lines = subscriber.expect(1, PATIENCE);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let left: u32 = lines[0].strip_prefix("dev/long ").and_then(|left| left.parse().ok()).expect("an expiry");
    assert!((1..=97).contains(&left), "{left} of 100 s are left after more than 3 s");
}
