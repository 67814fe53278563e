use super::*;
use crate::answer::{Edit, Property};
use proptest::prelude::*;
use tidegate_message::QoS;

/// A block that is good, in this layout.
type Good = (Layout, fn() -> Vec<u8>);

const BOTH: [Good; 2] = [(Layout::V0, old), (Layout::V1, new)];

/// Pass; forward to `far` on `a`, with a payload, QoS 1, retained, and properties; drop; retry. In contract 0.1.
fn old() -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let user = [&1_u32.to_le_bytes()[..], &text("k"), &text("v")].concat();
    let properties = [&[0b11111][..], &text("c"), &text("r"), &text("d"), &7_u32.to_le_bytes(), &user].concat();
    let output = [&[0b111_1111, 1][..], &text("far"), &text("a"), &text("new"), &properties].concat();
    let outputs = [&2_u32.to_le_bytes()[..], &output, &[0, 0]].concat();
    let parts: [&[u8]; 8] = [&4_u32.to_le_bytes(), &[0, 1], &outputs, &[2], &text("cold"), &[4], &text("later"), &[]];
    parts.concat()
}

/// The same in contract 1, with a key.
fn new() -> Vec<u8> {
    let text = |case: u8, text: &str| [&[case][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let changes = [
        text(0, "a"),
        text(1, "new"),
        vec![2, 1, 3, 1, 10, 0],
        text(4, "c"),
        text(5, "r"),
        text(6, "d"),
        [&[7][..], &7_f64.to_le_bytes(), &[8, 1]].concat(),
        [text(9, "k"), text(0, "v")[1..].to_vec()].concat(),
        text(11, "key"),
    ];
    let output = [&text(0, "far")[..], &12_u32.to_le_bytes(), &changes.concat()].concat();
    let onward = [&[1][..], &0_u32.to_le_bytes()].concat();
    let outputs = [&[1][..], &2_u32.to_le_bytes(), &output, &onward].concat();
    [&4_u32.to_le_bytes()[..], &[2], &outputs, &text(0, "cold"), &text(4, "later")].concat()
}

#[test]
fn messages_are_laid_out_as_documented() {
    use tidegate_message::{Message, Topic};
    let mut rich = Message::new(Topic::new("a").unwrap(), "xy", QoS::ExactlyOnce);
    rich.retain = true;
    rich.properties = Some(Box::new(Properties {
        content_type: Some("c".into()),
        response_topic: Some(Topic::new("r").unwrap()),
        correlation_data: Some(vec![9].into()),
        message_expiry_seconds: Some(7),
        payload_is_utf8: true,
        user: vec![("k".into(), "v".into())],
        key: Some("not for plugins".into()),
    }));
    let bare = Message::new(Topic::new("b").unwrap(), "", QoS::AtLeastOnce);
    let input = |id, message, redelivered| Input { id, message, received_ms: 3, redelivered };
    let mut block = b"what was there".to_vec();
    write(&[input(1, &rich, false), input(2, &bare, true)], &mut block);
    let text = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let head = |id: u64, flags: u8| [&id.to_le_bytes()[..], &3_u64.to_le_bytes(), &[flags]].concat();
    let user = [&1_u32.to_le_bytes()[..], &text("k"), &text("v")].concat();
    let properties = [&[0b11111][..], &text("c"), &text("r"), &text("\t"), &7_u32.to_le_bytes(), &user].concat();
    let first = [head(1, 0b1_0110), text("a"), text("xy"), properties].concat();
    let second = [head(2, 0b0_1001), text("b"), text("")].concat();
    assert_eq!(block, [&2_u32.to_le_bytes()[..], &first, &second].concat());
}

#[test]
fn a_block_is_read_as_it_is_laid_out() {
    for (layout, block) in BOTH {
        is_read(layout, &block());
    }
}

fn is_read(layout: Layout, block: &[u8]) {
    let results = read(layout, block, 4, 8).unwrap();
    let [Decision::Pass, Decision::Forward(outputs), Decision::Drop(cold), Decision::Retry(later)] = &results[..]
    else {
        panic!("{results:?}")
    };
    assert_eq!((cold.as_str(), later.as_str()), ("cold", "later"));
    let [first, second] = &outputs[..] else { panic!("{outputs:?}") };
    assert!(matches!(&first.to, To::Target(name) if name == "far"));
    assert_eq!((first.topic.as_deref(), first.payload.as_deref()), (Some("a"), Some(&b"new"[..])));
    assert_eq!((first.qos, first.retain), (Some(QoS::AtLeastOnce), Some(true)));
    let edits = [
        Edit::Remove(Property::Every),
        Edit::ContentType("c".into()),
        Edit::ResponseTopic("r".into()),
        Edit::CorrelationData(b"d".to_vec()),
        Edit::ExpirySeconds(7.0),
        Edit::PayloadIsUtf8(true),
        Edit::User("k".into(), "v".into()),
    ];
    assert_eq!(first.edits, edits);
    assert_eq!(first.key.as_deref(), (layout == Layout::V1).then_some("key"));
    assert!(second.to == To::Onward && second.topic.is_none() && second.edits.is_empty());
}

#[test]
fn a_block_that_is_cut_or_too_long_is_refused() {
    for (layout, good) in BOTH {
        let good = good();
        for end in 0..good.len() {
            assert!(read(layout, &good[..end], 4, 8).is_err(), "{layout:?} cut at {end}");
        }
        let longer = [&good[..], &[0]].concat();
        assert!(
            matches!(read(layout, &longer, 4, 8), Err(Fault::Trap(words)) if words.ends_with("1 bytes are left over behind its decisions"))
        );
        assert_eq!(read(layout, &good, 3, 8).unwrap_err(), Fault::WrongCount { expected: 3, got: 4 });
    }
}

#[test]
fn a_small_block_does_not_become_much_memory() {
    let count = 100_000_u32;
    let one = [&1_u32.to_le_bytes()[..], &[1], &count.to_le_bytes()].concat();
    for (layout, output) in [(Layout::V0, &[0; 2][..]), (Layout::V1, &[1, 0, 0, 0, 0])] {
        let results = read(layout, &[&one[..], &output.repeat(count as usize)].concat(), 1, 64).unwrap();
        assert!(matches!(&results[0], Decision::Forward(outputs) if outputs.len() == 65));
    }
    let changes = [&1_u32.to_le_bytes()[..], &[1], &1_u32.to_le_bytes(), &[1], &count.to_le_bytes()].concat();
    let block = [&changes[..], &[10, 0].repeat(count as usize)].concat();
    let fault = read(Layout::V1, &block, 1, 64).unwrap_err();
    assert!(fault.to_string().ends_with("100000 changes of one output, at most 1024 are allowed"), "{fault}");
}

#[test]
fn a_reason_that_is_empty_is_none_in_contract_1() {
    for case in [0, 3, 4] {
        let block = [&1_u32.to_le_bytes()[..], &[case], &0_u32.to_le_bytes()].concat();
        assert!(matches!(read(Layout::V1, &block, 1, 1).unwrap()[..], [Decision::Wrong(Fault::NoReason)]));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, put: u8) {
        for (layout, good) in BOTH {
            let _ = read(layout, &bytes, 1, 8);
            let mut changed = good();
            *at.get_mut(&mut changed) = put;
            let _ = read(layout, &changed, 4, 8);
        }
    }
}
