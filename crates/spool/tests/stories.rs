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

/// The newest file of cursors was written and not synced by a process that was killed. Its successor writes the other one,
/// which is the only one that is durable, and loses power.
#[test]
fn cursors_that_a_killed_process_did_not_sync_are_durable_once_they_were_read() {
    let append = |to, pad, rich, extra| Step::Append { to, pad, rich, extra };
    let steps = [
        append(1, 1576, true, 0),
        append(223, 49, false, 0),
        Step::Work,
        append(185, 362, true, 0),
        Step::Poll,
        append(180, 1406, false, 0),
        Step::Done { queue: 83, pick: 0 },
        Step::Work,
        Step::Poll,
        Step::Done { queue: 0, pick: 9 },
        append(8, 0, false, 0),
        Step::Work,
        Step::Kill,
        Step::Poll,
        Step::Work,
        Step::Poll,
        append(137, 264, false, 0),
        Step::Done { queue: 2, pick: 1 },
        append(130, 1064, false, 70),
        Step::Work,
        Step::Crash { choice: 509_698 },
    ];
    tell(&steps, 8192, false);
}
