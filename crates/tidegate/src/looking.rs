//! Who looks at what goes on is told, on a terminal, when that has begun, and what may be the matter if nothing comes.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// So long nothing comes before it is said.
const NOTHING_FOR: Duration = Duration::from_secs(10);

/// One who looks.
pub(crate) struct Looking {
    /// What he looks at.
    what: String,
    waits: Option<Sender<()>>,
}

impl Looking {
    /// At messages on topics of `filter`, perhaps only some of those.
    pub(crate) fn at(filter: &str, only: bool) -> Self {
        let some = if only { " that fits" } else { "" };
        Self { what: format!("what comes on {filter}{some}"), waits: None }
    }

    /// Nothing is missed from here on.
    pub(crate) fn begins(&mut self) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        eprintln!("looking for {}; Ctrl-C ends it", self.what);
        let (waits, ended) = channel();
        self.waits = Some(waits);
        let what = self.what.clone();
        std::thread::spawn(move || {
            // Once something has come, the other end is gone.
            if ended.recv_timeout(NOTHING_FOR) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "nothing yet of {what}: the gateway sees what its routes are subscribed to. `tidegate status` shows what they \
                     receive, `tidegate explain` which route takes a topic, and `tidegate sub` at the source what is published there"
                );
            }
        });
    }

    /// Something has come.
    pub(crate) fn sees(&mut self) {
        self.waits = None;
    }
}
