//! Exchanges that a broker answers its own way are completed, and none of them waits in silence.

use super::*;
use crate::fixture::assert_balanced;
use std::time::Duration;
use tidegate_testkit::{Answer, End, Habit, Match, Packet, Script};

const GIVEN_UP: &str = "tidegate_broker_given_up_total";

/// More than the 20 of QoS 2 that are under way at a time.
const MANY: usize = 60;

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
            + &link("t", &t.url(), version, keys)
            + &named_route("r", "s", &["d/#"], 2, &["t"], "");
        let tidegate = Tidegate::start(&config);
        Self { s, t, tidegate }
    }

    /// Many messages of this QoS arrive, nothing stays anywhere, nothing is put aside.
    #[track_caller]
    fn carries(&self, qos: u8) {
        let all = numbered(MANY);
        send(&self.s, "d/x", qos, all.iter().cloned());
        for payload in &all {
            arrives(&self.t, payload);
        }
        drained(&self.tidegate);
        acknowledged(&self.s);
        assert_eq!(parked(&self.tidegate), Vec::<Value>::new());
        ready(&self.tidegate);
        assert_balanced(&self.tidegate);
    }

    #[track_caller]
    fn each_came_once(&self) {
        let mut came = self.t.payloads();
        came.sort();
        assert_eq!(came, numbered(MANY), "each once{}", self.t.tail());
    }
}

/// RabbitMQ.
#[test]
fn a_puback_for_qos_2_completes_it() {
    for version in ["3.1.1", "5"] {
        let line = Line::start(version, Script::new().always(Habit::PubackForQos2), "");
        line.carries(2);
        line.each_came_once();
        says(&line.tidegate, &["warn", "t", "qos 2"]);
        assert_eq!(lines_with(&line.tidegate, &["warn", "qos 2", "qos 1"]), 1, "said once\n{}", line.tidegate.log());
    }
}

/// Any broker that has finished the id.
#[test]
fn a_pubrel_that_ends_every_connection_is_taken_as_done() {
    for version in ["3.1.1", "5"] {
        let line = Line::start(version, Script::new().always(Habit::HangUpOnPubrel), "");
        // Each of them costs a few connections.
        let some = numbered(3);
        send(&line.s, "d/x", 2, some.iter().cloned());
        send(&line.s, "d/x", 1, ["end".to_owned()]);
        arrives(&line.t, "end");
        drained(&line.tidegate);
        acknowledged(&line.s);
        let mut came = line.t.payloads();
        came.sort();
        assert_eq!(came, ["end", "n0000", "n0001", "n0002"], "each once{}", line.t.tail());
        let metrics = line.tidegate.metrics();
        let given_up = metrics.samples(GIVEN_UP);
        let counted = |(labels, value): &tidegate_testkit::Sample| labels.contains_key("what") && *value >= 1.0;
        assert!(given_up.iter().any(counted), "{given_up:?}");
        says(&line.tidegate, &["t", "pubrel"]);
        assert_eq!(parked(&line.tidegate), Vec::<Value>::new());
        ready(&line.tidegate);
    }
}

/// rumqttd, after a PUBCOMP that was lost with its link.
#[test]
fn a_lost_pubcomp_is_no_dead_end_where_finished_ids_end_the_connection() {
    for version in ["3.1.1", "5"] {
        let script = Script::new().always(Habit::HangUpOnUnknownPubrel).once(Habit::LosePubcomp);
        let line = Line::start(version, script, "");
        line.carries(2);
        line.each_came_once();
        counts(&line.tidegate, GIVEN_UP, &[("broker", "t")], 1);
    }
}

/// The same, met again after a kill.
#[test]
fn a_lost_pubcomp_is_no_dead_end_after_a_kill_either() {
    let script = Script::new().always(Habit::HangUpOnUnknownPubrel).times(2, Habit::LosePubcomp);
    let mut line = Line::start("3.1.1", script, "");
    send(&line.s, "d/x", 2, numbered(10));
    eventually("one is lost", PATIENCE, || line.t.heard(|packet| matches!(packet, Packet::Pubrel(..))) > 0);
    line.tidegate.kill();
    line.tidegate.relaunch();
    for payload in numbered(10) {
        arrives(&line.t, &payload);
    }
    ready(&line.tidegate);
    drained(&line.tidegate);
}

/// amqtt.
#[test]
fn a_pubrec_for_a_pubrel_completes_it() {
    for version in ["3.1.1", "5"] {
        let line = Line::start(version, Script::new().always(Habit::PubrecForPubrel), "");
        line.carries(2);
        let line = Line::start(version, Script::new().times(5, Habit::PubrecForPubrel), "");
        line.carries(2);
        line.each_came_once();
    }
}

/// RabbitMQ and amqtt, after PUBCOMPs that were lost with their links, as many as are under way at a time: after PUBREC the
/// broker has the message, so nothing is lost by taking it as done.
#[test]
fn an_old_pubrel_that_is_never_answered_holds_up_nothing() {
    let script = Script::new().always(Habit::IgnoreUnknownPubrel).times(25, Habit::LosePubcomp);
    let line = Line::start("3.1.1", script, "");
    let all = numbered(MANY);
    send(&line.s, "d/x", 2, all.iter().cloned());
    let came = within(LONG, || all.iter().all(|payload| line.t.payloads().contains(payload)));
    assert!(came, "{} of {MANY} came{}", line.t.payloads().len(), line.t.tail());
    assert_eq!(parked(&line.tidegate), Vec::<Value>::new());
}

