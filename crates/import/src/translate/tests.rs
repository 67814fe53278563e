//! What lines become, where the golden files do not show it.

use super::flows::{Flows, skipped_by_newer};
use crate::problem::Place;
use crate::settings::{Side, TopicLine};
use crate::topic_line;
use crate::words::Words;

fn lines(text: &str) -> Vec<TopicLine> {
    let lines = text.lines().enumerate();
    let read = |(at, line)| topic_line::read(&Place { file: "m".into(), line: at + 1 }, Words::of(line)).unwrap().line;
    lines.map(read).collect()
}

/// Each route as `filters qos strip prefix`, then what is said of lines.
fn flows(text: &str, from: Side) -> Vec<String> {
    let lines = lines(text);
    let flows = Flows::from(&lines, from);
    let groups = flows.groups.iter().map(|group| {
        let filters: Vec<&str> = group.flows.iter().map(|flow| flow.filter.as_str()).collect();
        let first = &group.flows[0];
        format!("{} {} {:?} {:?}", filters.join(","), group.qos, first.strip, first.prefix)
    });
    let dead = flows.dead.iter().map(|(place, _)| format!("dead {}", place.line));
    let differs = flows.differs.iter().map(|(place, _)| format!("differs {}", place.line));
    let refused = flows.refused.iter().map(|(line, _)| format!("refused {}", line.place.line));
    groups.chain(dead).chain(differs).chain(refused).collect()
}

#[test]
fn prefixes_change_sides_with_the_direction() {
    let text = "a/# both 1 l/ r/";
    assert_eq!(flows(text, Side::Local), ["l/a/# 1 \"l/\" \"r/\""]);
    assert_eq!(flows(text, Side::Remote), ["r/a/# 1 \"r/\" \"l/\""]);
    assert_eq!(flows("\"\" in 2 here there", Side::Remote), ["there 2 \"there\" \"here\""]);
    assert_eq!(flows("\"\" in 2 here there", Side::Local), [""; 0]);
    assert_eq!(flows("a out 0 x/ x/", Side::Local), ["x/a 0 \"\" \"\""]);
}

#[test]
fn a_prefix_that_ends_within_a_level_takes_the_level_along() {
    assert_eq!(flows("a/# out 1 \"\" r", Side::Local), ["a/# 1 \"a/\" \"ra/\""]);
    assert_eq!(flows("a out 1 l/ r", Side::Local), ["l/a 1 \"l/a\" \"ra\""]);
    assert_eq!(flows("a/+ out 1 l r", Side::Local), ["la/+ 1 \"l\" \"r\""]);
}

#[test]
fn lines_that_go_the_same_way_are_one_route() {
    assert_eq!(flows("a/# out 1\nb/# out 1\nc/# in 1", Side::Local), ["a/#,b/# 1 \"\" \"\""]);
    assert_eq!(flows("a/# out 1\nb/# out 0", Side::Local), ["a/# 1 \"\" \"\"", "b/# 0 \"\" \"\""]);
    assert_eq!(flows("a/+ out 1\n+/b out 2", Side::Local), ["a/+,+/b 2 \"\" \"\""], "what both match goes once");
    assert_eq!(flows("a/# out 1\n# out 0", Side::Local), ["# 1 \"\" \"\""], "one covers the other");
    assert_eq!(flows("a/x out 1\nb/x out 0\n+/x out 2", Side::Local), ["+/x 2 \"\" \"\""]);
    assert_eq!(flows("a out 1\na both 1", Side::Local), ["a 1 \"\" \"\""]);
}

/// The first line with a prefix that matches gives the name, whichever subscription a message came by.
#[test]
fn lines_whose_messages_others_rename_have_no_effect() {
    assert_eq!(flows("d out 1 \"\" x/\nd out 1", Side::Local), ["d 1 \"\" \"x/\"", "dead 2"]);
    assert_eq!(flows("d out 1\nd out 1 \"\" x/", Side::Local), ["d 1 \"\" \"x/\"", "dead 1"]);
    assert_eq!(flows("# out 1 \"\" x/\nd out 1 \"\" y/", Side::Local), ["# 1 \"\" \"x/\"", "dead 2"]);
    let both = flows("d out 1 \"\" y/\n# out 1 \"\" x/", Side::Local);
    assert_eq!(both, ["d 1 \"\" \"y/\"", "# 1 \"\" \"x/\"", "differs 2"]);
}

#[test]
fn what_is_no_filter_is_refused() {
    assert_eq!(flows("a# out", Side::Local), ["refused 1"]);
    assert_eq!(flows("\"a/#\" out", Side::Local), ["refused 1"]);
    assert_eq!(flows("a\tb out", Side::Local), ["refused 1"]);
    assert_eq!(flows("$share/g/a out", Side::Local), ["$share/g/a 0 \"\" \"\""]);
    assert_eq!(flows("g/a out 0 $share/", Side::Local), ["refused 1"]);
}

#[test]
fn what_mosquitto_2_1_skips_is_known() {
    let skipped = |text: &str| {
        let lines = lines(text);
        let (last, earlier) = lines.split_last().unwrap();
        skipped_by_newer(earlier, last).map(|line| line.place.line)
    };
    assert_eq!(skipped("a out 1\na out 1 l/ r/"), Some(1));
    assert_eq!(skipped("a out 1 l/\na out 1 \"\" r/"), Some(1));
    assert_eq!(skipped("a out 1 l/\na out 1 k/"), None);
    assert_eq!(skipped("a out 1\na out 0 l/ r/"), None);
    assert_eq!(skipped("a out 1\na in 1 l/ r/"), None);
    assert_eq!(skipped("a out 1\na out 1"), None, "that is a repetition");
    assert_eq!(skipped("\"\" out 1 l r\nx out 1"), Some(1), "an empty pattern is like each");
}
