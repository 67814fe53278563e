use super::*;
use proptest::prelude::*;
use tidegate_sdk::{state, testing};

fn windows(config: &str) -> Windows {
    testing::plugin(config)
}

/// What is said, each as `topic start-end text-of-the-numbers`.
fn told(outputs: Vec<Output>) -> Vec<String> {
    let one = |output: Output| {
        let text: serde_json::Value = serde_json::from_slice(&output.payload?).expect("a window is JSON");
        let (start, end) = (&text["start_ms"], &text["end_ms"]);
        let numbers = text.get("value").or(text.get("fields")).expect("numbers");
        Some(format!("{} {start}-{end} {numbers}", output.topic.unwrap()))
    };
    outputs.into_iter().filter_map(one).collect()
}

fn said(decision: Result<Decision, Failure>) -> Vec<String> {
    match decision.expect("decided") {
        Decision::Forward(outputs) => told(outputs),
        Decision::Drop(reason) => {
            assert_eq!(reason, "aggregated");
            Vec::new()
        }
        Decision::Pass => Vec::new(),
    }
}

fn message(topic: &str, payload: &str, now_ms: u64) -> Message {
    Message { id: now_ms, ..Message::new(topic, payload).at(now_ms) }
}

fn reading(plugin: &mut Windows, topic: &str, payload: &str, now_ms: u64) -> Vec<String> {
    said(plugin.handle("home", message(topic, payload, now_ms)))
}

fn again(plugin: &mut Windows, topic: &str, payload: &str, now_ms: u64) -> Vec<String> {
    said(plugin.handle("home", Message { redelivered: true, ..message(topic, payload, now_ms) }))
}

const NONE: [String; 0] = [];
const COUNT: &str = r#"{"every": "1s", "compute": ["count", "sum"]}"#;

