//! A message that a target hangs up on is found and put aside; the rest goes on, in order.

use super::*;
use crate::fixture::{assert_balanced, run};
use tidegate_testkit::{End, Habit, Match, Mosquitto, MosquittoSub, Packet, Property, Script};

/// From `s` to a target with these habits, with `bad` among the messages.
struct Line {
    s: ScriptedBroker,
    t: ScriptedBroker,
    tidegate: Tidegate,
}

impl Line {
    #[track_caller]
    fn start(version: &str, script: Script, keys: &str) -> Self {
        let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(script));
        let config = link("s", &s.url(), "5", "")
            + &link("t", &t.url(), version, "")
            + &named_route("r", "s", &["d/#"], 2, &["t"], keys);
        let tidegate = Tidegate::start(&config);
        Self { s, t, tidegate }
    }

    /// Many good ones around a bad one; says which good ones.
    fn send(&self, qos: u8, bad: impl Fn() -> Message) -> Vec<String> {
        let all = numbered(40);
        send(&self.s, "d/good", qos, all[..20].iter().cloned());
        self.s.publish(bad());
        send(&self.s, "d/good", qos, all[20..].iter().cloned());
        all
    }

    /// The good ones arrived, once each or with DUP, in order; the bad one is parked with all that is known of it.
    #[track_caller]
    fn ends_with(&self, good: &[String], topic: &str, qos: u8, payload_bytes: usize, reason: &str) {
        arrives(&self.t, good.last().expect("there are some"));
        arrive_in_order(&self.t, good);
        acknowledged(&self.s);
        let parked = &are_parked(&self.tidegate, 1)[0];
        let text = |field: &str| parked[field].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("kind"), "refused_by_target", "{parked}");
        assert_eq!(
            (text("target").as_str(), text("route").as_str(), text("topic").as_str()),
            ("t", "r", topic),
            "{parked}"
        );
        assert_eq!((&parked["qos"], &parked["payload_bytes"]), (&qos.into(), &payload_bytes.into()), "{parked}");
        assert!(text("reason").contains(reason), "no `{reason}` in {parked}");
        says(&self.tidegate, &[topic, "t"]);
        let metrics = assert_balanced(&self.tidegate);
        assert_eq!(metrics.get("tidegate_route_parked_total", &[("route", "r")]), Some(1.0));
        ready(&self.tidegate);
    }
}

fn hangs_up_on_bad(end: End) -> Script {
    Script::new().always(Habit::HangUpOnPublish(Match::topic("d/bad"), end))
}

#[test]
fn a_topic_that_ends_the_connection_is_put_aside_and_the_rest_goes_on() {
    for version in ["3.1", "3.1.1", "5"] {
        for (qos, end) in [(1, End::fin()), (2, End::reset())] {
            let line = Line::start(version, hangs_up_on_bad(end), "");
            let good = line.send(qos, || Message::new("d/bad", b"12345").at(qos));
            line.ends_with(&good, "d/bad", qos, 5, "");
        }
    }
}

#[test]
fn the_reason_of_a_disconnect_is_kept_with_what_is_put_aside() {
    for code in [0x87, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b] {
        let end = End::says(code).with(Property::reason_string("because of the moon"));
        let line = Line::start("5", hangs_up_on_bad(end), "");
        let good = line.send(1, || Message::new("d/bad", b"12345").at(1));
        line.ends_with(&good, "d/bad", 1, 5, "the moon");
        assert!(parked(&line.tidegate)[0]["reason"].to_string().contains(&format!("{code:#04X}").replace("0X", "0x")));
    }
}

#[test]
fn a_source_that_waits_for_delivery_is_told_of_what_is_put_aside() {
    let line = Line::start("5", hangs_up_on_bad(End::fin()), "ack = \"delivered\"");
    let good = line.send(1, || Message::new("d/bad", b"12345").at(1));
    line.ends_with(&good, "d/bad", 1, 5, "");
}

