//! `kill -9` at random instants under load.
//!
//! `scripts/soak kill` runs these with more kills, and reads the lines that begin with `kills:`.

use super::*;
use crate::fixture::Dice;

/// Says how many kills each test makes.
pub(super) const KILLS_VARIABLE: &str = "TIDEGATE_KILLS";

/// Without it.
const KILLS: u64 = 5;

/// From a start to the next kill, in milliseconds. The least is after the start, the most is well under way.
pub(super) const LIFE_MS: std::ops::Range<u64> = 50..400;

/// With the target away it comes back for a moment after so many kills, so that it is lost in many states.
const AWAY: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Up,
    Away,
}

#[test]
fn qos_1_nothing_is_lost_with_the_target_up() {
    killed("qos 1, target up", 1, Target::Up, false);
}

#[test]
fn qos_1_nothing_is_lost_with_the_target_away() {
    killed("qos 1, target away", 1, Target::Away, false);
}

#[test]
fn qos_2_exactly_once_with_the_target_up() {
    killed("qos 2, target up", 2, Target::Up, false);
}

#[test]
fn qos_2_exactly_once_with_the_target_away() {
    killed("qos 2, target away", 2, Target::Away, false);
}

#[test]
fn qos_2_exactly_once_through_a_plugin() {
    killed("qos 2, target up, plugin", 2, Target::Up, true);
}

#[track_caller]
fn killed(what: &str, qos: u8, target: Target, with_plugin: bool) {
    let kills = std::env::var(KILLS_VARIABLE).ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut dice = Dice::new();
    println!("{what}: {kills} kills, TIDEGATE_SEED={}", dice.seed);
    let mut line = Line::start(qos, with_plugin);
    let publisher = line.publish(RATE);
    line.carries(500);
    let (mut recovered, mut received) = (0, 0);
    for kill in 0..kills {
        if target == Target::Away && kill % AWAY == 0 {
            if kill > 0 {
                line.heal();
                line.carries(200);
            }
            line.cut();
        }
        std::thread::sleep(Duration::from_millis(dice.between(LIFE_MS.start, LIFE_MS.end)));
        let before_kill = line.tidegate.get("/metrics").map_or(Metrics::default(), |(_, text)| Metrics::parse(&text));
        received += before_kill.get("tidegate_route_received_total", &[]).unwrap_or(0.0) as u64;
        recovered += before_kill.get("tidegate_route_recovered_total", &[]).unwrap_or(0.0) as u64;
        // Not always in the same moment after an answer.
        std::thread::sleep(Duration::from_micros(dice.between(0, 20_000)));
        line.tidegate.kill();
        line.tidegate.relaunch();
    }
    line.heal();
    line.carries(200);
    publisher.stop();
    let (seed, (check, _)) = (dice.seed, line.finish());
    check.assert_published(500);
    let repeated: u64 = check.repeated.iter().map(|(_, times)| times - 1).sum();
    println!(
        "kills: {what}: {kills} kills, {} published, {} acknowledged, lost {}, repeated {repeated}, reordered {}, taken {received}, recovered {recovered}, seed {seed}",
        check.published,
        check.acknowledged,
        check.lost.len(),
        check.reordered.len(),
    );
    assert!(received > 0, "it carries between two kills");
}
