use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use tidegate_sdk::{Properties, state, testing};

fn dedup(config: &str) -> Dedup {
    testing::plugin(config)
}

/// Each message has an `id` of its own.
fn passes(plugin: &mut Dedup, topic: &str, payload: &str, now_ms: u64) -> bool {
    decide(plugin, Message { id: now_ms, ..Message::new(topic, payload).at(now_ms) })
}

fn decide(plugin: &mut Dedup, message: Message) -> bool {
    match plugin.handle("home", message).unwrap() {
        Decision::Pass => true,
        Decision::Drop(reason) => {
            assert_eq!(reason, "duplicate");
            false
        }
        Decision::Forward(_) => panic!("nothing is forwarded"),
    }
}

#[test]
fn the_same_payload_on_the_same_topic_passes_once_within_the_time() {
    let mut plugin = dedup(r#"{"within": "10s"}"#);
    let mut at = |topic, payload, now_ms| passes(&mut plugin, topic, payload, now_ms);
    assert!(at("a", "1", 1_000) && at("b", "1", 1_001) && at("a", "2", 1_002) && at("a", "", 1_003));
    assert!(!at("a", "1", 5_000) && !at("a", "1", 10_999) && !at("a", "", 10_999));
    assert!(at("a", "1", 11_000), "what is dropped does not lengthen the time");
    assert!(!at("a", "1", 20_999));
}

#[test]
fn topic_and_payload_do_not_run_into_each_other() {
    let mut plugin = dedup(r#"{"within": "10s"}"#);
    assert!(passes(&mut plugin, "ab", "c", 1) && passes(&mut plugin, "a", "bc", 2));
}

#[test]
fn an_id_may_be_a_field_a_user_property_or_correlation_data() {
    let mut by_field = dedup(r#"{"within": "10s", "by": {"field": "id"}, "per_topic": false}"#);
    assert!(passes(&mut by_field, "a", r#"{"id": 1, "n": 1}"#, 1));
    assert!(!passes(&mut by_field, "b", r#"{"n": 2, "id": "1"}"#, 2), "the text counts");
    assert!(passes(&mut by_field, "a", r#"{"id": 1.0}"#, 3));
    for (now_ms, payload) in [r#"{"id": null}"#, r#"{"id": ""}"#, "{}", "x"].iter().enumerate() {
        assert!(passes(&mut by_field, "a", payload, now_ms as u64) && passes(&mut by_field, "a", payload, 9));
    }
    let with = |data: Option<&[u8]>, user: &[(&str, &str)], payload: &str| {
        let user = user.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let properties = Properties { correlation_data: data.map(<[u8]>::to_vec), user, ..Properties::none() };
        Message { properties, ..Message::new("a", payload) }
    };
    let mut by_data = dedup(r#"{"within": "10s", "by": "correlation-data"}"#);
    assert!(decide(&mut by_data, with(Some(b"1"), &[], "x")) && !decide(&mut by_data, with(Some(b"1"), &[], "y")));
    assert!(decide(&mut by_data, with(None, &[], "x")) && decide(&mut by_data, with(None, &[], "x")));
    let mut by_user = dedup(r#"{"within": "10s", "by": {"user_property": "id"}}"#);
    assert!(decide(&mut by_user, with(None, &[("x", "1"), ("id", "1")], "x")));
    assert!(!decide(&mut by_user, with(None, &[("id", "1"), ("id", "2")], "y")));
    assert!(decide(&mut by_user, with(None, &[("ID", "1")], "x")));
}

#[test]
fn without_an_id_the_configuration_says_what_becomes_of_it() {
    for (on_missing, payload, expected) in [
        ("pass", "x", Ok(Decision::pass())),
        ("drop", "x", Ok(Decision::drop("not JSON"))),
        ("drop", "{}", Ok(Decision::drop("nothing to know it by"))),
        ("reject", "{}", Err(Failure::reject("nothing to know it by"))),
        ("reject", "x", Err(Failure::reject("not JSON: `x` at byte 0"))),
    ] {
        let mut plugin =
            dedup(&format!(r#"{{"within": "1s", "by": {{"field": "id"}}, "on_missing": "{on_missing}"}}"#));
        assert_eq!(plugin.handle("home", Message::new("a", payload)), expected);
    }
}

#[test]
fn the_one_that_passed_passes_again_when_it_is_delivered_again() {
    let mut plugin = dedup(r#"{"within": "10s"}"#);
    let message = |id, redelivered| Message { id, redelivered, ..Message::new("a", "1").at(1_000) };
    assert!(decide(&mut plugin, message(1, false)));
    assert!(!decide(&mut plugin, message(2, false)));
    for plugin in [&mut plugin, &mut dedup(r#"{"within": "10s"}"#)] {
        assert!(decide(plugin, message(1, true)));
        assert!(!decide(plugin, message(2, true)), "a duplicate it was, and is");
        assert!(!decide(plugin, message(1, false)), "the same id is no proof without `redelivered`");
    }
}

#[test]
fn what_passed_is_known_after_a_restart_if_that_is_wanted() {
    let config = r#"{"within": "10s"}"#;
    assert!(passes(&mut dedup(config), "a", "1", 1_000));
    let mut plugin = dedup(config);
    assert!(!passes(&mut plugin, "a", "1", 2_000));
    assert!(passes(&mut plugin, "a", "1", 11_000));
    assert_eq!(state::keys("").len(), 1);
    let in_memory = r#"{"within": "10s", "durable": false}"#;
    assert!(passes(&mut dedup(in_memory), "a", "1", 12_000));
    assert_eq!(state::keys(""), [""; 0], "what nobody looks at is deleted");
    assert!(passes(&mut dedup(in_memory), "a", "1", 12_001));
    state::set("rubbish", b"1 2");
    state::set(&"0".repeat(32), b"x");
    assert!(passes(&mut dedup(config), "a", "1", 13_000));
    assert_eq!(state::keys("").len(), 1);
}

#[test]
fn what_is_over_is_forgotten() {
    let mut plugin = dedup(r#"{"within": "1s"}"#);
    for n in 0..1_000 {
        assert!(passes(&mut plugin, "a", &n.to_string(), 1_000 + n));
    }
    assert_eq!(plugin.seen.len(), (1_000, 1_000));
    for n in 0..20 {
        passes(&mut plugin, "a", "x", 10_000 + n);
    }
    assert_eq!((plugin.seen.len(), state::keys("").len()), ((1, 1), 1));
}

#[test]
fn when_there_is_no_room_the_oldest_is_forgotten() {
    let mut plugin = dedup(r#"{"within": "1h", "max_messages": 3}"#);
    for (payload, now_ms) in [("1", 1), ("2", 2), ("3", 3), ("4", 4)] {
        assert!(passes(&mut plugin, "a", payload, now_ms));
    }
    assert_eq!(plugin.forgotten, 1);
    assert!(!passes(&mut plugin, "a", "2", 5) && !passes(&mut plugin, "a", "4", 6));
    assert!(passes(&mut plugin, "a", "1", 7), "forgotten: it passes once more rather than none");
    assert_eq!((plugin.seen.len().0, state::keys("").len()), (3, 3));

    let mut small = dedup(r#"{"within": "1h", "max_state": "100B"}"#);
    for n in 0..10 {
        assert!(passes(&mut small, "b", &n.to_string(), 100 + n));
        assert!(!passes(&mut small, "b", &n.to_string(), 100 + n), "the last one is known, whatever the state takes");
    }
    let bytes: usize = state::keys("").iter().map(|key| key.len() + state::get(key).unwrap().len()).sum();
    assert!(bytes <= 200, "{bytes}");
}

#[test]
fn a_clock_set_back_loses_nothing_and_a_small_step_changes_nothing() {
    let mut plugin = dedup(r#"{"within": "10s"}"#);
    assert!(passes(&mut plugin, "a", "1", 1_000_000));
    assert!(!passes(&mut plugin, "a", "1", 999_990));
    assert!(passes(&mut plugin, "a", "1", 5_000), "set back by more than the time: it is not silenced for so long");
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at) in [
        ("{}", ""),
        (r#"{"within": "0s"}"#, "within"),
        (r#"{"within": "1s", "by": "topic"}"#, "by"),
        (r#"{"within": "1s", "by": {"field": ""}}"#, "by.field"),
        (r#"{"within": "1s", "by": {"user_property": ""}}"#, "by.user_property"),
        (r#"{"within": "1s", "max_messages": 0}"#, "max_messages"),
        (r#"{"within": "1s", "max_messages": 100001}"#, "max_messages"),
        (r#"{"within": "1s", "durable": "yes"}"#, "durable"),
        (r#"{"within": "1s", "withn": 1}"#, "withn"),
    ] {
        assert_eq!(testing::refused::<Dedup>(config)[0].at, at, "{config}");
    }
}

proptest! {
    /// As a list of everything that ever passed would decide it, with restarts in between.
    #[test]
    fn it_decides_as_a_list_of_all_would(steps in proptest::collection::vec((0_u8..6, 0_u64..700, any::<bool>()), 1..200)) {
        state::keys("").iter().for_each(|key| state::delete(key));
        let config = r#"{"within": "2s"}"#;
        let (mut plugin, mut now_ms, mut model) = (dedup(config), 0, HashMap::new());
        for (payload, pause_ms, restart) in steps {
            now_ms += pause_ms;
            if restart && pause_ms % 7 == 0 {
                plugin = dedup(config);
            }
            let passed: Option<u64> = model.get(&payload).copied();
            let expected = passed.is_none_or(|at_ms| now_ms - at_ms >= 2_000);
            if expected {
                model.insert(payload, now_ms);
            }
            prop_assert_eq!(passes(&mut plugin, "a", &payload.to_string(), now_ms), expected);
            prop_assert!(plugin.seen.len().0 <= 6);
        }
    }
}

#[test]
fn one_that_passed_again_is_not_forgotten_with_its_first_time() {
    let mut plugin = dedup(r#"{"within": "1s"}"#);
    for n in 0..100 {
        passes(&mut plugin, "a", &n.to_string(), 1_000);
    }
    assert!(passes(&mut plugin, "a", "99", 10_000), "over, though there was more to forget than fits into one call");
    for n in 0..100 {
        passes(&mut plugin, "b", "x", 10_001 + n);
    }
    assert!(!passes(&mut plugin, "a", "99", 10_500));
}