#[test]
fn a_payload_above_a_limit_that_was_not_announced_is_put_aside() {
    for (version, end) in [("3.1.1", End::fin()), ("5", End::says(0x95))] {
        let script = Script::new().always(Habit::HangUpOnPublish(Match::larger_than(2_048), end));
        let line = Line::start(version, script, "");
        let good = line.send(1, || Message::new("d/large", vec![b'x'; 5_000]).at(1));
        line.ends_with(&good, "d/large", 1, 5_000, "");
    }
}

#[test]
fn a_payload_between_the_announced_and_the_true_limit_is_put_aside() {
    let script = Script::new()
        .always(Habit::Connack(Property::maximum_packet_size(149_504)))
        .always(Habit::HangUpOnPublish(Match::larger_than(131_072), End::says(0x95)));
    let line = Line::start("5", script, "");
    let good = line.send(1, || Message::new("d/large", vec![b'x'; 140_000]).at(1));
    line.ends_with(&good, "d/large", 1, 140_000, "0x95");
}

#[test]
fn what_was_learnt_of_a_size_is_not_tried_again() {
    let script = Script::new().always(Habit::HangUpOnPublish(Match::larger_than(2_048), End::reset()));
    let line = Line::start("3.1.1", script, "");
    let good = line.send(1, || Message::new("d/large", vec![b'x'; 5_000]).at(1));
    line.ends_with(&good, "d/large", 1, 5_000, "");
    let before = line.t.welcomed();
    line.s.publish(Message::new("d/larger", vec![b'x'; 6_000]).at(1));
    send(&line.s, "d/good", 1, ["behind".to_owned()]);
    arrives(&line.t, "behind");
    drained(&line.tidegate);
    assert_eq!(line.t.welcomed(), before, "no connection is spent on it{}", line.t.tail());
    let tried = |packet: &Packet| matches!(packet, Packet::Publish(message, ..) if message.payload.len() == 6_000);
    assert_eq!(line.t.heard(tried), 0);
}

/// mosquitto itself, on 3.1.1, where it cannot say what it takes.
#[test]
fn mosquitto_with_a_limit_of_its_own_is_no_dead_end() {
    let (s, t) = (Mosquitto::start(), Mosquitto::builder().line("max_packet_size 2048").start());
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.url(), "3.1.1", "")
        + &named_route("r", "s", &["a/#"], 1, &["t"], "");
    let tidegate = Tidegate::start(&config);
    let sub = MosquittoSub::start(t.port(), &["-t", "#", "-q", "1"]);
    let mut client = tidegate_testkit::Client::connect(
        s.port(),
        &tidegate_testkit::ClientOptions::new(tidegate_testkit::Version::V5, "publisher"),
    )
    .expect("the source is up");
    for (topic, payload) in [("a/1", vec![b's'; 5]), ("a/big", vec![b'x'; 5_000]), ("a/2", vec![b'a'; 5])] {
        client.publish(topic, &payload, 1, false).expect("published");
    }
    assert_eq!(sub.expect(2, PATIENCE), ["a/1 1 0 sssss", "a/2 1 0 aaaaa"]);
    assert_eq!(are_parked(&tidegate, 1)[0]["topic"], "a/big");
    assert_balanced(&tidegate);
}

/// NATS: the QoS is the cause, so the message itself is sent, only lower, the first one too.
#[test]
fn a_qos_that_ends_the_connection_is_lowered_and_nothing_is_put_aside() {
    for version in ["3.1.1", "5"] {
        let script = Script::new().always(Habit::HangUpOnPublish(Match::qos(2), End::fin()));
        let line = Line::start(version, script, "");
        let all = numbered(30);
        send(&line.s, "d/2", 2, all.iter().cloned());
        arrives(&line.t, "n0029");
        arrive_in_order(&line.t, &all);
        assert!(line.t.published().iter().all(|taken| taken.message.qos == 1));
        acknowledged(&line.s);
        drained(&line.tidegate);
        assert_eq!(parked(&line.tidegate), Vec::<Value>::new());
        // It is remembered.
        let before = line.t.welcomed();
        send(&line.s, "d/2", 2, ["later".to_owned()]);
        arrives(&line.t, "later");
        assert_eq!(line.t.welcomed(), before, "no connection is spent on it{}", line.t.tail());
    }
}

