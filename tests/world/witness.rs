//! A subscriber that remembers everything it has seen, with the mark that a plugin put on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate_testkit::{Client, ClientOptions, Id, Ledger, Version};

/// How long a turn waits for something to come.
const TURN: Duration = Duration::from_millis(5);

/// One message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// From the payload; none if it holds none.
    pub(crate) id: Option<Id>,
    pub(crate) topic: String,
    /// The payload in front of the mark.
    pub(crate) payload: String,
    /// What stands behind the JSON of the payload, as `versioned` writes it there: ` v1`.
    pub(crate) mark: String,
}

/// Subscribed from its start until it is dropped.
#[derive(Debug)]
pub(crate) struct Witness {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// At QoS 1. Writes the ids of what it sees into the ledger under its name.
    #[track_caller]
    pub(crate) fn start(port: u16, name: &str, filter: &str, ledger: &Ledger) -> Self {
        Self::start_at(port, name, (filter, 1), ledger)
    }

    /// At another QoS.
    #[track_caller]
    pub(crate) fn start_at(port: u16, name: &str, filter: (&str, u8), ledger: &Ledger) -> Self {
        let options = ClientOptions::new(Version::V5, &format!("witness-{name}"));
        let mut client = Client::connect(port, &options).expect("the witness connects");
        client.subscribe(&[filter]).expect("the witness subscribes");
        let (arrivals, stop) = (Arc::<Mutex<Vec<Arrival>>>::default(), Arc::<AtomicBool>::default());
        let (theirs, stopped, name, ledger) = (arrivals.clone(), stop.clone(), name.to_owned(), ledger.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                if let Some(received) = client.receive(TURN).expect("the witness keeps its connection") {
                    let end = received.payload.iter().rposition(|byte| *byte == b'}').map_or(0, |at| at + 1);
                    let (payload, mark) = received.payload.split_at(end);
                    ledger.received_payload(&name, payload);
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    let (id, payload, mark) = (Id::decode(payload), text(payload), text(mark));
                    lock(&theirs).push(Arrival { id, topic: received.topic, payload, mark });
                }
            }
        });
        Self { arrivals, stop, thread: Some(thread) }
    }

    /// How many it has seen.
    pub(crate) fn count(&self) -> usize {
        lock(&self.arrivals).len()
    }

    /// The mark of the latest; empty before the first.
    pub(crate) fn last_mark(&self) -> String {
        lock(&self.arrivals).last().map_or_else(String::new, |arrival| arrival.mark.clone())
    }

    /// Everything so far, in the order it came.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.arrivals).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the witness lost its connection");
        }
    }
}

fn lock(arrivals: &Mutex<Vec<Arrival>>) -> MutexGuard<'_, Vec<Arrival>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}