#[test]
fn a_window_is_said_by_the_timer_once() {
    let mut plugin = windows(r#"{"every": "1s", "field": "t", "round": 2, "topic": "mean/{topic}"}"#);
    for (value, now_ms) in [("1", 1_000), ("2.5", 1_500), ("1.5", 1_999)] {
        assert_eq!(reading(&mut plugin, "a", &format!(r#"{{"t": {value}}}"#), now_ms), NONE);
    }
    assert_eq!(told(plugin.tick(1_999)), NONE);
    assert_eq!(told(plugin.tick(2_100)), [r#"mean/a 1000-2000 {"t":{"count":3,"max":2.5,"mean":1.67,"min":1}}"#]);
    assert_eq!(told(plugin.tick(9_000)), NONE);
    assert_eq!((plugin.keys.entries.len(), state::keys("")), (0, vec!["made for".to_owned()]));
}

#[test]
fn a_window_is_said_by_the_first_message_after_its_end_and_the_message_counts_in_the_next() {
    let mut plugin = windows(COUNT);
    reading(&mut plugin, "a", "1", 1_000);
    assert_eq!(reading(&mut plugin, "a", "2", 2_000), [r#"a 1000-2000 {"count":1,"sum":1}"#]);
    assert_eq!(reading(&mut plugin, "a", "3", 2_500), NONE);
    assert_eq!(told(plugin.tick(3_000)), [r#"a 2000-3000 {"count":2,"sum":5}"#]);
}

#[test]
fn what_is_said_has_all_that_is_asked_for() {
    let config = r#"{"every": "1s", "fields": ["a", "b.c"], "to": "x", "qos": 2, "retain": true, "topic": "w/{key}", "by": {"level": 1},
        "compute": ["count", "sum", "mean", "min", "max", "first", "last", "stddev"]}"#;
    let mut plugin = windows(config);
    reading(&mut plugin, "d/7", r#"{"a": 2, "b": {"c": 0.1}}"#, 1_000);
    reading(&mut plugin, "e/7", r#"{"a": 4}"#, 1_100);
    reading(&mut plugin, "e/7", r#"{"a": 9, "b": {"c": "x"}}"#, 1_200);
    let output = plugin.tick(2_000).remove(0);
    assert_eq!((output.to, output.topic.as_deref()), (Destination::Target("x".into()), Some("w/7")));
    assert_eq!((output.qos, output.retain), (Some(Qos::ExactlyOnce), Some(true)));
    assert_eq!(
        String::from_utf8(output.payload.unwrap()).unwrap(),
        concat!(
            r#"{"start_ms":1000,"end_ms":2000,"key":"7","fields":{"#,
            r#""a":{"count":3,"sum":15,"mean":5,"min":2,"max":9,"first":2,"last":9,"stddev":3.605551275463989},"#,
            r#""b.c":{"count":1,"sum":0.1,"mean":0.1,"min":0.1,"max":0.1,"first":0.1,"last":0.1,"stddev":null}}}"#
        )
    );
}

#[test]
fn windows_overlap() {
    let mut plugin = windows(r#"{"every": "1s", "over": "3s", "compute": ["sum", "first", "last"]}"#);
    reading(&mut plugin, "a", "1", 0);
    assert_eq!(reading(&mut plugin, "a", "10", 1_000), [r#"a 0-1000 {"first":1,"last":1,"sum":1}"#]);
    assert_eq!(told(plugin.tick(2_000)), [r#"a 0-2000 {"first":1,"last":10,"sum":11}"#]);
    assert_eq!(reading(&mut plugin, "a", "100", 2_000), NONE);
    assert_eq!(told(plugin.tick(3_000)), [r#"a 0-3000 {"first":1,"last":100,"sum":111}"#]);
    // A pause of years: windows end as long as there is a reading in them.
    assert_eq!(
        reading(&mut plugin, "a", "7", 1_700_000_000_000),
        [r#"a 1000-4000 {"first":10,"last":100,"sum":110}"#, r#"a 2000-5000 {"first":100,"last":100,"sum":100}"#]
    );
    assert_eq!(told(plugin.tick(1_700_000_001_000)), [r#"a 1699999998000-1700000001000 {"first":7,"last":7,"sum":7}"#]);
}

#[test]
fn half_a_window_survives_a_restart() {
    let config = r#"{"every": "1s", "over": "2s", "compute": ["sum", "count"]}"#;
    reading(&mut windows(config), "a", "0.1", 1_000);
    reading(&mut windows(config), "a", "0.2", 1_100);
    assert_eq!(reading(&mut windows(config), "a", "0.3", 2_000), [r#"a 0-2000 {"count":2,"sum":0.3}"#]);
    let mut plugin = windows(config);
    assert_eq!(again(&mut plugin, "a", "0.2", 1_100), NONE, "it is in the window that was said");
    assert_eq!(told(plugin.tick(3_000)), [r#"a 1000-3000 {"count":3,"sum":0.6}"#]);
    assert_eq!(told(windows(config).tick(4_000)), [r#"a 2000-4000 {"count":1,"sum":0.3}"#]);
    assert_eq!(told(windows(config).tick(9_000)), NONE);
}

#[test]
fn half_windows_of_other_lengths_or_fields_are_forgotten_with_the_first_call() {
    reading(&mut windows(COUNT), "a", "1", 1_000);
    let mut plugin = windows(r#"{"every": "2s", "compute": ["count", "sum"]}"#);
    assert_eq!(state::keys("").len(), 2, "to be configured may be no more than a question");
    assert_eq!(told(plugin.tick(1_500)), NONE);
    assert_eq!((state::keys(""), state::get("made for")), (vec!["made for".into()], Some(b"2000 2000 ".to_vec())));
    reading(&mut plugin, "a", "1", 2_000);
    // What is computed of them may change.
    assert_eq!(told(windows(r#"{"every": "2s", "compute": ["max"]}"#).tick(4_000)), [r#"a 2000-4000 {"max":1}"#]);
}

#[test]
fn a_message_delivered_again_counts_once_and_says_what_it_said() {
    let mut plugin = windows(COUNT);
    reading(&mut plugin, "a", "1", 1_000);
    assert_eq!(again(&mut plugin, "a", "1", 1_000), NONE);
    let first = reading(&mut plugin, "a", "2", 2_000);
    assert_eq!((first.len(), again(&mut plugin, "a", "2", 2_000)), (1, first.clone()));
    plugin.tick(2_000);
    assert_eq!(again(&mut windows(COUNT), "a", "2", 2_000), first, "after a restart too");
    assert_eq!(again(&mut plugin, "a", "4", 2_100), NONE, "not counted yet");
    assert_eq!(told(plugin.tick(3_000)), [r#"a 2000-3000 {"count":2,"sum":6}"#]);
    assert_eq!(again(&mut plugin, "a", "2", 2_000), first, "the timer has said another window since");
    assert_eq!(told(plugin.tick(33_000)), NONE);
    assert_eq!((plugin.keys.entries.len(), state::keys("").len()), (0, 1), "it is not known for ever");
}

#[test]
fn a_batch_that_is_decided_again_counts_once() {
    let mut plugin = windows(COUNT);
    let batch = [("1", 1_000), ("2", 1_500), ("3", 2_000), ("4", 3_100), ("5", 4_500), ("6", 4_600)];
    let first: Vec<_> = batch.iter().flat_map(|(value, at)| reading(&mut plugin, "a", value, *at)).collect();
    let second: Vec<_> = batch.iter().flat_map(|(value, at)| again(&mut plugin, "a", value, *at)).collect();
    assert_eq!((first.len(), &first), (3, &second), "all three windows");
    assert_eq!(told(plugin.tick(5_000)), [r#"a 4000-5000 {"count":2,"sum":11}"#]);
}

#[test]
fn one_that_is_replayed_after_its_window_is_late() {
    let mut plugin = windows(COUNT);
    reading(&mut plugin, "a", "1", 1_000);
    plugin.tick(60_000);
    let replayed = || Message { redelivered: true, ..message("a", "2", 1_500) };
    assert_eq!(plugin.handle("home", replayed()), Ok(Decision::drop("late")));
    reading(&mut plugin, "a", "3", 61_000);
    assert_eq!(plugin.handle("home", Message { redelivered: true, ..message("a", "2", 59_000) }), {
        // Its id is not above that of the last one, so it is taken for one that was counted.
        Ok(Decision::drop("aggregated"))
    });
    let mut passing = windows(r#"{"every": "1s", "pass": true}"#);
    passing.tick(60_000);
    assert_eq!(passing.handle("home", replayed()), Ok(Decision::Pass), "it is only late for the window");
}

#[test]
fn a_clock_set_back_ends_the_window() {
    let mut plugin = windows(COUNT);
    reading(&mut plugin, "a", "1", 5_000_000);
    let back = Message { id: 5_000_001, ..message("a", "2", 1_000) };
    assert_eq!(said(plugin.handle("home", back)), [r#"a 5000000-5001000 {"count":1,"sum":1}"#]);
    assert_eq!(told(plugin.tick(2_000)), [r#"a 1000-2000 {"count":1,"sum":2}"#]);
}

#[test]
fn readings_may_go_on_too() {
    let mut plugin = windows(r#"{"every": "1s", "pass": true}"#);
    assert_eq!(plugin.handle("home", message("a", "1", 1_000)), Ok(Decision::Pass));
    let Ok(Decision::Forward(outputs)) = plugin.handle("home", message("a", "2", 2_000)) else {
        panic!("not forwarded")
    };
    assert_eq!((outputs.len(), &outputs[1]), (2, &Output::onward()));
}

#[test]
fn a_message_without_a_reading_is_not_counted() {
    for (on_missing, payload, expected) in [
        ("pass", "x", Ok(Decision::pass())),
        ("drop", "x", Ok(Decision::drop("not JSON"))),
        ("drop", "{}", Ok(Decision::drop("no such field"))),
        ("drop", r#"{"t": null}"#, Ok(Decision::drop("not a number"))),
        ("reject", "x", Err(Failure::reject("not JSON: `x` at byte 0"))),
    ] {
        let mut plugin = windows(&format!(r#"{{"every": "1s", "field": "t", "on_missing": "{on_missing}"}}"#));
        assert_eq!(plugin.handle("home", Message::new("a", payload)), expected, "{payload}");
        assert_eq!(plugin.keys.entries.len(), 0);
    }
    let mut plugin = windows(r#"{"every": "1s", "by": {"field": "id"}, "topic": "w/{key}", "field": "t"}"#);
    let failure = plugin.handle("home", Message::new("a", r#"{"id": "+", "t": 1}"#)).unwrap_err();
    assert!(matches!(failure, Failure::Reject(reason) if reason.contains("no topic")));
}

#[test]
fn what_is_remembered_and_said_is_bounded() {
    let mut plugin = windows(r#"{"every": "1s", "max_keys": 2, "max_outputs": 1}"#);
    reading(&mut plugin, "b", "1", 1_000);
    reading(&mut plugin, "a", "1", 1_000);
    assert_eq!(plugin.handle("home", message("c", "1", 1_000)), Ok(Decision::Pass));
    assert_eq!(plugin.handle("home", message("a", "1", 1_100)), Ok(Decision::drop("aggregated")));
    let counts: Vec<usize> = (0..3).map(|_| plugin.tick(2_000).len()).collect();
    assert_eq!(counts, [1, 1, 0], "one at a time");

    let mut plugin = windows(r#"{"every": "1s"}"#);
    for n in 0..100 {
        let _ = plugin.handle("home", message(&format!("{n}{}", "x".repeat(60_000)), "1", 1_000 + n));
    }
    assert!(plugin.keys.entries.len() < 40, "2 MiB of topics and keys");
    let mut said = 0;
    while let outputs = plugin.tick(2_000)
        && !outputs.is_empty()
    {
        let bytes = |output: &Output| output.topic.as_ref().unwrap().len() + output.payload.as_ref().unwrap().len();
        assert!(outputs.iter().map(bytes).sum::<usize>() < MAX_SAID_BYTES);
        said += outputs.len();
    }
    assert!(said > 10);
    assert_eq!(plugin.keys.entries.len(), 0);
}

#[test]
fn the_state_stays_within_its_bounds_and_the_windows_are_said_all_the_same() {
    let mut plugin = windows(r#"{"every": "1s", "max_state": "200B", "compute": ["count"]}"#);
    for key in ["a", "b", "c", "d"] {
        reading(&mut plugin, key, "1", 1_000);
    }
    let bytes: usize = state::keys("").iter().map(|key| key.len() + state::get(key).unwrap().len()).sum();
    assert!(bytes <= 200 && bytes == plugin.keys.ledger.used());
    assert_eq!(told(plugin.tick(2_000)).len(), 4);
    assert_eq!(plugin.keys.ledger.used(), "made for1000 1000 ".len());
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at) in [
        ("{}", ""),
        (r#"{"every": "0s"}"#, "every"),
        (r#"{"every": "1s", "over": "1500ms"}"#, "over"),
        (r#"{"every": "1s", "over": "61s"}"#, "over"),
        (r#"{"every": "1s", "field": "a", "fields": ["b"]}"#, "fields"),
        (r#"{"every": "1s", "fields": ["a.b", ["a", "b"]]}"#, "fields[1]"),
        (r#"{"every": "1s", "compute": []}"#, "compute"),
        (r#"{"every": "1s", "compute": ["max", "max"]}"#, "compute[1]"),
        (r#"{"every": "1s", "compute": ["median"]}"#, "compute[0]"),
        (r#"{"every": "1s", "round": 16}"#, "round"),
        (r#"{"every": "1s", "to": ""}"#, "to"),
        (r#"{"every": "1s", "topic": "{rule}"}"#, "topic"),
        (r#"{"every": "1s", "qos": 3}"#, "qos"),
        (r#"{"every": "1s", "max_keys": 0}"#, "max_keys"),
        (r#"{"every": "1s", "over": "60s", "max_keys": 1000}"#, "max_keys"),
        (r#"{"every": "1s", "over": "60s", "max_outputs": 59}"#, "max_outputs"),
        (r#"{"every": "1s", "evry": 1}"#, "evry"),
    ] {
        assert_eq!(testing::refused::<Windows>(config)[0].at, at, "{config}");
    }
    assert!(std::mem::size_of::<Option<stats::Stats>>() <= 208, "what `max_keys` reckons with");
}

proptest! {
    /// Every reading is in exactly as many windows as lie over it, whatever closes them, with restarts and redeliveries.
    #[test]
    fn every_reading_counts_once_in_each_window(steps in proptest::collection::vec((0_u64..2_500, 0_u8..5), 1..32), overlap in 1_u64..4) {
        state::keys("").iter().for_each(|key| state::delete(key));
        let config = format!(r#"{{"every": "1s", "over": "{overlap}s", "compute": ["sum"]}}"#);
        let (mut plugin, mut now_ms, mut power, mut told_all) = (windows(&config), 10_000, 1_u128, Vec::new());
        for (pause_ms, what) in steps {
            now_ms += pause_ms + 1;
            let value = power.to_string();
            match what {
                0 => told_all.extend(told(plugin.tick(now_ms))),
                1 => plugin = windows(&config),
                2 => {
                    let first = reading(&mut plugin, "a", &value, now_ms);
                    prop_assert_eq!(&again(&mut plugin, "a", &value, now_ms), &first);
                    told_all.extend(first);
                    power *= 5;
                }
                _ => {
                    told_all.extend(reading(&mut plugin, "a", &value, now_ms));
                    power *= 5;
                }
            }
        }
        told_all.extend(told(plugin.tick(now_ms + 10_000)));
        // Each reading is a power of five, so the digits of the sum in that base say how often each was counted.
        let sums = told_all.iter().map(|window| window.split_once("\"sum\":").unwrap().1.trim_end_matches('}'));
        let mut sum: u128 = sums.map(|sum| sum.parse::<u128>().unwrap()).sum();
        while power > 1 {
            prop_assert_eq!(u64::try_from(sum % 5).unwrap(), overlap, "{:?}", told_all);
            (sum, power) = (sum / 5, power / 5);
        }
        prop_assert_eq!(sum, 0);
    }

    /// Joined panes say what one pane would.
    #[test]
    fn panes_join_to_what_all_their_readings_say(numbers in proptest::collection::vec(-1_000_000_i64..1_000_000, 2..40), cut in 1_usize..39) {
        let stats = |numbers: &[i64]| {
            let each = numbers.iter().map(|number| stats::Stats::of(Decimal::parse(&number.to_string()).unwrap(), true));
            each.reduce(stats::Stats::and)
        };
        let cut = cut.min(numbers.len() - 1);
        let (whole, joined) = (stats(&numbers).unwrap(), stats(&numbers[..cut]).unwrap().and(stats(&numbers[cut..]).unwrap()));
        let text = |stats: &stats::Stats, aggregate| {
            let mut text = Vec::new();
            stats.write(aggregate, Some(6), &mut text);
            String::from_utf8(text).unwrap()
        };
        use stats::Aggregate::{Count, First, Last, Max, Mean, Min, Stddev, Sum};
        for aggregate in [Count, Sum, Mean, Min, Max, First, Last] {
            prop_assert_eq!(text(&whole, aggregate), text(&joined, aggregate));
        }
        let (a, b): (f64, f64) = (text(&whole, Stddev).parse().unwrap(), text(&joined, Stddev).parse().unwrap());
        let mean = numbers.iter().sum::<i64>() as f64 / numbers.len() as f64;
        let squares: f64 = numbers.iter().map(|number| (*number as f64 - mean).powi(2)).sum();
        let expected = (squares / (numbers.len() - 1) as f64).sqrt();
        prop_assert!((a - b).abs() < 1e-5 && (a - expected).abs() < 1e-5, "{} {} {}", a, b, expected);
    }
}
