//! A collector of traces as whoever sends to it needs it: where it is, what it is told of, and what became of that.

use crate::running::Gateway;
use crate::settings;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tidegate_config::Traces;
use tidegate_link::{Address, TlsSettings};
use tokio::sync::watch;

/// Where traces go, with all that a connection needs.
#[derive(Debug)]
pub struct Collector {
    /// Where it listens.
    pub address: Address,
    /// With TLS.
    pub tls: Option<TlsSettings>,
    /// What a request says beside the usual. Values may be secrets.
    pub headers: Vec<(String, String)>,
}

impl Collector {
    /// Reads the secrets and certificates that a configuration names. Does I/O.
    ///
    /// # Errors
    /// What is wrong with them, on one line.
    pub fn read(traces: &Traces) -> Result<Self, String> {
        let url = &traces.endpoint;
        let wrong = |wrong: Vec<settings::Wrong>| settings::in_words(&wrong);
        let headers = settings::headers(&traces.headers).map_err(wrong)?;
        let tls = url.is_tls.then(|| settings::tls(traces.tls.as_ref(), &url.host)).transpose().map_err(wrong)?;
        let address = Address::Tcp { host: url.host.clone(), port: url.port };
        Ok(Self { address, tls, headers })
    }
}

/// What became of messages that were to be told of.
#[derive(Debug, Default)]
pub struct Exported {
    taken: AtomicU64,
    lost: AtomicU64,
}

impl Exported {
    /// A collector has taken so many.
    pub fn taken(&self, messages: u64) {
        self.taken.fetch_add(messages, Relaxed);
    }

    /// And none has taken so many.
    pub fn lost(&self, messages: u64) {
        self.lost.fetch_add(messages, Relaxed);
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.taken.load(Relaxed), self.lost.load(Relaxed))
    }
}

/// Whom traces go to now, and from the next reload on; and what is counted of them.
pub(crate) struct Traced {
    wanted: watch::Sender<Option<Traces>>,
    exported: Arc<Exported>,
}

impl Traced {
    pub(crate) fn new() -> Self {
        Self { wanted: watch::Sender::new(None), exported: Arc::default() }
    }

    /// A configuration says so.
    pub(crate) fn want(&self, traces: Option<&Traces>) {
        self.wanted.send_if_modified(|now| {
            let differs = now.as_ref() != traces;
            if differs {
                *now = traces.cloned();
            }
            differs
        });
    }

    /// How many messages a collector was told of, and how many not; `None` while nobody is to be told.
    pub(crate) fn counts(&self) -> Option<(u64, u64)> {
        self.wanted.borrow().as_ref().map(|_| self.exported.counts())
    }
}

impl Gateway {
    /// Whom traces are to go to, as reloads change it, and where it is counted.
    pub fn traces(&self) -> (watch::Receiver<Option<Traces>>, Arc<Exported>) {
        let traced = self.traced();
        (traced.wanted.subscribe(), traced.exported.clone())
    }
}
