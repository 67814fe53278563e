//! Samples of a metric, with their labels.

use std::fmt::Write;
use std::time::SystemTime;

/// Collects the samples of one family.
#[derive(Default)]
pub(super) struct Samples(pub(super) Vec<(String, f64)>);

impl Samples {
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut text = String::new();
        for (n, (name, value)) in labels.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{comma}{name}=\"{escaped}\"");
        }
        self.0.push((text, value));
    }

    /// In Unix time; nothing for what has never been.
    pub(super) fn add_time(&mut self, time: Option<SystemTime>) {
        if let Some(since) = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            self.add(&[], since.as_secs_f64());
        }
    }
}