#[test]
fn a_retain_flag_that_ends_the_connection_does_not_stop_the_rest() {
    let script = Script::new().always(Habit::HangUpOnPublish(Match::retained(), End::fin()));
    let line = Line::start("3.1.1", script, "");
    let good = line.send(1, || Message::new("d/kept", b"12345").at(1).retained());
    for payload in &good {
        arrives(&line.t, payload);
    }
    drained(&line.tidegate);
    acknowledged(&line.s);
}

#[test]
fn several_of_them_cost_themselves_only() {
    for version in ["3.1.1", "5"] {
        let line = Line::start(version, hangs_up_on_bad(End::fin()), "");
        let good = numbered(60);
        for (n, payload) in good.iter().enumerate() {
            if n % 20 == 7 {
                send(&line.s, "d/bad", 1, [format!("bad{n}")]);
            }
            send(&line.s, "d/good", 1, [payload.clone()]);
        }
        arrives(&line.t, "n0059");
        arrive_in_order(&line.t, &good);
        are_parked(&line.tidegate, 3);
        acknowledged(&line.s);
        assert_balanced(&line.tidegate);
    }
}

#[test]
fn it_is_found_over_restarts_of_the_gateway_too() {
    let mut line = Line::start("5", hangs_up_on_bad(End::fin()), "");
    let good = line.send(1, || Message::new("d/bad", b"12345").at(1));
    acknowledged(&line.s);
    for round in 1..=3 {
        eventually("the connection ends", PATIENCE, || line.t.welcomed() > round);
        line.tidegate.kill();
        line.tidegate.relaunch();
    }
    for payload in &good {
        arrives(&line.t, payload);
    }
    ready(&line.tidegate);
    are_parked(&line.tidegate, 1);
    line.tidegate.kill();
    line.tidegate.relaunch();
    ready(&line.tidegate);
    assert_eq!(are_parked(&line.tidegate, 1)[0]["topic"], "d/bad", "it stays where it is");
    ready(&line.tidegate);
}

#[test]
fn in_a_set_the_others_are_not_held_up() {
    for policy in ["failover", "balance", "all"] {
        let s = ScriptedBroker::start(Script::new());
        let (a, b) =
            (ScriptedBroker::start(hangs_up_on_bad(End::fin())), ScriptedBroker::start(hangs_up_on_bad(End::fin())));
        let config = link("s", &s.url(), "5", "")
            + &link("a", &a.url(), "5", "")
            + &link("b", &b.url(), "5", "")
            + &format!("[targets.up]\npolicy = \"{policy}\"\nmembers = [\"a\", \"b\"]\n")
            + &named_route("r", "s", &["d/#"], 1, &["up"], "");
        let tidegate = Tidegate::start(&config);
        send(&s, "d/bad", 1, ["bad".to_owned()]);
        for n in 0..20 {
            send(&s, &format!("d/good/{n}"), 1, [format!("n{n:04}")]);
        }
        for payload in numbered(20) {
            eventually(&format!("{policy}: {payload} arrives"), PATIENCE, || {
                let (at_a, at_b) = (a.payloads().contains(&payload), b.payloads().contains(&payload));
                if policy == "all" { at_a && at_b } else { at_a || at_b }
            });
        }
        acknowledged(&s);
        drained(&tidegate);
        assert!(!parked(&tidegate).is_empty(), "{policy}");
        ready(&tidegate);
    }
}

