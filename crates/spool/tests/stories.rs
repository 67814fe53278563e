//! Stories of appending, finishing, closing, killing and losing power, told against the model.

use crate::trial::{Step, Trial};
use proptest::prelude::*;
use tidegate_testkit::SimDisk;

/// `TIDEGATE_CASES` or `PROPTEST_CASES` asks for more. `scripts/test` runs what is optimised; where that is not, a tenth
/// must do.
const CASES: u32 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

fn cases() -> ProptestConfig {
    let asked = std::env::var("TIDEGATE_CASES").or_else(|_| std::env::var("PROPTEST_CASES"));
    let cases = asked.ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 3_000, ..Default::default() }
}

fn step() -> impl Strategy<Value = Step> {
    let pad = prop_oneof![6 => 0u16..60, 2 => 60u16..400, 1 => 400u16..2500];
    let append = (any::<u8>(), pad, any::<bool>(), any::<u8>(), prop::bool::weighted(0.4)).prop_map(
        |(to, pad, rich, extra, is_more)| Step::Append { to, pad, rich, extra: if is_more { extra } else { 0 } },
    );
    let crash = (0u64..1_000_000).prop_map(|choice| Step::Crash { choice });
    prop_oneof![
        20 => append,
        10 => any::<(u8, u8)>().prop_map(|(queue, pick)| Step::Done { queue, pick }),
        2 => any::<u8>().prop_map(|queue| Step::DoneAll { queue }),
        4 => any::<(u8, u8)>().prop_map(|(queue, pick)| Step::Sent { queue, pick }),
        3 => any::<(u8, u8)>().prop_map(|(queue, pick)| Step::TakenOver { queue, pick }),
        2 => any::<(u8, u8)>().prop_map(|(source, pick)| Step::Released { source, pick }),
        1 => any::<u8>().prop_map(|source| Step::Forgotten { source }),
        3 => Just(Step::Flush),
        10 => Just(Step::Work),
        10 => Just(Step::Poll),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        2 => crash,
    ]
}

fn window() -> impl Strategy<Value = usize> {
    prop_oneof![Just(8192usize), 1usize..12]
}

fn tell(steps: &[Step], window: usize, gives_back: bool) {
    let mut trial = Trial::new(SimDisk::new(), window);
    steps.iter().for_each(|step| trial.step(step));
    if gives_back {
        trial.gives_back();
    }
    trial.works_on();
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_durable_comes_back_and_nothing_else(
        steps in prop::collection::vec(step(), 0..90),
        window in window(),
        gives_back in prop::bool::weighted(0.1),
    ) {
        tell(&steps, window, gives_back);
    }
}
