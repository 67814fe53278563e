//! A target that is away beside one that is not.

use super::*;

/// Counted in each of the two halves.
const HALF: Duration = Duration::from_secs(4);

/// How much of the fast target's rate must be left, at least. Printed is what is left.
const LEFT_MIN: f64 = 0.8;

/// On disk at the end.
const BACKLOG: u64 = 200_000;

/// What the process may have grown by then, in bytes: a window of the backlog and what each message weighs in the index.
const GROWTH_MAX: u64 = 64 << 20;

/// `from` to `fast`, and to `slow` where `both`.
fn config(home: &Mosquitto, fast: &Mosquitto, slow: &FaultProxy, both: bool) -> String {
    let to: &[&str] = if both { &["fast", "slow"] } else { &["fast"] };
    let keys = "version = \"5\"\nreconnect = { min = \"20ms\", max = \"100ms\" }";
    broker("home", &home.url(), keys)
        + &broker("fast", &fast.url(), keys)
        + &broker("slow", &slow.url(), keys)
        + &named_route("main", "home", &["dev/#"], 1, to, "")
}

fn memory_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a kernel that counts memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn a_target_that_is_away_takes_nothing_from_the_other_and_its_backlog_is_on_disk() {
    let (home, fast, slow) = (Mosquitto::start(), Mosquitto::start(), Mosquitto::start());
    let to_slow = FaultProxy::start(slow.port());
    let tidegate = Tidegate::start(&config(&home, &fast, &to_slow, false));
    to_slow.refuse(true);
    to_slow.reset();
    let out = || tidegate.metrics().get("tidegate_broker_sent_total", &[("broker", "fast")]).unwrap_or(0.0);
    let waiting = || tidegate.metrics().get("tidegate_spool_queued", &[("target", "slow")]).unwrap_or(0.0) as u64;
    let ledger = Ledger::new();
    let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "publisher"), "dev/{key}/temp");
    options.client = options.client.window(1_000);
    let publisher = Publisher::start(home.port(), options, &ledger);
    // Taken in turns, so that a busy moment of the machine hits both.
    let (mut alone, mut beside) = (0.0, 0.0);
    eventually("it carries", PATIENCE, || out() > 1_000.0);
    for _ in 0..3 {
        for (both, sum) in [(true, &mut beside), (false, &mut alone)] {
            let reloads = || tidegate.metrics().get("tidegate_reloads_total", &[]);
            let before = reloads();
            tidegate.edit_config(&config(&home, &fast, &to_slow, both));
            eventually("the route is another", PATIENCE, || reloads() > before);
            let before = out();
            std::thread::sleep(HALF / 3);
            *sum += out() - before;
        }
    }
    let left = beside / alone;
    println!("beside a target that is away: {beside} messages, without it {alone}: {left:.3}");
    assert!(left >= LEFT_MIN, "{left}");

    tidegate.edit_config(&config(&home, &fast, &to_slow, true));
    let small = memory_bytes(tidegate.pid());
    eventually("the backlog grows", 8 * PATIENCE, || waiting() >= BACKLOG);
    let large = memory_bytes(tidegate.pid());
    println!("a backlog of {} messages: from {small} to {large} bytes of memory", waiting());
    assert!(large.saturating_sub(small) <= GROWTH_MAX, "from {small} to {large}");
    publisher.stop();
}
