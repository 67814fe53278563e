//! Some of the last messages with what was decided on each, in memory, to be decided again by a configuration that is to come.

use crate::console::{Busy, Console};
use crate::running::Gateway;
use crate::tapping::Recorded;
use std::collections::VecDeque;
use std::sync::Arc;
use tidegate_decisions::{Entry, Payloads};
use tidegate_message::TopicFilter;
use tidegate_router::{Only, Wanted};
use tokio::sync::mpsc;

/// At most so many a second are kept.
const RATE: u32 = 200;

/// And so many bytes of topics and payloads.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// So many wait to be kept.
const WAITING_MAX: usize = 256;

/// The last messages, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    kept: VecDeque<(Arc<Recorded>, usize)>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, recorded: Arc<Recorded>, max: usize) {
        let weight = match &*recorded {
            Recorded::Way(way) => way.whole.as_ref().map_or(0, |whole| {
                let out = whole.out.iter().map(|(message, _)| message.weight_bytes());
                whole.came.weight_bytes() + out.sum::<usize>()
            }),
            Recorded::Tick(ticked) => ticked.made.iter().map(|(message, _)| message.weight_bytes()).sum(),
        };
        self.bytes += weight;
        self.kept.push_back((recorded, weight));
        while self.kept.len() > max || self.bytes > BYTES_MAX {
            let Some((_, weight)) = self.kept.pop_front() else { break };
            self.bytes -= weight;
        }
    }
}

impl Gateway {
    /// Keeps the last messages, if that is wanted; never returns then.
    pub(crate) async fn keep_recent(self) {
        let max = self.config().gateway.recent_messages;
        let Ok(filter) = TopicFilter::new("#") else { return };
        if max == 0 {
            return;
        }
        let wanted =
            Wanted { filter, broker: None, route: None, contains: None, only: Only::All, rate: RATE, whole: true };
        let (to, mut seen) = mpsc::channel(WAITING_MAX);
        // What finds no room is not kept: these are some of many anyway.
        if self.record(wanted, to, Arc::default()).is_none() {
            return;
        }
        while let Some(recorded) = seen.recv().await {
            self.recent().borrow_mut().push(recorded, max);
        }
    }

    /// All that is kept, the oldest first.
    fn recent_entries(&self) -> Vec<Arc<Recorded>> {
        self.recent().borrow().kept.iter().map(|(recorded, _)| recorded.clone()).collect()
    }
}

impl Console {
    /// The last messages as a recording; none unless the configuration wants them to be kept.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn recent(&self) -> Result<Vec<Entry>, Busy> {
        let (begin, recorded) = self.ask(|gateway| (gateway.begin(None), gateway.recent_entries())).await?;
        let mut entries = vec![Entry::Begin(begin)];
        recorded.iter().for_each(|recorded| recorded.entries(Payloads::Whole, &mut entries));
        Ok(entries)
    }
}
