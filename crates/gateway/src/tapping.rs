//! Those who look at messages on their way: what the router shows is handed to each, and never waited for.

use crate::console::{Busy, Console};
use crate::data_path::DataPath;
use crate::running::Gateway;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tidegate_router::{Wanted, Way};
use tokio::sync::mpsc;

/// So many messages wait for whoever looks.
const WAITING_MAX: usize = 256;

/// One who looks.
#[derive(Debug)]
pub(crate) struct Looker {
    bit: u32,
    to: mpsc::Sender<Arc<Way>>,
    missed: Arc<AtomicU64>,
}

/// What one who looks sees; dropped, he looks no more.
#[derive(Debug)]
pub struct Tapping {
    bit: u32,
    console: Console,
    /// What is seen.
    pub ways: mpsc::Receiver<Arc<Way>>,
    missed: Arc<AtomicU64>,
}

impl Tapping {
    /// How many messages came while he had not read what he was to see.
    pub fn missed(&self) -> u64 {
        self.missed.swap(0, Relaxed)
    }
}

impl Drop for Tapping {
    fn drop(&mut self) {
        let bit = self.bit;
        self.console.tell(move |gateway| gateway.untap(bit));
    }
}

impl Gateway {
    fn look(&self, wanted: Wanted, to: mpsc::Sender<Arc<Way>>, missed: Arc<AtomicU64>) -> Option<u32> {
        let mut path = self.path().borrow_mut();
        let bit = path.router.tap(wanted)?;
        path.lookers.push(Looker { bit, to, missed });
        Some(bit)
    }

    fn untap(&self, bit: u32) {
        let mut path = self.path().borrow_mut();
        path.lookers.retain(|looker| looker.bit != bit);
        path.router.untap(bit);
    }
}

impl Console {
    /// Looks at messages from here on; `None` if too many others do.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn tap(&self, wanted: Wanted) -> Result<Option<Tapping>, Busy> {
        let (to, ways) = mpsc::channel(WAITING_MAX);
        let missed = Arc::<AtomicU64>::default();
        let counted = missed.clone();
        let bit = self.ask(move |gateway| gateway.look(wanted, to, counted)).await?;
        Ok(bit.map(|bit| Tapping { bit, console: self.clone(), ways, missed }))
    }
}

impl DataPath {
    /// Hands what the router has shown to those who look.
    #[cold]
    pub(crate) fn show(&mut self) {
        for way in self.router.take_ways() {
            let way = Arc::new(way);
            for looker in self.lookers.iter().filter(|looker| looker.bit & way.taps != 0) {
                if looker.to.try_send(way.clone()).is_err() {
                    looker.missed.fetch_add(1, Relaxed);
                }
            }
        }
    }
}
