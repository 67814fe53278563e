use super::*;
use tidegate_sdk::testing;

fn throttle(config: &str) -> Throttle {
    testing::plugin(config)
}

/// `true` if it passes.
fn passes(plugin: &mut Throttle, topic: &str, payload: &str, now_ms: u64) -> bool {
    match plugin.handle("home", Message::new(topic, payload).at(now_ms)).unwrap() {
        Decision::Pass => true,
        Decision::Drop(reason) => {
            assert_eq!(reason, "throttled");
            false
        }
        Decision::Forward(_) => panic!("nothing is forwarded"),
    }
}

fn ticked(plugin: &mut Throttle, now_ms: u64) -> Vec<(String, String)> {
    let text = |output: Output| (output.topic.unwrap(), String::from_utf8(output.payload.unwrap()).unwrap());
    plugin.tick(now_ms).into_iter().map(text).collect()
}

fn pair(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

#[test]
fn the_first_passes_and_the_last_follows_when_the_interval_ends() {
    let mut plugin = throttle(r#"{"every": "1s"}"#);
    assert!(passes(&mut plugin, "a", "1", 1_000));
    assert!(!passes(&mut plugin, "a", "2", 1_100));
    assert!(!passes(&mut plugin, "a", "3", 1_200));
    assert!(passes(&mut plugin, "b", "1", 1_300));
    assert_eq!(ticked(&mut plugin, 1_999), []);
    assert_eq!(ticked(&mut plugin, 2_000), [pair("a", "3")]);
    assert!(!passes(&mut plugin, "a", "4", 2_500), "what the timer sent opened an interval");
    assert_eq!(ticked(&mut plugin, 3_000), [pair("a", "4")]);
    assert_eq!(ticked(&mut plugin, 10_000), []);
    assert_eq!((plugin.keys.len(), plugin.kept_bytes), (0, 0), "an idle key is forgotten");
}

#[test]
fn a_message_after_the_end_makes_the_one_held_back_useless() {
    let mut plugin = throttle(r#"{"every": "1s"}"#);
    assert!(passes(&mut plugin, "a", "1", 1_000));
    assert!(!passes(&mut plugin, "a", "2", 1_500));
    assert!(passes(&mut plugin, "a", "3", 2_100));
    assert_eq!(ticked(&mut plugin, 9_000), [], "2 must not come after 3");
}

#[test]
fn a_message_delivered_again_passes_again() {
    let mut plugin = throttle(r#"{"every": "1s", "keep_last": false}"#);
    let message = |id, redelivered| Message { id, redelivered, ..Message::new("a", "1").at(1_000) };
    assert_eq!(plugin.handle("home", message(1, false)), Ok(Decision::Pass));
    assert_eq!(plugin.handle("home", message(1, true)), Ok(Decision::Pass));
    assert_eq!(plugin.handle("home", message(2, true)), Ok(Decision::drop("throttled")));
}

#[test]
fn nothing_is_kept_unless_it_is_wanted() {
    let mut plugin = throttle(r#"{"every": "1s", "keep_last": false}"#);
    assert!(passes(&mut plugin, "a", "1", 1_000));
    assert!(!passes(&mut plugin, "a", "2", 1_500));
    assert_eq!(ticked(&mut plugin, 2_000), []);
}

#[test]
fn a_field_may_be_the_key() {
    let mut plugin = throttle(r#"{"every": "1s", "by": {"field": "id"}}"#);
    assert!(passes(&mut plugin, "a", r#"{"id":1}"#, 1_000));
    assert!(!passes(&mut plugin, "b", r#"{"id":1,"x":2}"#, 1_000));
    assert!(passes(&mut plugin, "a", r#"{"id":2}"#, 1_000));
    assert!(passes(&mut plugin, "a", "no JSON", 1_000) && passes(&mut plugin, "a", "no JSON", 1_000));
}

#[test]
fn what_a_tick_sends_is_bounded_and_fair() {
    let mut plugin = throttle(r#"{"every": "1s", "max_outputs": 2}"#);
    for (i, topic) in ["a", "b", "c"].into_iter().enumerate() {
        assert!(passes(&mut plugin, topic, "1", 1_000 + i as u64));
        assert!(!passes(&mut plugin, topic, "2", 1_100));
    }
    assert_eq!(ticked(&mut plugin, 3_000), [pair("a", "2"), pair("b", "2")]);
    assert_eq!(ticked(&mut plugin, 3_000), [pair("c", "2")]);
}

#[test]
fn keys_are_bounded() {
    let mut plugin = throttle(r#"{"every": "1s", "max_keys": 2}"#);
    assert!(passes(&mut plugin, "a", "1", 1_000) && passes(&mut plugin, "b", "1", 1_000));
    assert!(passes(&mut plugin, "c", "1", 1_000) && passes(&mut plugin, "c", "2", 1_000), "no room: it passes");
    assert_eq!(plugin.keys.len(), 2);
    assert!(passes(&mut plugin, "c", "3", 2_000), "idle keys made room");
    assert!(!passes(&mut plugin, "c", "4", 2_000));
}

#[test]
fn what_is_kept_and_sent_is_bounded() {
    const LARGE: usize = 500 << 10;
    let mut plugin = throttle(r#"{"every": "1s"}"#);
    let mut decide = |topic: usize, bytes: usize| {
        let message = Message::new(topic.to_string(), vec![0; bytes]).at(1_000);
        plugin.handle("home", message).unwrap()
    };
    let fitting = MAX_KEPT_BYTES / (LARGE + 1_000);
    for topic in 0..=fitting {
        assert_eq!(decide(topic, LARGE), Decision::Pass);
        let expected = if topic < fitting { "throttled" } else { "throttled, no room to keep it" };
        assert_eq!(decide(topic, LARGE), Decision::drop(expected));
    }
    assert_eq!(decide(0, LARGE), Decision::drop("throttled"), "one takes the place of the other");
    assert_eq!(decide(0, MAX_TICK_BYTES), Decision::drop("throttled, no room to keep it"));
    for _ in 1..fitting {
        assert_eq!(plugin.tick(2_000).len(), 1, "two would be more than one call may send");
    }
    assert_eq!((plugin.tick(2_000).len(), plugin.kept_bytes), (0, 0));
}

#[test]
fn a_clock_set_back_does_not_silence_a_key() {
    let mut plugin = throttle(r#"{"every": "1h"}"#);
    assert!(passes(&mut plugin, "a", "1", 1_000_000_000));
    assert!(passes(&mut plugin, "a", "2", 5));
    assert!(!passes(&mut plugin, "a", "3", 6));
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at) in [
        ("{}", ""),
        (r#"{"every": "0s"}"#, "every"),
        (r#"{"every": 5}"#, "every"),
        (r#"{"every": "1s", "max_keys": 0}"#, "max_keys"),
        (r#"{"every": "1s", "max_outputs": 0}"#, "max_outputs"),
        (r#"{"every": "1s", "by": {"field": ""}}"#, "by.field"),
    ] {
        assert_eq!(testing::refused::<Throttle>(config)[0].at, at, "{config}");
    }
}
