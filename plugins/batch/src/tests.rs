use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tidegate_sdk::{Properties, Qos, state, testing};

fn batch(config: &str) -> Batch {
    testing::plugin(config)
}

fn message(id: u64, topic: &str, payload: &[u8]) -> Message {
    Message { id, ..Message::new(topic, payload).at(id) }
}

fn again(message: Message) -> Message {
    Message { redelivered: true, ..message }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.payload.clone().unwrap()).unwrap()
}

/// What goes out, each as `topic payload`.
fn told(outputs: Vec<Output>) -> Vec<String> {
    outputs.iter().map(|output| format!("{} {}", output.topic.as_deref().unwrap_or("="), text(output))).collect()
}

fn said(decision: Result<Decision, Failure>) -> Vec<String> {
    match decision.expect("decided") {
        Decision::Forward(outputs) => told(outputs),
        Decision::Drop(reason) => {
            assert_eq!(reason, "batched");
            Vec::new()
        }
        Decision::Pass => panic!("passed"),
    }
}

fn join(plugin: &mut Batch, id: u64, topic: &str, payload: &str) -> Vec<String> {
    said(plugin.handle("home", message(id, topic, payload.as_bytes())))
}

fn state_bytes() -> usize {
    state::keys("").iter().map(|key| key.len() + state::get(key).unwrap().len()).sum()
}

const NONE: [String; 0] = [];
const THREE: &str = r#"{"mode": "join", "max_messages": 3}"#;

