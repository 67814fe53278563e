//! What a target refuses is told, and tried again where it may be taken later.

use super::*;
use crate::fixture::assert_balanced;
use tidegate_testkit::{Answer, End, Habit, Match, Property, Script};

fn start(script: Script) -> (ScriptedBroker, ScriptedBroker, Tidegate) {
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(script));
    let tidegate = Tidegate::start(&line(&s, &t, "5", &["a/#"]));
    (s, t, tidegate)
}

#[test]
fn a_negative_answer_is_told_with_broker_topic_reason_and_words() {
    let codes =
        [(0x80, "unspecified"), (0x83, "implementation"), (0x87, "not authorized"), (0x90, "topic"), (0x99, "payload")];
    for (code, reason) in codes {
        for qos in 1..=2 {
            let script = Script::new().always(Habit::RefusePublish(Match::topic("a/deny"), code, "not on mondays"));
            let (s, t, tidegate) = start(script);
            send(&s, "a/deny", qos, ["no".to_owned()]);
            send(&s, "a/ok", qos, ["yes".to_owned()]);
            arrives(&t, "yes");
            drained(&tidegate);
            acknowledged(&s);
            says(&tidegate, &["warn", "t", "a/deny", reason, &format!("0x{code:02x}"), "not on mondays"]);
            assert_eq!(t.payloads(), ["yes"]);
            assert_balanced(&tidegate);
        }
    }
}

#[test]
fn many_refusals_are_few_lines() {
    const MANY: usize = 500;
    let (s, t, tidegate) = start(Script::new().always(Habit::RefusePublish(Match::topic("a/deny"), 0x87, "no")));
    send(&s, "a/deny", 1, numbered(MANY));
    send(&s, "a/ok", 1, ["yes".to_owned()]);
    arrives(&t, "yes");
    drained(&tidegate);
    let lines = lines_with(&tidegate, &["a/deny"]);
    assert!((1..=MANY / 10).contains(&lines), "{lines} lines");
    let metrics = assert_balanced(&tidegate);
    let refused = metrics.get("tidegate_route_dropped_total", &[("reason", "refused_by_target")]);
    assert_eq!(refused, Some(MANY as f64));
}

#[test]
fn long_words_of_a_broker_are_cut() {
    const LINE_BYTES: usize = 2_000;
    let words: &'static str = "why ".repeat(10_000).leak();
    let (s, _t, tidegate) = start(Script::new().always(Habit::RefusePublish(Match::any(), 0x87, words)));
    send(&s, "a/deny", 1, ["no".to_owned()]);
    says(&tidegate, &["a/deny", "why why"]);
    assert!(tidegate.log().lines().all(|line| line.len() < LINE_BYTES), "a line is too long");
}

/// Quota exceeded, server busy: the message is good, the moment is not.
#[test]
fn what_is_refused_for_a_while_is_tried_again() {
    for code in [0x97, 0x89] {
        for qos in 1..=2 {
            let (s, t, tidegate) =
                start(Script::new().times(3, Habit::RefusePublish(Match::topic("a/later"), code, "slow down")));
            send(&s, "a/later", qos, ["patient".to_owned()]);
            send(&s, "a/ok", qos, ["other".to_owned()]);
            arrives(&t, "patient");
            arrives(&t, "other");
            drained(&tidegate);
            acknowledged(&s);
            assert_eq!(count(&tidegate, "tidegate_route_dropped_total", &[]), 0);
            assert_eq!(parked(&tidegate), Vec::<Value>::new());
            says(&tidegate, &["t", "a/later", &format!("0x{code:02x}"), "slow down"]);
            assert_balanced(&tidegate);
        }
    }
}

#[test]
fn what_is_refused_for_a_while_outlives_a_kill() {
    let (s, t, mut tidegate) = start(Script::new().always(Habit::RefusePublish(Match::any(), 0x97, "full")));
    send(&s, "a/x", 1, numbered(5));
    acknowledged(&s);
    says(&tidegate, &["0x97"]);
    tidegate.kill();
    t.learn(Script::new());
    tidegate.relaunch();
    for payload in numbered(5) {
        arrives(&t, &payload);
    }
    ready(&tidegate);
    drained(&tidegate);
}

#[test]
fn a_success_that_says_something_is_a_success() {
    // No matching subscribers.
    let (s, t, tidegate) = start(Script::new().once(Habit::RefusePublish(Match::topic("a/nobody"), 0x10, "")));
    send(&s, "a/nobody", 1, ["heard by nobody".to_owned()]);
    send(&s, "a/ok", 1, ["yes".to_owned()]);
    arrives(&t, "yes");
    drained(&tidegate);
    let metrics = assert_balanced(&tidegate);
    assert_eq!(metrics.get("tidegate_route_out_total", &[]), Some(2.0));
}

#[test]
fn the_server_to_use_is_shown_beside_the_reason() {
    let moved = [Property::reason_string("moved house"), Property::server_reference("other.example:1883")];
    let script = moved.iter().fold(Script::new(), |script, property| script.always(Habit::Connack(property.clone())));
    let refuses = ScriptedBroker::start(script.always(Habit::AnswerHello(&[5], Answer::Refuse(0x9c))));
    let end = moved.iter().fold(End::says(0x9d), |end, property| end.with(property.clone()));
    let leaves = ScriptedBroker::start(Script::new().always(Habit::EndAfterConnack(end)));
    let config = link("refuses", &refuses.url(), "5", "") + &link("leaves", &leaves.url(), "5", "");
    let tidegate = Tidegate::builder(&config).spawn();
    for broker in ["refuses", "leaves"] {
        says(&tidegate, &[broker, "moved house", "other.example:1883"]);
    }
}
