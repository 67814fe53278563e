//! Those who look at messages on their way, or follow them to their end: what the router shows is handed to each, and never
//! waited for.

use crate::console::{Busy, Console};
use crate::data_path::DataPath;
use crate::running::Gateway;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tidegate_router::{Journey, SAMPLES, Sampling, Ticked, Wanted, Way};
use tokio::sync::mpsc;

/// So many messages wait for whoever looks.
const WAITING_MAX: usize = 256;

/// What is under way for long is shown as far as it has come, this much late at most.
const SHOWN_WITHIN: Duration = Duration::from_millis(250);

/// One who looks.
#[derive(Debug)]
pub(crate) struct Looker<T> {
    bit: u32,
    to: mpsc::Sender<Arc<T>>,
    missed: Arc<AtomicU64>,
}

impl<T> Looker<T> {
    fn show(&self, seen: &Arc<T>) {
        if self.to.try_send(seen.clone()).is_err() {
            self.missed.fetch_add(1, Relaxed);
        }
    }
}

/// What one who looks sees; dropped, he looks no more.
#[derive(Debug)]
pub struct Looking<T> {
    bit: u32,
    console: Console,
    end: fn(&Gateway, u32),
    /// What is seen.
    pub seen: mpsc::Receiver<Arc<T>>,
    missed: Arc<AtomicU64>,
}

/// What is recorded: a message and what became of it in its route, or what a timer said.
#[derive(Debug)]
pub(crate) enum Recorded {
    /// A message.
    Way(Arc<Way>),
    /// A timer.
    Tick(Ticked),
}

/// What became of messages in their routes.
pub type Tapping = Looking<Way>;

/// The ways of messages from their receipt to their end.
pub type Tracing = Looking<Journey>;

impl<T> Looking<T> {
    /// How many messages came while he had not read what he was to see.
    pub fn missed(&self) -> u64 {
        self.missed.swap(0, Relaxed)
    }
}

impl<T> Drop for Looking<T> {
    fn drop(&mut self) {
        let (bit, end) = (self.bit, self.end);
        self.console.tell(move |gateway| end(gateway, bit));
    }
}

impl Gateway {
    fn look(&self, wanted: Wanted, to: mpsc::Sender<Arc<Way>>, missed: Arc<AtomicU64>) -> Option<u32> {
        let mut path = self.path().borrow_mut();
        let bit = path.router.tap(wanted)?;
        path.lookers.push(Looker { bit, to, missed });
        Some(bit)
    }

    pub(crate) fn record(
        &self,
        wanted: Wanted,
        to: mpsc::Sender<Arc<Recorded>>,
        missed: Arc<AtomicU64>,
    ) -> Option<u32> {
        let mut path = self.path().borrow_mut();
        let bit = path.router.tap(wanted)?;
        tokio::task::spawn_local(show_ticks(self.clone(), to.clone()));
        path.recorders.push(Looker { bit, to, missed });
        Some(bit)
    }

    pub(crate) fn record_no_more(&self, bit: u32) {
        let mut path = self.path().borrow_mut();
        path.recorders.retain(|looker| looker.bit != bit);
        path.router.untap(bit);
    }

    fn look_no_more(&self, bit: u32) {
        let mut path = self.path().borrow_mut();
        path.lookers.retain(|looker| looker.bit != bit);
        path.router.untap(bit);
    }

    fn follow(&self, wanted: Wanted, to: mpsc::Sender<Arc<Journey>>, missed: Arc<AtomicU64>) -> Option<u32> {
        let mut path = self.path().borrow_mut();
        let bit = path.router.follow_messages(wanted)?;
        tokio::task::spawn_local(show_in_time(self.clone(), to.clone()));
        path.followers.push(Looker { bit, to, missed });
        Some(bit)
    }

    fn sample(&self, wanted: Sampling, to: mpsc::Sender<Arc<Journey>>, missed: Arc<AtomicU64>) -> u32 {
        let mut path = self.path().borrow_mut();
        path.router.sample_messages(Some(wanted));
        tokio::task::spawn_local(show_in_time(self.clone(), to.clone()));
        path.followers.push(Looker { bit: SAMPLES, to, missed });
        SAMPLES
    }