#[test]
fn a_batch_goes_out_when_it_has_enough_messages() {
    let mut plugin = batch(THREE);
    assert_eq!(join(&mut plugin, 1, "a", "1"), NONE);
    assert_eq!(join(&mut plugin, 2, "b", "true"), NONE);
    assert_eq!(join(&mut plugin, 3, "a", r#" {"x": [1]} "#), NONE);
    assert_eq!(join(&mut plugin, 4, "a", "3"), [r#"a [1, {"x": [1]} ,3]"#]);
    assert_eq!(join(&mut plugin, 5, "a", "4"), NONE);
}

#[test]
fn a_batch_goes_out_before_it_would_be_too_large() {
    let mut plugin = batch(r#"{"mode": "join", "max_bytes": "64B", "max_messages": 2, "on_missing": "drop"}"#);
    let long = |n: usize| format!("\"{}\"", "x".repeat(n - 2));
    assert_eq!(join(&mut plugin, 1, "a", &long(30)), NONE);
    assert_eq!(join(&mut plugin, 2, "a", &long(31)), [format!("a [{},{}]", long(30), long(31))], "64 bytes in all");
    assert_eq!(join(&mut plugin, 3, "a", &long(31)), NONE);
    assert_eq!(join(&mut plugin, 4, "a", &long(31)), [format!("a [{}]", long(31))], "65 would be too many");
    assert_eq!(plugin.handle("home", message(5, "a", long(63).as_bytes())), Ok(Decision::drop("too large")));
}

#[test]
fn a_batch_goes_out_when_it_is_old() {
    let mut plugin = batch(
        r#"{"mode": "join", "max_age": "10s", "format": "lines", "topic": "b/{topic}", "qos": 0, "retain": true}"#,
    );
    join(&mut plugin, 1_000, "a", "one");
    join(&mut plugin, 2_000, "a", "two\n");
    join(&mut plugin, 5_000, "b", "");
    assert_eq!(told(plugin.tick(10_999)), NONE);
    let outputs = plugin.tick(11_000);
    assert_eq!((outputs[0].qos, outputs[0].retain), (Some(Qos::AtMostOnce), Some(true)));
    assert_eq!(outputs[0].properties.as_ref().unwrap().content_type.as_deref(), Some("text/plain"));
    assert_eq!(told(outputs), ["b/a one\ntwo\n"]);
    assert_eq!(told(plugin.tick(15_000)), ["b/b \n"]);
    assert_eq!(state::keys(""), [""; 0]);
}

#[test]
fn what_cannot_be_joined_is_told() {
    for (config, payload, reason) in [
        (r#""format": "json-array""#, "x", "not JSON"),
        (r#""format": "lines""#, "a\nb", "a line break in a line"),
        (r#""by": {"level": 3}"#, "1", "no key"),
    ] {
        for (on_missing, expected) in [("pass", Ok(Decision::Pass)), ("drop", Ok(Decision::drop(reason)))] {
            let mut plugin = batch(&format!(r#"{{"mode": "join", "on_missing": "{on_missing}", {config}}}"#));
            assert_eq!(plugin.handle("home", message(1, "a", payload.as_bytes())), expected);
        }
    }
    let mut lines = batch(r#"{"mode": "join", "format": "lines", "max_messages": 2}"#);
    join(&mut lines, 1, "a", "{\r\n \"x\": 1\n}\n");
    assert_eq!(join(&mut lines, 2, "a", "[]\r\n"), ["a {   \"x\": 1 }\n[]\n"], "JSON may be brought into a line");
}

#[test]
fn what_waits_survives_a_restart() {
    join(&mut batch(THREE), 1, "a", "1");
    join(&mut batch(THREE), 2, "a", "2");
    assert_eq!(said(batch(THREE).handle("home", again(message(2, "a", b"2")))), NONE, "it is there already");
    assert_eq!(join(&mut batch(THREE), 3, "a", "3"), ["a [1,2,3]"]);
    // The next batch, while the last is still kept.
    join(&mut batch(THREE), 4, "a", "4");
    assert_eq!(told(batch(THREE).tick(60_000)), ["a [4]"]);
    let mut plugin = batch(THREE);
    plugin.tick(100_000);
    plugin.tick(130_000);
    assert_eq!(state::keys(""), [""; 0], "what was sent is not kept for ever");
}

#[test]
fn what_a_message_completed_is_sent_again_when_it_is_delivered_again() {
    let mut plugin = batch(THREE);
    let ids = 1..=10;
    let payload = |id: u64| message(id, "a", id.to_string().as_bytes());
    let first: Vec<String> = ids.clone().skip(3).flat_map(|id| said(plugin.handle("home", payload(id)))).collect();
    assert_eq!(first, ["a [4,5,6]", "a [7,8,9]"]);
    for plugin in [&mut plugin, &mut batch(THREE)] {
        let second: Vec<String> =
            ids.clone().skip(3).flat_map(|id| said(plugin.handle("home", again(payload(id))))).collect();
        assert_eq!(second, first, "after a restart too");
    }
    assert_eq!(told(plugin.tick(10_010)), ["a [10]"], "which waited all the time");
}

#[test]
fn what_was_sent_is_kept_for_as_many_as_come_again_together() {
    let mut plugin = batch(r#"{"mode": "join", "max_messages": 50}"#);
    for id in 0..1_000 {
        join(&mut plugin, id, "a", "1");
        assert!(state::keys("held:").len() <= 50 * 7, "six batches that were sent, and one that waits");
    }
    assert_eq!(state::keys("held:").len(), 50 * 6);
    plugin.tick(40_000);
    assert_eq!(state::keys(""), [""; 0]);
}

#[test]
fn a_swap_of_the_format_ends_the_batch() {
    join(&mut batch(THREE), 1, "a", "1");
    let lines = r#"{"mode": "join", "max_messages": 3, "format": "lines", "content_type": "x/y"}"#;
    let Ok(Decision::Forward(outputs)) = batch(lines).handle("home", message(2, "a", b"2")) else {
        panic!("not forwarded")
    };
    assert_eq!(outputs[0].properties.as_ref().unwrap().content_type.as_deref(), Some("application/json"));
    assert_eq!(told(outputs), ["a [1]"]);
    assert_eq!(told(batch(THREE).tick(60_000)), ["a 2\n"]);
}

#[test]
fn what_has_no_room_goes_out_early() {
    let mut keys = batch(r#"{"mode": "join", "max_keys": 1}"#);
    assert_eq!(join(&mut keys, 1, "a", "1"), NONE);
    assert_eq!(join(&mut keys, 2, "b", "2"), ["b [2]"]);
    assert_eq!(join(&mut keys, 3, "a", "3"), NONE);

    state::keys("").iter().for_each(|key| state::delete(key));
    let mut plugin = batch(r#"{"mode": "join", "max_state": "400B"}"#);
    let mut out = Vec::new();
    for id in 10..100 {
        out.extend(join(&mut plugin, id, &format!("t/{}", id % 3), &id.to_string()));
        assert!(state_bytes() <= 400, "{}", state_bytes());
    }
    out.extend(told(plugin.tick(100_000)));
    let numbers =
        out.iter().flat_map(|text| text.split([' ', '[', ']', ',']).filter_map(|part| part.parse::<u64>().ok()));
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (10..100).collect::<Vec<_>>(), "each once");
}

#[test]
fn what_a_tick_sends_is_bounded_and_the_oldest_go_first() {
    let mut plugin = batch(r#"{"mode": "join", "max_outputs": 2}"#);
    for (id, topic) in [(3, "c"), (4, "b"), (5, "a")] {
        join(&mut plugin, id, topic, "1");
    }
    assert_eq!(told(plugin.tick(50_000)), ["c [1]", "b [1]"]);
    assert_eq!(told(plugin.tick(50_000)), ["a [1]"]);

    let mut large = batch(r#"{"mode": "join", "max_bytes": "448KiB", "max_state": "4MiB"}"#);
    let payload = format!("\"{}\"", "x".repeat(400 << 10));
    for id in 0..4 {
        join(&mut large, id, &id.to_string(), &payload);
    }
    let counts: Vec<usize> = (0..5).map(|_| large.tick(50_000).len()).collect();
    assert_eq!(counts, [1, 1, 1, 1, 0], "two would be more than one call may send");
}

#[test]
fn gzip_makes_it_small_and_is_undone() {
    let mut plugin = batch(r#"{"mode": "join", "gzip": true, "max_messages": 2}"#);
    let payload = format!("\"{}\"", "x".repeat(10_000));
    join(&mut plugin, 1, "a", &payload);
    let output = testing::only(plugin.handle("home", message(2, "a", b"2")).unwrap());
    let properties = output.properties.unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(properties.user, [("content-encoding".to_owned(), "gzip".to_owned())]);
    let packed = output.payload.unwrap();
    assert!(packed.len() < 200);

    plugin.tick(1_000);
    plugin.tick(40_000);
    let mut split = batch(r#"{"mode": "split", "gzip": true, "on_missing": "reject"}"#);
    let whole = Message { properties: *properties, ..message(3, "a", &packed) };
    let Ok(Decision::Forward(outputs)) = split.handle("home", whole) else { panic!("not forwarded") };
    assert_eq!(outputs[0].properties.as_deref(), Some(&Properties::none()));
    assert_eq!(told(outputs), [format!("= {payload}"), "= 2".to_owned()]);
    assert_eq!(said(split.handle("home", message(4, "a", b"[1]"))), ["= 1"], "what is not gzip is taken as it is");

    let cut = split.handle("home", message(5, "a", &packed[..packed.len() - 9]));
    assert_eq!(cut, Err(Failure::reject("not gzip")));
    let mut small = batch(r#"{"mode": "split", "gzip": true, "max_bytes": "9KiB", "on_missing": "drop"}"#);
    assert_eq!(small.handle("home", message(6, "a", &packed)), Ok(Decision::drop("too large")));
}

#[test]
fn a_bomb_is_not_inflated() {
    let bomb = format::gzip(&vec![b' '; 50 << 20]);
    assert!(bomb.len() < 500_000);
    let mut split = batch(r#"{"mode": "split", "gzip": true, "on_missing": "reject"}"#);
    let began = std::time::Instant::now();
    let decision = split.handle("home", message(1, "a", &bomb));
    assert_eq!(decision, Err(Failure::reject("too large: above 786432 bytes (`max_bytes`)")));
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn one_message_becomes_many() {
    let mut split = batch(r#"{"mode": "split", "topic": "x/{topic}", "to": "t", "qos": 2}"#);
    let Ok(Decision::Forward(outputs)) = split.handle("home", message(1, "a", br#"[1, {"a": "]"} ,null]"#)) else {
        panic!("not forwarded")
    };
    assert!(outputs.iter().all(|output| output.qos == Some(Qos::ExactlyOnce) && output.properties.is_none()));
    assert_eq!(told(outputs), ["x/a 1", "x/a {\"a\": \"]\"}", "x/a null"]);
    let mut lines = batch(r#"{"mode": "split", "format": "lines"}"#);
    assert_eq!(said(lines.handle("home", message(1, "a", b"one\r\n\ntwo"))), ["= one", "= ", "= two"]);
    assert_eq!(lines.handle("home", message(1, "a", b"")), Ok(Decision::drop("empty")));
}

#[test]
fn what_cannot_be_split_is_told() {
    let max = r#""max_outputs": 3, "max_bytes": "64B""#;
    for (config, payload, reason) in [
        ("", "x", "not JSON: `x` at byte 0"),
        ("", "{}", "not an array"),
        ("", "[1,2,3,4]", "too many pieces: above 3 (`max_outputs`)"),
        (r#", "format": "lines""#, "1\n2\n3\n4", "too many pieces: above 3 (`max_outputs`)"),
        (
            r#", "envelope": true"#,
            r#"[{"topic": "a", "json": 1}, 7]"#,
            "no envelope: piece 1 (from 0) is no {\"topic\": ...} with one of \"json\", \"text\" and \"base64\"",
        ),
    ] {
        let mut split = batch(&format!(r#"{{"mode": "split", "on_missing": "reject", {max}{config}}}"#));
        assert_eq!(split.handle("home", message(1, "a", payload.as_bytes())), Err(Failure::reject(reason)));
    }
    let mut split = batch(&format!(r#"{{"mode": "split", "on_missing": "drop", {max}}}"#));
    let large = format!("[\"{}\"]", "x".repeat(62));
    assert_eq!(split.handle("home", message(1, "a", large.as_bytes())), Ok(Decision::drop("too large")));
    let mut split = batch(r#"{"mode": "split", "envelope": true, "on_missing": "drop"}"#);
    for wrong in [
        r#"{"topic": "a/+", "json": 1}"#,
        r#"{"topic": 1, "json": 1}"#,
        r#"{"json": 1}"#,
        r#"{"topic": "a"}"#,
        r#"{"topic": "a", "json": 1, "text": "1"}"#,
        r#"{"topic": "a", "text": 1}"#,
        r#"{"topic": "a", "base64": "x"}"#,
        r#"{"topic": "a", "json": 1, "qos": 3}"#,
        r#"{"topic": "a", "json": 1, "retain": 1}"#,
    ] {
        let payload = format!("[{wrong}]");
        assert_eq!(
            split.handle("home", message(1, "a", payload.as_bytes())),
            Ok(Decision::drop("no envelope")),
            "{wrong}"
        );
    }
}

#[test]
fn spaces_and_line_breaks_around_json_come_back_from_an_envelope() {
    for (payload, written) in
        [("0", r#""json":0"#), ("0\t", r#""text":"0\t""#), ("[\n]", r#""text":"[\n]""#), ("", r#""text":"""#)]
    {
        let mut joiner = batch(r#"{"mode": "join", "max_messages": 1, "envelope": true}"#);
        let whole = text(&testing::only(joiner.handle("home", message(7, "a", payload.as_bytes())).unwrap()));
        assert_eq!(whole, format!(r#"[{{"topic":"a","qos":1,"retain":false,"received_ms":7,{written}}}]"#));
        joiner.tick(100_000);
        let mut splitter = batch(r#"{"mode": "split", "envelope": true}"#);
        assert_eq!(said(splitter.handle("home", message(8, "a", whole.as_bytes()))), [format!("= {payload}")]);
    }
}

#[test]
fn messages_that_wait_are_not_left_behind_by_a_change_of_mode() {
    join(&mut batch(THREE), 1, "a", "1");
    let problem = &testing::refused::<Batch>(r#"{"mode": "split"}"#)[0];
    assert_eq!((problem.at.as_str(), problem.message.starts_with("1 messages wait")), ("mode", true));
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at) in [
        ("{}", ""),
        (r#"{"mode": "both"}"#, "mode"),
        (r#"{"mode": "split", "max_age": "1s"}"#, "max_age"),
        (r#"{"mode": "split", "by": "topic"}"#, "by"),
        (r#"{"mode": "split", "envelope": true, "topic": "a"}"#, "topic"),
        (r#"{"mode": "split", "topic": "{key}"}"#, "topic"),
        (r#"{"mode": "split", "max_bytes": "9MiB"}"#, "max_bytes"),
        (r#"{"mode": "join", "max_bytes": "449KiB"}"#, "max_bytes"),
        (r#"{"mode": "join", "max_messages": 0}"#, "max_messages"),
        (r#"{"mode": "join", "max_age": "0s"}"#, "max_age"),
        (r#"{"mode": "join", "max_keys": 0}"#, "max_keys"),
        (r#"{"mode": "join", "max_outputs": 0}"#, "max_outputs"),
        (r#"{"mode": "join", "format": "csv"}"#, "format"),
        (r#"{"mode": "join", "to": ""}"#, "to"),
        (r#"{"mode": "join", "qos": 3}"#, "qos"),
        (r#"{"mode": "join", "content_type": ""}"#, "content_type"),
        (r#"{"mode": "join", "topic": "a/#"}"#, "topic"),
        (r#"{"mode": "join", "jon": 1}"#, "jon"),
    ] {
        assert_eq!(testing::refused::<Batch>(config)[0].at, at, "{config}");
    }
}

proptest! {
    /// What is joined in envelopes and split again is what came.
    #[test]
    fn an_envelope_gives_back_what_it_took(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..20),
        lines in any::<bool>(),
        gzip in any::<bool>(),
    ) {
        state::keys("").iter().for_each(|key| state::delete(key));
        let format = if lines { "lines" } else { "json-array" };
        let tail = format!(r#""format": "{format}", "envelope": true, "gzip": {gzip}"#);
        let mut joiner = batch(&format!(r#"{{"mode": "join", "by": {{"level": 0}}, "max_messages": {}, {tail}}}"#, payloads.len()));
        let came: Vec<Message> = payloads.iter().enumerate().map(|(n, payload)| {
            Message { retain: n % 2 == 0, qos: Qos::ExactlyOnce, ..message(n as u64, &format!("a/\"{n}"), payload) }
        }).collect();
        let mut whole = None;
        for message in &came {
            if let Decision::Forward(mut outputs) = joiner.handle("home", message.clone()).unwrap() {
                whole = outputs.pop();
            }
        }
        state::keys("").iter().for_each(|key| state::delete(key));
        let whole = whole.expect("complete");
        let mut splitter = batch(&format!(r#"{{"mode": "split", {tail}}}"#));
        let Ok(Decision::Forward(outputs)) = splitter.handle("home", Message::new("w", whole.payload.unwrap())) else {
            panic!("not split")
        };
        prop_assert_eq!(outputs.len(), came.len());
        for (output, message) in outputs.iter().zip(&came) {
            prop_assert_eq!(output.topic.as_deref(), Some(message.topic.as_str()));
            prop_assert_eq!((output.qos, output.retain), (Some(message.qos), Some(message.retain)));
            prop_assert_eq!(output.payload.as_ref(), Some(&message.payload));
        }
    }

    /// Each message is in exactly one batch, whatever restarts, redeliveries and ticks there are, and the state is empty at the end.
    #[test]
    fn nothing_is_lost_or_doubled(steps in proptest::collection::vec((0_u8..8, 0_u8..3), 1..120)) {
        state::keys("").iter().for_each(|key| state::delete(key));
        let config = r#"{"mode": "join", "max_messages": 4, "max_bytes": "64B", "max_age": "1s", "max_state": "3000B"}"#;
        let (mut plugin, mut now_ms, mut out, mut count) = (batch(config), 100, Vec::new(), 0_u64);
        for (what, topic) in steps {
            now_ms += 300;
            match what {
                0 => out.extend(told(plugin.tick(now_ms))),
                1 => plugin = batch(config),
                _ => {
                    count += 1;
                    let padding = if what == 2 { "0".repeat(20) } else { String::new() };
                    let came = message(now_ms, &topic.to_string(), format!("{count}.{padding}0").as_bytes());
                    let first = said(plugin.handle("home", came.clone()));
                    if what == 3 && state_bytes() < 1_500 {
                        prop_assert_eq!(&said(plugin.handle("home", again(came))), &first);
                    }
                    out.extend(first);
                }
            }
        }
        out.extend(told(plugin.tick(now_ms + 10_000)));
        plugin.tick(now_ms + 100_000);
        prop_assert_eq!(state::keys(""), Vec::<String>::new());
        let bodies = out.iter().map(|text| text.split_once(' ').unwrap().1.trim_matches(['[', ']']));
        let numbers: Vec<u64> = bodies.flat_map(|body| body.split(',')).map(|text| text.parse::<f64>().unwrap() as u64).collect();
        prop_assert_eq!(numbers.len() as u64, count);
        prop_assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), (1..=count).collect::<BTreeSet<_>>());
    }
}
