//! Decisions that differ, as both `plugin diff` and `replay` tell them.

use crate::tap::clock;
use tidegate_admin::model::Difference;
use tidegate_gateway::harmless;

/// Each kind with its first message, the largest first; `sides` is what the two are called.
pub(crate) fn told_differences(all: &[Difference], sides: [&str; 2]) -> String {
    let mut text = String::new();
    for Difference { kind, count, first_ms, last_ms, samples } in all {
        let times = match first_ms == last_ms {
            true => clock(*first_ms),
            false => format!("{} to {}", clock(*first_ms), clock(*last_ms)),
        };
        text += &format!("{count:>8}  {}   {times}\n", harmless(kind));
        if let Some(sample) = samples.first() {
            let came = sample.came.as_deref().unwrap_or("a timer");
            text += &format!("          for example, route {}: {came}\n", sample.route);
            for (side, decided) in sides.into_iter().zip([&sample.one, &sample.other]) {
                text += &format!("            {:<9} {decided}\n", format!("{side}:"));
            }
        }
    }
    text
}
