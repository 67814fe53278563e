use super::*;
use proptest::prelude::*;
use tidegate_sdk::testing;

fn alarm(config: &str) -> Alarm {
    testing::plugin(config)
}

/// What events of a decision say, each as `rule state value since`.
fn told(outputs: Vec<Output>) -> Vec<String> {
    let events = outputs.into_iter().filter_map(|output| output.payload);
    let part = |event: &serde_json::Value| {
        let text = |key: &str| event[key].to_string().trim_matches('"').to_owned();
        [text("rule"), text("state"), text("value"), text("since_ms")].join(" ")
    };
    events.map(|event| part(&serde_json::from_slice(&event).expect("an event is JSON"))).collect()
}

fn said(decision: Result<Decision, Failure>) -> Vec<String> {
    match decision.expect("decided") {
        Decision::Forward(outputs) => told(outputs),
        Decision::Pass => Vec::new(),
        Decision::Drop(reason) => panic!("dropped: {reason}"),
    }
}

fn reading(plugin: &mut Alarm, topic: &str, payload: &str, now_ms: u64) -> Vec<String> {
    said(plugin.handle("home", Message { id: now_ms, ..Message::new(topic, payload).at(now_ms) }))
}

fn again(plugin: &mut Alarm, topic: &str, payload: &str, now_ms: u64) -> Vec<String> {
    let message = Message { id: now_ms, redelivered: true, ..Message::new(topic, payload).at(now_ms) };
    said(plugin.handle("home", message))
}

const NONE: [String; 0] = [];

