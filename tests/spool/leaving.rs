//! In which order and how fast a backlog leaves.

use super::*;
use std::time::Instant;

#[test]
fn high_leaves_before_normal_and_normal_before_low() {
    const EACH: u64 = 500;
    let routes: String = ["low", "normal", "high"]
        .map(|name| {
            named_route(name, "home", &[&format!("{name}/#")], 1, &["office"], &format!("priority = \"{name}\""))
        })
        .concat();
    let queue = Queue::start("", &routes);
    let witness = queue.witness();
    // The last to come leaves first.
    for name in ["low", "normal", "high"] {
        queue.publish(name, name, EACH);
    }
    queue.taken(3 * EACH);
    let (arrived, _) = queue.drain(&witness);
    let expected = ["high", "normal", "low"].map(|name| ids(name, 0..EACH)).concat();
    assert_eq!(arrived, expected);
}

#[test]
fn a_backlog_leaves_at_its_rate() {
    const RATE: f64 = 200.0;
    const BACKLOG: u64 = 600;
    let queue = Queue::of_one_route("drain_rate = 200");
    let witness = queue.witness();
    queue.publish("dev", "k", BACKLOG);
    queue.taken(BACKLOG);
    eventually("it is a backlog", PATIENCE, || {
        queue.tidegate.metrics().get("tidegate_spool_oldest_seconds", &[]).is_some_and(|seconds| seconds >= 2.0)
    });
    let begin = Instant::now();
    queue.to_office.heal();
    let mut looks = 0;
    eventually("all of it arrives", PATIENCE, || {
        let (count, time) = (witness.count() as f64, begin.elapsed().as_secs_f64());
        // A tenth of a second's worth may leave at once; a look may be late, but then time has passed, too.
        assert!(count <= RATE * time + RATE / 5.0, "{count} messages in {time} s");
        looks += 1;
        count as u64 == BACKLOG
    });
    assert!(looks > 10);
    assert_eq!(queue.drain(&witness).0, ids("k", 0..BACKLOG));
}

#[test]
fn what_is_late_says_so() {
    let queue = Queue::of_one_route("mark_late = \"1s\"");
    let subscriber =
        MosquittoSub::start(queue.office.port(), &["-V", "5", "-q", "1", "-t", "dev/#", "-F", "MESSAGE %t [%P]"]);
    mosquitto_pub(queue.home.port(), &["-V", "5", "-q", "1", "-t", "dev/late", "-m", "x"]);
    queue.taken(1);
    eventually("it is late", PATIENCE, || {
        queue.tidegate.metrics().get("tidegate_spool_oldest_seconds", &[]).is_some_and(|seconds| seconds >= 2.0)
    });
    queue.to_office.heal();
    subscriber.expect(1, PATIENCE);
    mosquitto_pub(queue.home.port(), &["-V", "5", "-q", "1", "-t", "dev/prompt", "-m", "x"]);
    let lines = subscriber.expect(2, PATIENCE);
    let late: u64 = lines[0]
        .strip_prefix("dev/late [tidegate-late:")
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no mark: {lines:?}"));
    assert!((2..60).contains(&late), "{lines:?}");
    assert_eq!(lines[1], "dev/prompt [tidegate-hops:test/office]");
}