    fn sample_no_more(&self, bit: u32) {
        let mut path = self.path().borrow_mut();
        path.followers.retain(|looker| looker.bit != bit);
        path.router.sample_messages(None);
    }

    fn follow_no_more(&self, bit: u32) {
        let mut path = self.path().borrow_mut();
        path.followers.retain(|looker| looker.bit != bit);
        path.router.unfollow_messages(bit);
    }
}

/// Shows what is under way for long, though nothing happens to it, until he who follows is gone.
async fn show_in_time(gateway: Gateway, to: mpsc::Sender<Arc<Journey>>) {
    while tokio::time::timeout(SHOWN_WITHIN, to.closed()).await.is_err() {
        gateway.path().borrow_mut().show_journeys();
    }
}

/// Shows what timers say, though no message comes, until he who records is gone.
async fn show_ticks(gateway: Gateway, to: mpsc::Sender<Arc<Recorded>>) {
    while tokio::time::timeout(SHOWN_WITHIN, to.closed()).await.is_err() {
        gateway.path().borrow_mut().show();
    }
}

impl Console {
    /// Looks at messages from here on; `None` if too many others do.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn tap(&self, wanted: Wanted) -> Result<Option<Tapping>, Busy> {
        let begin = move |gateway: &Gateway, to, missed| gateway.look(wanted, to, missed);
        self.look(WAITING_MAX, Gateway::look_no_more, begin).await
    }

    /// Follows messages from here on, from their receipt to their end; `None` if too many others do.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn trace(&self, wanted: Wanted) -> Result<Option<Tracing>, Busy> {
        let begin = move |gateway: &Gateway, to, missed| gateway.follow(wanted, to, missed);
        self.look(WAITING_MAX, Gateway::follow_no_more, begin).await
    }

    /// Follows messages from here on for whoever collects traces, of which there is one at a time.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn sample(&self, wanted: Sampling) -> Result<Option<Tracing>, Busy> {
        let begin = move |gateway: &Gateway, to, missed| Some(gateway.sample(wanted, to, missed));
        self.look(WAITING_MAX, Gateway::sample_no_more, begin).await
    }

    /// Has somebody look, until what he is given is dropped; so many wait for him.
    pub(crate) async fn look<T: Send + Sync + 'static>(
        &self,
        waiting: usize,
        end: fn(&Gateway, u32),
        begin: impl FnOnce(&Gateway, mpsc::Sender<Arc<T>>, Arc<AtomicU64>) -> Option<u32> + Send + 'static,
    ) -> Result<Option<Looking<T>>, Busy> {
        let (to, seen) = mpsc::channel(waiting);
        let missed = Arc::<AtomicU64>::default();
        let counted = missed.clone();
        let bit = self.ask(move |gateway| begin(gateway, to, counted)).await?;
        Ok(bit.map(|bit| Looking { bit, console: self.clone(), end, seen, missed }))
    }
}

impl DataPath {
    /// Hands what the router has shown to those who look.
    #[cold]
    pub(crate) fn show(&mut self) {
        for way in self.router.take_ways() {
            let way = Arc::new(way);
            let theirs = self.lookers.iter().filter(|looker| looker.bit & way.taps != 0);
            theirs.for_each(|looker| looker.show(&way));
            let recorders = self.recorders.iter().filter(|looker| looker.bit & way.taps != 0);
            recorders.for_each(|looker| looker.show(&Arc::new(Recorded::Way(way.clone()))));
        }
        for ticked in self.router.take_ticks() {
            let ticked = Arc::new(Recorded::Tick(ticked));
            self.recorders.iter().for_each(|looker| looker.show(&ticked));
        }
    }

    /// The same to those who follow messages.
    #[cold]
    pub(crate) fn show_journeys(&mut self) {
        for journey in self.router.take_journeys(Instant::now()) {
            let journey = Arc::new(journey);
            let theirs = self.followers.iter().filter(|looker| looker.bit & journey.followers != 0);
            theirs.for_each(|looker| looker.show(&journey));
        }
        let missed = self.router.take_missed_journeys();
        if missed > 0 {
            self.followers.iter().for_each(|looker| _ = looker.missed.fetch_add(missed, Relaxed));
        }
    }
}