#[test]
fn an_alarm_is_said_once_and_cleared_with_hysteresis() {
    let mut plugin = alarm(r#"{"above": 50, "clear": 48}"#);
    let mut at = |payload, now_ms| reading(&mut plugin, "a", payload, now_ms);
    assert_eq!(at("50", 1), NONE, "at the threshold is not above it");
    assert_eq!(at("50.1", 2), ["high raised 50.1 2"]);
    assert_eq!(at("60", 3), NONE);
    assert_eq!(at("48.1", 4), NONE);
    assert_eq!(at("48", 5), ["high cleared 48 5"]);
    assert_eq!(at("49", 6), NONE);
    assert_eq!(at("51", 7), ["high raised 51 7"]);
}

#[test]
fn an_event_goes_out_before_the_reading_that_made_it() {
    let config = r#"{"field": "t", "below": 3, "to": "alarms", "retain": true, "qos": 2, "topic": "x/{rule}/{1}"}"#;
    let Decision::Forward(outputs) =
        alarm(config).handle("home", Message::new("dev/7", r#"{"t": 2.50}"#).at(9)).unwrap()
    else {
        panic!("not forwarded")
    };
    assert_eq!((outputs.len(), &outputs[1]), (2, &Output::onward()));
    let event = &outputs[0];
    assert_eq!((&event.to, event.topic.as_deref()), (&Destination::Target("alarms".into()), Some("x/low/7")));
    assert_eq!((event.qos, event.retain), (Some(Qos::ExactlyOnce), Some(true)));
    assert_eq!(
        String::from_utf8_lossy(event.payload.as_ref().unwrap()),
        r#"{"topic":"dev/7","key":"dev/7","rule":"low","state":"raised","value":2.5,"threshold":3,"clear":3,"since_ms":9,"at_ms":9}"#
    );
}

#[test]
fn a_delay_is_over_by_the_timer_or_by_a_reading_and_a_reading_back_ends_it() {
    let mut plugin = alarm(r#"{"above": 50, "after": "10s", "clear_after": "5s"}"#);
    assert_eq!(reading(&mut plugin, "a", "51", 1_000), NONE);
    assert_eq!(reading(&mut plugin, "a", "50", 9_000), NONE, "back in time");
    assert_eq!(reading(&mut plugin, "a", "52", 10_000), NONE);
    assert_eq!(reading(&mut plugin, "a", "53", 12_000), NONE);
    assert_eq!(told(plugin.tick(19_999)), NONE);
    assert_eq!(told(plugin.tick(20_000)), ["high raised 53 10000"]);
    assert_eq!(reading(&mut plugin, "a", "40", 21_000), NONE);
    assert_eq!(reading(&mut plugin, "a", "41", 26_000), ["high cleared 41 21000"]);
    // No timer in between: what was true for long enough is said before the reading that ends it.
    assert_eq!(reading(&mut plugin, "a", "60", 30_000), NONE);
    assert_eq!(reading(&mut plugin, "a", "40", 50_000), ["high raised 60 30000"]);
    assert_eq!(reading(&mut plugin, "a", "40", 55_000), ["high cleared 40 50000"]);
}

#[test]
fn rules_and_keys_are_apart() {
    let rules =
        r#"{"by": {"level": 1}, "rules": [{"name": "warm", "above": 30}, {"name": "hot", "above": 50}, {"below": 3}]}"#;
    let mut plugin = alarm(rules);
    assert_eq!(reading(&mut plugin, "x/1", "60", 1), ["warm raised 60 1", "hot raised 60 1"]);
    assert_eq!(reading(&mut plugin, "x/2", "40", 2), ["warm raised 40 2"]);
    assert_eq!(reading(&mut plugin, "y/1", "-1", 3), ["warm cleared -1 3", "hot cleared -1 3", "low raised -1 3"]);
}

#[test]
fn what_is_raised_or_pending_survives_a_restart() {
    let config = r#"{"rules": [{"above": 50, "after": "10s"}, {"below": 3}]}"#;
    let mut plugin = alarm(config);
    reading(&mut plugin, "a", "51", 1_000);
    reading(&mut plugin, "b", "1", 1_000);
    let mut plugin = alarm(config);
    assert_eq!(reading(&mut plugin, "b", "2", 2_000), NONE, "said before the restart");
    assert_eq!(told(plugin.tick(11_000)), ["high raised 51 1000"]);
    let mut plugin = alarm(config);
    assert_eq!(told(plugin.tick(12_000)), NONE);
    assert_eq!(reading(&mut plugin, "b", "4", 13_000), ["low cleared 4 13000"]);
}

#[test]
fn the_state_of_a_rule_that_is_no_more_goes_with_the_first_call() {
    reading(&mut alarm(r#"{"above": 50, "name": "old"}"#), "a", "51", 1);
    state::set("no rule", b"");
    let mut plugin = alarm(r#"{"above": 50, "name": "new"}"#);
    assert_eq!(state::keys("").len(), 2, "to be configured may be no more than a question");
    plugin.tick(2);
    assert_eq!(state::keys(""), [""; 0]);
}

#[test]
fn a_message_delivered_again_says_its_event_again_and_no_other() {
    let mut plugin = alarm(r#"{"above": 50}"#);
    assert_eq!(reading(&mut plugin, "a", "51", 1), ["high raised 51 1"]);
    assert_eq!(again(&mut plugin, "a", "51", 1), ["high raised 51 1"]);
    let mut plugin = alarm(r#"{"above": 50}"#);
    assert_eq!(again(&mut plugin, "a", "51", 1), ["high raised 51 1"], "known after a restart too");
    assert_eq!(again(&mut plugin, "a", "52", 2), NONE, "another message");
    assert_eq!(again(&mut plugin, "a", "51", 1), ["high raised 51 1"]);
    assert_eq!(reading(&mut plugin, "a", "40", 3), ["high cleared 40 3"]);
    assert_eq!(again(&mut plugin, "a", "40", 3), ["high cleared 40 3"]);
}

#[test]
fn a_batch_that_is_decided_again_says_the_same() {
    for restart in [false, true] {
        state::keys("").iter().for_each(|key| state::delete(key));
        let config = r#"{"above": 50, "stale_after": "1m"}"#;
        let mut plugin = alarm(config);
        let batch = [("1", 1), ("51", 2), ("52", 3), ("40", 4), ("41", 5), ("60", 6), ("61", 7)];
        let first: Vec<String> = batch.iter().flat_map(|(value, at)| reading(&mut plugin, "a", value, *at)).collect();
        assert_eq!(first, ["high raised 51 2", "high cleared 40 4", "high raised 60 6"]);
        if restart {
            plugin = alarm(config);
        }
        let second: Vec<String> = batch.iter().flat_map(|(value, at)| again(&mut plugin, "a", value, *at)).collect();
        assert_eq!(second, first);
        assert_eq!(reading(&mut plugin, "a", "62", 8), NONE);
    }
}

#[test]
fn one_that_is_replayed_long_after_changes_nothing() {
    let mut plugin = alarm(r#"{"above": 50}"#);
    assert_eq!(reading(&mut plugin, "a", "51", 100_000).len(), 1);
    assert_eq!(again(&mut plugin, "a", "40", 60_000), NONE, "it is older than what raised the alarm");
    assert_eq!(reading(&mut plugin, "a", "52", 101_000), NONE);
}

#[test]
fn a_silence_is_an_alarm_too() {
    let config = r#"{"stale_after": "1m"}"#;
    let mut plugin = alarm(config);
    assert_eq!(reading(&mut plugin, "a", "1", 1_000), NONE);
    assert_eq!(reading(&mut plugin, "a", "1", 30_000), NONE);
    assert_eq!(told(plugin.tick(89_999)), NONE);
    assert_eq!(told(plugin.tick(90_000)), ["stale raised null 30000"]);
    assert_eq!(told(plugin.tick(500_000)), NONE);
    let mut plugin = alarm(config);
    assert_eq!(told(plugin.tick(600_000)), NONE, "said before the restart");
    assert_eq!(reading(&mut plugin, "a", "1", 700_000), ["stale cleared null 700000"]);
    let mut plugin = alarm(config);
    assert_eq!(told(plugin.tick(900_000)), NONE, "nobody knows what came meanwhile");
    assert_eq!(told(plugin.tick(960_000)), ["stale raised null 900000"], "also of a key that never came again");
}

#[test]
fn numbers_are_compared_as_they_are_written() {
    let mut plugin = alarm(r#"{"field": "t", "above": 0.3}"#);
    for (payload, expected) in [
        (r#"{"t": 0.30000000000000000}"#, 0),
        (r#"{"t": 0.30000000000000001}"#, 1),
        (r#"{"t": 9007199254740993}"#, 0),
        (r#"{"t": 1e300}"#, 0),
        (r#"{"t": -1e300}"#, 1),
    ] {
        assert_eq!(reading(&mut plugin, "a", payload, 1).len(), expected, "{payload}");
    }
}

#[test]
fn a_message_without_a_reading_is_not_watched() {
    for (on_missing, payload, expected) in [
        ("pass", "x", Ok(Decision::pass())),
        ("drop", "x", Ok(Decision::drop("not JSON"))),
        ("drop", "{}", Ok(Decision::drop("no such field"))),
        ("drop", r#"{"t": "51"}"#, Ok(Decision::drop("not a number"))),
        ("drop", r#"{"t": 1e400}"#, Ok(Decision::drop("not a number"))),
        ("reject", "x", Err(Failure::reject("not JSON: `x` at byte 0"))),
    ] {
        let mut plugin = alarm(&format!(r#"{{"field": "t", "above": 50, "on_missing": "{on_missing}"}}"#));
        assert_eq!(plugin.handle("home", Message::new("a", payload)), expected, "{payload}");
    }
    let mut plugin = alarm(r#"{"by": {"level": 1}, "above": 50, "on_missing": "drop"}"#);
    assert_eq!(plugin.handle("home", Message::new("a", "51")), Ok(Decision::drop("no key")));
}

#[test]
fn readings_may_stay_here() {
    let mut plugin = alarm(r#"{"above": 50, "pass": false}"#);
    assert_eq!(plugin.handle("home", Message::new("a", "40")), Ok(Decision::drop("no change")));
    let event = testing::only(plugin.handle("home", Message::new("a", "51")).unwrap());
    assert_eq!(event.topic.as_deref(), Some("alarm/a"));
}

#[test]
fn a_key_that_makes_no_topic_is_refused_before_anything_is_remembered() {
    let mut plugin = alarm(r#"{"field": "t", "by": {"field": "id"}, "above": 50, "after": "1s", "topic": "a/{key}"}"#);
    let failure = plugin.handle("home", Message::new("a", r##"{"t": 51, "id": "#"}"##)).unwrap_err();
    assert!(matches!(failure, Failure::Reject(reason) if reason.contains("no topic")));
    assert_eq!((plugin.room.entries, state::keys("").len()), (0, 0));
    assert_eq!(plugin.handle("home", Message::new("a", r##"{"t": 1, "id": "#"}"##)), Ok(Decision::pass()));
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_over_makes_room() {
    let mut plugin = alarm(r#"{"above": 50, "max_keys": 2}"#);
    assert_eq!(reading(&mut plugin, "a", "51", 10_000).len(), 1);
    assert_eq!(reading(&mut plugin, "b", "51", 10_000).len(), 1);
    assert_eq!(reading(&mut plugin, "c", "51", 20_000), NONE, "no room");
    assert_eq!((plugin.unwatched, plugin.room.entries), (1, 2));
    assert_eq!(reading(&mut plugin, "b", "40", 30_000).len(), 1);
    assert_eq!(reading(&mut plugin, "c", "51", 40_000).len(), 1);
    assert_eq!(state::keys(""), ["high:a", "high:c"]);
    assert_eq!(reading(&mut plugin, "a", "40", 50_000).len(), 1);
    plugin.tick(51_000);
    assert_eq!(plugin.room.entries, 2, "its message may come again");
    plugin.tick(50_000 + REMEMBERED_MS);
    assert_eq!(state::keys(""), ["high:c"]);

    let mut long = alarm(r#"{"above": 50}"#);
    for n in 0..200 {
        let key = format!("{n}{}", "x".repeat(60_000));
        let _ = reading(&mut long, &key, "51", 1_000_000 + n * 10);
    }
    assert!(long.room.entries < 60, "{} topics of 60 KB in memory", long.room.entries);
    let state: usize = state::keys("").iter().map(|key| key.len() + state::get(key).unwrap().len()).sum();
    assert!(state <= 960 << 10, "{state}");
}

#[test]
fn an_alarm_that_the_state_has_no_room_for_is_said_all_the_same() {
    let mut plugin = alarm(r#"{"above": 50, "max_state": "20B"}"#);
    assert_eq!(reading(&mut plugin, "a", "51", 1), ["high raised 51 1"]);
    assert_eq!(reading(&mut plugin, "a", "52", 2), NONE);
    assert_eq!(state::keys(""), [""; 0]);
}

#[test]
fn what_a_tick_says_is_bounded_and_the_rest_follows() {
    let mut plugin = alarm(r#"{"above": 50, "after": "1s", "max_outputs": 3}"#);
    for n in 0..7 {
        reading(&mut plugin, &format!("t/{n}"), "51", 1_000);
    }
    let counts: Vec<usize> = (0..4).map(|_| plugin.tick(2_000).len()).collect();
    assert_eq!(counts, [3, 3, 1, 0]);

    let mut plugin = alarm(r#"{"above": 50, "after": "1s", "max_keys": 100}"#);
    for n in 0..20 {
        reading(&mut plugin, &format!("{n}{}", "x".repeat(60_000)), "51", 1_000);
    }
    let mut said = 0;
    while let outputs = plugin.tick(2_000)
        && !outputs.is_empty()
    {
        let bytes = |output: &Output| output.topic.as_ref().unwrap().len() + output.payload.as_ref().unwrap().len();
        assert!(outputs.iter().map(bytes).sum::<usize>() < MAX_TICK_BYTES);
        said += outputs.len();
    }
    assert_eq!(said, 20);
}

#[test]
fn a_clock_set_back_starts_a_delay_anew_and_silences_nothing() {
    let mut plugin = alarm(r#"{"above": 50, "after": "10s"}"#);
    reading(&mut plugin, "a", "51", 1_000_000);
    reading(&mut plugin, "a", "51", 5_000);
    assert_eq!(told(plugin.tick(14_999)), NONE);
    assert_eq!(told(plugin.tick(15_000)), ["high raised 51 5000"]);
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at) in [
        ("{}", ""),
        (r#"{"above": 1, "below": 2}"#, "below"),
        (r#"{"clear": 1}"#, "above"),
        (r#"{"above": 1, "clear": 2}"#, "clear"),
        (r#"{"below": 1, "clear": 0}"#, "clear"),
        (r#"{"above": 1, "name": "a b"}"#, "name"),
        (r#"{"above": 1, "name": "stale"}"#, "name"),
        (r#"{"above": 1, "rules": [{"above": 2}]}"#, "rules"),
        (r#"{"rules": [{"above": 1}, {"above": 2}]}"#, "rules[1].name"),
        (r#"{"rules": [{"above": 1}, {"below": 2, "clear": 1}]}"#, "rules[1].clear"),
        (r#"{"rules": [{"above": 1}, {"below": 0}], "retain": true}"#, "topic"),
        (r#"{"above": 1, "topic": "a/{x}"}"#, "topic"),
        (r#"{"above": 1, "to": ""}"#, "to"),
        (r#"{"above": 1, "qos": 3}"#, "qos"),
        (r#"{"above": 1, "max_keys": 0}"#, "max_keys"),
        (r#"{"above": 1, "max_outputs": 0}"#, "max_outputs"),
        (r#"{"above": 1, "max_state": "1MB"}"#, "max_state"),
        (r#"{"stale_after": "0s"}"#, "stale_after"),
        (r#"{"above": 1, "aftr": "1s"}"#, "aftr"),
    ] {
        assert_eq!(testing::refused::<Alarm>(config)[0].at, at, "{config}");
    }
}

proptest! {
    /// With and without restarts and redeliveries in between, events alternate, and the last of them says how it stands.
    #[test]
    fn events_alternate_whatever_happens(steps in proptest::collection::vec((40_i32..60, 0_u64..8_000, 0_u8..4), 1..60)) {
        let config = r#"{"above": 50, "clear": 48, "after": "3s", "clear_after": "2s"}"#;
        state::keys("").iter().for_each(|key| state::delete(key));
        let (mut plugin, mut now_ms, mut states) = (alarm(config), 0, Vec::new());
        for (value, pause_ms, what) in steps {
            now_ms += pause_ms + 1;
            let events = match what {
                0 => told(plugin.tick(now_ms)),
                1 => {
                    plugin = alarm(config);
                    told(plugin.tick(now_ms))
                }
                2 => {
                    let first = reading(&mut plugin, "a", &value.to_string(), now_ms);
                    prop_assert_eq!(&again(&mut plugin, "a", &value.to_string(), now_ms), &first);
                    first
                }
                _ => reading(&mut plugin, "a", &value.to_string(), now_ms),
            };
            states.extend(events.iter().map(|event| event.contains("raised")));
        }
        for (at, raised) in states.iter().enumerate() {
            prop_assert_eq!(*raised, at % 2 == 0, "{:?}", states);
        }
    }
}
