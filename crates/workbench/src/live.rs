//! A component that decides messages as they come, with the configuration, grants and limits of a file of samples.

use crate::samples::Samples;
use crate::trial::{started, told};
use std::path::Path;
use tidegate_message::Message;
use tidegate_plugin::{Component, Host, Input, Instance, run_here};

/// One instance, and what it has decided.
#[derive(Debug)]
pub struct Live {
    instance: Instance,
    source: String,
    decided: u64,
}

impl Live {
    /// Starts a component as a file of samples says.
    ///
    /// # Errors
    /// The file is no file of samples, or the plugin does not start, in words.
    pub fn start(host: &Host, component: &Component, path: &Path) -> Result<Self, String> {
        let samples = Samples::load(path)?;
        let instance = started(host, component, &samples).map_err(|words| format!("{}: {words}", path.display()))?;
        Ok(Self { instance, source: samples.source, decided: 0 })
    }

    /// What it decides of a message that came at this time, and what it says meanwhile, as lines.
    pub fn decide(&mut self, message: &Message, received_ms: u64) -> Vec<String> {
        self.decided += 1;
        let input = Input { id: self.decided, message, received_ms, redelivered: false };
        let mut outcomes = Vec::with_capacity(1);
        run_here(self.instance.handle(&self.source, &[input], &mut outcomes));
        let plugin = self.instance.plugin();
        let mut lines: Vec<String> = plugin.take_lines().iter().map(|line| format!("it said: {line}")).collect();
        if let Some(outcome) = outcomes.pop() {
            lines.extend(told(outcome, message, &plugin.spec().grants.targets, |_| false).1);
        }
        lines
    }
}