#[test]
fn answers_that_come_twice_or_to_nothing_disturb_nothing() {
    for version in ["3.1.1", "5"] {
        for habit in [Habit::AnswerTwice, Habit::AnswerWrongId] {
            for qos in 1..=2 {
                let line = Line::start(version, Script::new().always(habit.clone()), "");
                line.carries(qos);
                line.each_came_once();
            }
        }
    }
}

#[test]
fn answers_that_are_lost_cost_nothing() {
    for version in ["3.1.1", "5"] {
        for qos in 1..=2 {
            let script = Script::new().nth(5, Habit::LosePuback(Match::any())).nth(9, Habit::LosePubcomp);
            let line = Line::start(version, script, "");
            line.carries(qos);
            if qos == 2 {
                line.each_came_once();
            }
        }
    }
}

/// A 3.x broker cannot say what it takes; what it grants tells it.
#[test]
fn a_broker_that_grants_1_where_2_was_asked_is_sent_qos_1() {
    for version in ["3.1", "3.1.1"] {
        let far = ScriptedBroker::start(Script::new());
        let x = ScriptedBroker::start(Script::new().always(Habit::GrantAtMost(1)));
        let config = link("far", &far.url(), "5", "")
            + &link("x", &x.url(), version, "")
            + &named_route("up", "x", &["u/#"], 2, &["far"], "")
            + &named_route("down", "far", &["d/#"], 2, &["x"], "");
        let tidegate = Tidegate::start(&config);
        send(&far, "d/x", 2, numbered(30));
        arrives(&x, "n0029");
        arrive_in_order(&x, &numbered(30));
        assert!(x.published().iter().all(|taken| taken.message.qos == 1), "{}", x.tail());
        drained(&tidegate);
        says(&tidegate, &["x", "qos 1"]);
    }
}

#[test]
fn a_maximum_qos_that_is_set_is_kept_to() {
    for version in ["3.1.1", "5"] {
        for maximum in 0..=1 {
            let line = Line::start(version, Script::new(), &format!("max_qos = {maximum}"));
            line.carries(2);
            assert!(line.t.published().iter().all(|taken| taken.message.qos == maximum), "{}", line.t.tail());
        }
    }
}

/// One unanswered for a minute takes longer than anything else here.
const LONG: Duration = Duration::from_secs(120);

/// Three targets that do not answer: one not to QoS 2, one not to one message, one not to PUBREL.
#[test]
fn what_is_not_answered_for_a_minute_is_a_metric_a_warning_and_not_ready() {
    let s = ScriptedBroker::start(Script::new());
    let silent = [
        ("publish2", Habit::NeverAnswerQos2),
        ("publish1", Habit::IgnorePublish(Match::topic("d/1"))),
        ("pubrel", Habit::IgnorePubrel),
    ];
    let silent = silent.map(|(name, habit)| (name, ScriptedBroker::start(Script::new().always(habit))));
    let mut config = link("s", &s.url(), "5", "");
    for (name, t) in &silent {
        config += &link(name, &t.url(), "3.1.1", "");
    }
    config += &named_route("r", "s", &["d/#"], 2, &["publish2", "publish1", "pubrel"], "");
    let tidegate = Tidegate::start(&config);
    send(&s, "d/1", 1, ["one".to_owned()]);
    send(&s, "d/2", 2, numbered(MANY));
    for (name, t) in &silent {
        // What is known to be there may be taken as done instead; that is counted too.
        let of = |metric: &str| count(&tidegate, metric, &[("broker", name)]);
        let done = || *name == "pubrel" && of(GIVEN_UP) > 0;
        let counted = within(LONG, || of("tidegate_broker_unanswered") > 0 || done());
        assert!(counted, "{name} owes us an answer{}", t.tail());
        if !done() {
            not_ready(&tidegate, &[name, "unanswered"]);
            says(&tidegate, &["warn", name, "unanswered"]);
        }
    }
}

/// Nothing is answered any more while the connection is open: the hello is not the only thing that can stay without an answer.
#[test]
fn a_broker_that_is_silent_after_the_hello_is_left() {
    let s = ScriptedBroker::start(Script::new());
    let t = ScriptedBroker::start(Script::new().always(Habit::IgnorePing).always(Habit::IgnorePublish(Match::any())));
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.url(), "5", "keep_alive = \"1s\"")
        + &named_route("r", "s", &["d/#"], 2, &["t"], "");
    let _tidegate = Tidegate::start(&config);
    send(&s, "d/x", 1, ["one".to_owned()]);
    eventually("it connects again", PATIENCE, || t.welcomed() > 1);
    t.learn(Script::new());
    t.cut(&End::reset());
    arrives(&t, "one");
}

/// The hello's answer may be a refusal of the version only: with QoS 2 waiting, the version that works is used for it.
#[test]
fn what_waits_is_sent_in_the_version_that_works() {
    let script = Script::new().always(Habit::AnswerHello(&[5, 0x84, 0x83], Answer::End(End::fin())));
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(script));
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.url(), "auto", "")
        + &named_route("r", "s", &["d/#"], 2, &["t"], "");
    let tidegate = Tidegate::start(&config);
    send(&s, "d/x", 2, numbered(MANY));
    arrives(&t, "n0059");
    drained(&tidegate);
}
