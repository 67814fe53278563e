//! A network that can be made bad while it is in use: a TCP proxy with controls.
//!
//! Two threads carry each connection, one for each direction; between any two reads and writes they look at the
//! controls, at least every [`TICK`].

mod carry;
#[cfg(test)]
mod tests;

use crate::free_port;
use carry::{accept, listen};
use socket2::SockRef;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a change of the controls may go unnoticed.
const TICK: Duration = Duration::from_millis(5);

/// The most that is carried at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Connecting to the server.
const CONNECT: Duration = Duration::from_secs(5);

/// Connections and the listener are gone this long after they were told to.
const CLOSING: Duration = Duration::from_secs(5);

/// Which way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the one who connected.
    ToServer,
    /// Back to it.
    ToClient,
}

impl Direction {
    const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    fn index(self) -> usize {
        self as usize
    }
}

/// A proxy in front of a port of the loopback address. All of it ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    network: Arc<Network>,
}

#[derive(Debug)]
struct Network {
    server: AtomicU64,
    controls: Mutex<Controls>,
    bytes: [AtomicU64; 2],
    accepted: AtomicU64,
    connections: Mutex<Vec<Arc<Connection>>>,
    listening: AtomicBool,
    stopped: AtomicBool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Controls {
    refuse: bool,
    directions: [Flow; 2],
}

/// How one direction is treated.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    latency: Duration,
    slice_bytes: Option<usize>,
    bytes_per_s: Option<u64>,
    black_hole: bool,
    frozen: bool,
    cut_after_bytes: Option<u64>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    // Set with the wish to be closed; the threads leave at the next tick.
    closing: AtomicBool,
    // Something was swallowed: what comes later would make no sense.
    damaged: AtomicBool,
}

impl FaultProxy {
    /// In front of this port; carries everything faithfully until told otherwise.
    #[track_caller]
    pub fn start(server_port: u16) -> Self {
        let port = free_port();
        let listener = listen(port).expect("a listener for the proxy");
        let network = Arc::new(Network {
            server: AtomicU64::new(server_port.into()),
            controls: Mutex::default(),
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            accepted: AtomicU64::new(0),
            connections: Mutex::default(),
            listening: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&network);
        std::thread::spawn(move || accept(&accepting, port, listener));
        Self { port, network }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, as `mqtt://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// New connections go to this port from now on.
    pub fn set_server(&self, port: u16) {
        self.network.server.store(port.into(), Ordering::SeqCst);
    }

    /// Everything that is carried is held this long first, in both directions.
    pub fn latency(&self, latency: Duration) {
        self.both(|flow| flow.latency = latency);
    }

    /// Written in pieces of this many bytes, each a segment of its own; 0 writes as much as was read.
    pub fn slices(&self, bytes: usize) {
        self.both(|flow| flow.slice_bytes = (bytes > 0).then_some(bytes));
    }

    /// No more than this, in each direction; 0 is no limit.
    pub fn bandwidth(&self, bytes_per_s: u64) {
        self.both(|flow| flow.bytes_per_s = (bytes_per_s > 0).then_some(bytes_per_s));
    }

    /// Accepts everything and carries nothing, not even the end of a connection. Connections of which something was
    /// swallowed are reset when this is lifted.
    pub fn black_hole(&self, on: bool) {
        self.both(|flow| flow.black_hole = on);
        if !on {
            let damaged = |connection: &Connection| connection.damaged.load(Ordering::SeqCst);
            self.network.close(Ending::Reset, damaged);
        }
    }

    /// Stops carrying in one direction, without closing: a half-open connection whose sender fills its buffers.
    /// Goes on where it stopped when this is lifted.
    pub fn freeze(&self, direction: Direction, on: bool) {
        self.set(direction, |flow| flow.frozen = on);
    }

    /// After this many more bytes in this direction, counted over all connections, the connection that carried the
    /// last of them is reset; once.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.set(direction, |flow| flow.cut_after_bytes = Some(bytes));
    }

    /// True until the cut asked for has happened.
    pub fn cut_is_pending(&self) -> bool {
        self.network.controls().directions.iter().any(|flow| flow.cut_after_bytes.is_some())
    }

    /// Resets (RST) every connection, and returns when they are gone.
    pub fn reset(&self) {
        self.network.close(Ending::Reset, |_| true);
    }

    /// Closes (FIN) every connection, and returns when they are gone.
    pub fn close(&self) {
        self.network.close(Ending::Close, |_| true);
    }

    /// Whether the port is closed, so that connecting is refused. Connections that exist stay.
    pub fn refuse(&self, on: bool) {
        self.network.controls().refuse = on;
        crate::eventually("the proxy's listener follows", CLOSING, || {
            self.network.listening.load(Ordering::SeqCst) != on
        });
    }

    /// Back to carrying everything faithfully.
    pub fn heal(&self) {
        self.refuse(false);
        self.black_hole(false);
        self.both(|flow| *flow = Flow::default());
    }

    /// Bytes carried in this direction so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.network.bytes[direction.index()].load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.network.accepted.load(Ordering::SeqCst)
    }

    /// Connections that exist.
    pub fn open(&self) -> usize {
        self.network.connections().len()
    }

    fn both(&self, change: impl Fn(&mut Flow)) {
        for direction in Direction::BOTH {
            self.set(direction, &change);
        }
    }

    fn set(&self, direction: Direction, change: impl FnOnce(&mut Flow)) {
        change(&mut self.network.controls().directions[direction.index()]);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.network.stopped.store(true, Ordering::SeqCst);
        self.network.close(Ending::Reset, |_| true);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Close,
    Reset,
}

impl Network {
    fn controls(&self) -> MutexGuard<'_, Controls> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flow(&self, direction: Direction) -> Flow {
        self.controls().directions[direction.index()]
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// The sockets close when both threads of a connection have let go of it.
    fn close(&self, ending: Ending, which: impl Fn(&Connection) -> bool) {
        let chosen: Vec<_> = self.connections().iter().filter(|connection| which(connection)).cloned().collect();
        let ids: Vec<_> = chosen.iter().map(Arc::downgrade).collect();
        for connection in chosen {
            connection.end(ending);
        }
        crate::within(CLOSING, || ids.iter().all(|id| id.strong_count() == 0));
    }
}

impl Connection {
    fn end(&self, ending: Ending) {
        if ending == Ending::Reset {
            for socket in [&self.client, &self.server] {
                // With a linger of zero, close sends RST.
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
        }
        self.closing.store(true, Ordering::SeqCst);
    }
}
