//! Stories by chance.

use crate::trial::{Step, Trial};
use proptest::prelude::*;
use tidegate_testkit::SimDisk;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let byte = any::<u8>;
    let one = prop_oneof![
        3 => byte().prop_map(|pick| Step::Open { pick }),
        2 => byte().prop_map(|pick| Step::Connected { pick }),
        2 => byte().prop_map(|pick| Step::Away { pick }),
        1 => byte().prop_map(|pick| Step::WillGone { pick }),
        1 => byte().prop_map(|pick| Step::End { pick }),
        2 => (byte(), byte()).prop_map(|(pick, filter)| Step::Subscribe { pick, filter }),
        1 => (byte(), byte()).prop_map(|(pick, filter)| Step::Unsubscribe { pick, filter }),
        10 => (byte(), prop_oneof![Just(5u16), Just(60), Just(700)], byte())
            .prop_map(|(to, pad, extra)| Step::Publish { to, pad, extra }),
        2 => (byte(), byte()).prop_map(|(pick, topic)| Step::CopyRetained { pick, topic }),
        1 => byte().prop_map(|topic| Step::Unretain { topic }),
        3 => byte().prop_map(|pick| Step::Sent { pick }),
        3 => byte().prop_map(|pick| Step::TakenOver { pick }),
        5 => byte().prop_map(|pick| Step::Done { pick }),
        1 => Just(Step::DoneAll),
        2 => byte().prop_map(|pick| Step::Took { pick }),
        2 => byte().prop_map(|pick| Step::Released { pick }),
        3 => Just(Step::Flush),
        6 => Just(Step::Work),
        6 => Just(Step::Poll),
        5 => Just(Step::Tidy),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(|choice| Step::Crash { choice }),
    ];
    prop::collection::vec(one, 1..160)
}

fn cases() -> u32 {
    let asked = std::env::var("TIDEGATE_CASES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 400 } else { 4_000 })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_durable_is_there_whatever_happens_and_the_log_stays_short(steps in steps()) {
        let mut trial = Trial::new(SimDisk::new()).expect("a store");
        for step in &steps {
            trial.step(step);
        }
        trial.is_short();
        trial.works_on();
    }
}
