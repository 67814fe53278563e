//! Messages that wait on disk for a target that is away, over ends of the gateway that are wanted and unwanted.

use super::*;

/// More than any window, and more than a link has in its session at a time.
const BACKLOG: u64 = 6_000;

/// Cuts the target off, and waits until all of `BACKLOG` is on disk: the source has every acknowledgement.
#[track_caller]
fn gather(line: &Line) {
    line.cut();
    line.publish_all(BACKLOG);
    eventually("all of it is on disk", LONG_PATIENCE, || {
        let metrics = line.tidegate.metrics();
        let count = |name: &str| metrics.get(name, &[]).unwrap_or(0.0);
        count("tidegate_route_received_total") >= BACKLOG as f64 && count("tidegate_unacknowledged") == 0.0
    });
    assert_eq!(line.subscriber.received(), 0, "the target is away");
}

#[test]
fn after_sigterm_with_the_target_away_the_next_start_delivers_in_order() {
    for qos in [1, 2] {
        let mut line = Line::start(qos, false);
        gather(&line);
        let status = line.tidegate.terminate(PATIENCE);
        assert_eq!(status.code(), Some(0), "{}", line.tidegate.log());
        line.tidegate.relaunch();
        line.heal();
        let (check, metrics) = line.finish();
        check.assert_exactly_once().assert_nothing_missing().assert_published(BACKLOG as usize);
        assert_eq!(metrics.get("tidegate_route_recovered_total", &[]), Some(BACKLOG as f64));
    }
}

#[test]
fn killed_again_and_again_while_a_backlog_drains() {
    for qos in [1, 2] {
        let mut line = Line::start(qos, false);
        gather(&line);
        // Slow enough to be met in the middle: the whole of it would take about ten seconds.
        line.to_office.bandwidth(150_000);
        line.to_office.refuse(false);
        for _ in 0..5 {
            let before = line.subscriber.received();
            eventually("some of it drains", LONG_PATIENCE, || line.subscriber.received() >= before + 200);
            line.tidegate.kill();
            assert!(line.subscriber.received() < BACKLOG, "it drains still");
            line.tidegate.relaunch();
        }
        line.heal();
        let (check, metrics) = line.finish();
        check.assert_nothing_missing().assert_published(BACKLOG as usize);
        assert!(metrics.get("tidegate_route_recovered_total", &[]) > Some(0.0));
    }
}