#[test]
fn what_one_member_of_a_set_hangs_up_on_is_still_for_the_other() {
    let s = ScriptedBroker::start(Script::new());
    let (a, b) = (ScriptedBroker::start(hangs_up_on_bad(End::fin())), ScriptedBroker::start(Script::new()));
    let config = link("s", &s.url(), "5", "")
        + &link("a", &a.url(), "5", "")
        + &link("b", &b.url(), "5", "")
        + "[targets.up]\npolicy = \"all\"\nmembers = [\"a\", \"b\"]\n"
        + &named_route("r", "s", &["d/#"], 1, &["up"], "");
    let tidegate = Tidegate::start(&config);
    send(&s, "d/bad", 1, ["bad".to_owned()]);
    send(&s, "d/good", 1, ["good".to_owned()]);
    arrives(&b, "bad");
    arrives(&b, "good");
    arrives(&a, "good");
    assert_eq!(are_parked(&tidegate, 1)[0]["target"], "a");
    acknowledged(&s);
}

/// What `tidegate parked WORDS` prints.
#[track_caller]
fn operator(tidegate: &Tidegate, words: &[&str]) -> String {
    let config = tidegate.dir().join("tidegate.toml").display().to_string();
    let output = run(&[&["parked"], words, &["--config", &config]].concat());
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_put_aside_is_shown_replayed_to_another_target_and_deleted() {
    let line = Line::start("5", hangs_up_on_bad(End::fin()), "");
    let spare = ScriptedBroker::start(Script::new());
    let config = std::fs::read_to_string(line.tidegate.dir().join("tidegate.toml")).expect("the configuration");
    line.tidegate.edit_config(&format!("{config}\n{}", link("spare", &spare.url(), "5", "")));
    eventually("the spare one is there", PATIENCE, || spare.welcomed() == 1);
    for payload in ["one", "two"] {
        send(&line.s, "d/bad", 1, [payload.to_owned()]);
    }
    let both = are_parked(&line.tidegate, 2);
    let number = |at: usize| both[at]["number"].to_string();
    let shown: Value = serde_json::from_str(&operator(&line.tidegate, &["show", &number(0)])).expect("JSON");
    assert_eq!((&shown["payload"], &shown["topic"]), (&"one".into(), &"d/bad".into()), "{shown}");
    operator(&line.tidegate, &["replay", &number(0), "--to", "spare"]);
    arrives(&spare, "one");
    assert_eq!(spare.topics(), ["d/bad"]);
    operator(&line.tidegate, &["delete", &number(1)]);
    are_parked(&line.tidegate, 0);
    assert_balanced(&line.tidegate);
    // To where it was refused: it is put aside again, and the rest goes on.
    send(&line.s, "d/bad", 1, ["three".to_owned()]);
    let third = are_parked(&line.tidegate, 1)[0]["number"].to_string();
    line.t.learn(Script::new());
    operator(&line.tidegate, &["replay", &third]);
    arrives(&line.t, "three");
    are_parked(&line.tidegate, 0);
    assert_balanced(&line.tidegate);
}

/// A target that ends every connection soon, whatever is sent, is out of order; its messages are not.
#[test]
fn a_target_that_ends_every_connection_puts_nothing_aside() {
    let line = Line::start("5", Script::new().times(12, Habit::EndAfterConnack(End::fin())), "");
    let good = numbered(10);
    send(&line.s, "d/good", 1, good.iter().cloned());
    arrives(&line.t, "n0009");
    drained(&line.tidegate);
    assert_eq!(parked(&line.tidegate), Vec::<Value>::new());
}

/// The network ends the connection while the same message is first among the unanswered, again and again; alone it passes.
#[test]
fn an_outage_that_comes_back_a_few_times_puts_nothing_aside() {
    let script = Script::new().times(4, Habit::HangUpOnPublish(Match::any(), End::reset()));
    let line = Line::start("5", script, "");
    let good = numbered(10);
    send(&line.s, "d/good", 1, good.iter().cloned());
    arrives(&line.t, "n0009");
    drained(&line.tidegate);
    let aside = parked(&line.tidegate);
    assert!(aside.len() <= 1, "{aside:?}");
}
