//! A network that can be made bad while it is in use: a TCP proxy with controls.
//!
//! Two threads carry each connection, one for each direction; between any two reads and writes they look at the
//! controls, at least every [`TICK`].

use crate::free_port;
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
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
        let shared = Arc::new(Shared {
            server: AtomicU64::new(server_port.into()),
            controls: Mutex::default(),
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            accepted: AtomicU64::new(0),
            connections: Mutex::default(),
            listening: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&accepting, port, listener));
        Self { port, shared }
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
        self.shared.server.store(port.into(), Ordering::SeqCst);
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
            self.shared.close(Ending::Reset, damaged);
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
        self.shared.controls().directions.iter().any(|flow| flow.cut_after_bytes.is_some())
    }

    /// Resets (RST) every connection, and returns when they are gone.
    pub fn reset(&self) {
        self.shared.close(Ending::Reset, |_| true);
    }

    /// Closes (FIN) every connection, and returns when they are gone.
    pub fn close(&self) {
        self.shared.close(Ending::Close, |_| true);
    }

    /// Whether the port is closed, so that connecting is refused. Connections that exist stay.
    pub fn refuse(&self, on: bool) {
        self.shared.controls().refuse = on;
        crate::eventually("the proxy's listener follows", CLOSING, || {
            self.shared.listening.load(Ordering::SeqCst) != on
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
        self.shared.bytes[direction.index()].load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections that exist.
    pub fn open(&self) -> usize {
        self.shared.connections().len()
    }

    fn both(&self, change: impl Fn(&mut Flow)) {
        for direction in Direction::BOTH {
            self.set(direction, &change);
        }
    }

    fn set(&self, direction: Direction, change: impl FnOnce(&mut Flow)) {
        change(&mut self.shared.controls().directions[direction.index()]);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.close(Ending::Reset, |_| true);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Close,
    Reset,
}

impl Shared {
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

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept(shared: &Arc<Shared>, port: u16, listener: TcpListener) {
    let mut listener = Some(listener);
    while !shared.stopped() {
        let refuse = shared.controls().refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            // Somebody's old connection may hold the port for a moment.
            listener = listen(port).ok();
        }
        shared.listening.store(listener.is_some(), Ordering::SeqCst);
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((client, _))) => {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                // A server that is down ends the connection, as a dead host behind a forwarder does.
                let _ = connect(shared, client);
            }
            _ => std::thread::sleep(TICK),
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let port = shared.server.load(Ordering::SeqCst) as u16;
    let server = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), CONNECT)?;
    for socket in [&client, &server] {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
    }
    let connection =
        Arc::new(Connection { client, server, closing: AtomicBool::new(false), damaged: AtomicBool::new(false) });
    shared.connections().push(Arc::clone(&connection));
    let pumps = Direction::BOTH.map(|direction| {
        let (shared, connection) = (Arc::clone(shared), Arc::clone(&connection));
        std::thread::spawn(move || {
            if carry(&shared, &connection, direction).is_err() {
                connection.end(Ending::Reset);
            }
        })
    });
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for pump in pumps {
            let _ = pump.join();
        }
        shared.connections().retain(|other| !Arc::ptr_eq(other, &connection));
    });
    Ok(())
}

/// Carries one direction until its end; an error resets the connection.
fn carry(shared: &Shared, connection: &Connection, direction: Direction) -> io::Result<()> {
    let (mut from, mut to) = match direction {
        Direction::ToServer => (&connection.client, &connection.server),
        Direction::ToClient => (&connection.server, &connection.client),
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut ended = false;
    while !connection.closing.load(Ordering::SeqCst) {
        let flow = shared.flow(direction);
        if flow.frozen || (ended && flow.black_hole) {
            std::thread::sleep(TICK);
            continue;
        }
        if ended {
            let _ = to.shutdown(Shutdown::Write);
            return Ok(());
        }
        let read = match from.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if is_tick(&error) => continue,
            // While nothing is carried, neither is a reset.
            Err(_) if flow.black_hole => 0,
            Err(error) => return Err(error),
        };
        ended = read == 0;
        // Frozen while we waited: what was read is held back with the rest.
        while shared.flow(direction).frozen && !connection.closing.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
        }
        let flow = shared.flow(direction);
        if flow.black_hole {
            connection.damaged.store(true, Ordering::SeqCst);
            continue;
        }
        std::thread::sleep(flow.latency);
        let whole = write(shared, connection, &mut to, &chunk[..read], direction)?;
        if !whole {
            return Err(ErrorKind::ConnectionReset.into());
        }
    }
    Ok(())
}

/// False if the connection is to be cut after what was written.
fn write(
    shared: &Shared,
    connection: &Connection,
    to: &mut &TcpStream,
    mut bytes: &[u8],
    direction: Direction,
) -> io::Result<bool> {
    while !bytes.is_empty() && !connection.closing.load(Ordering::SeqCst) {
        let flow = shared.flow(direction);
        let mut piece = bytes.len().min(flow.slice_bytes.unwrap_or(usize::MAX));
        if let Some(bytes_per_s) = flow.bytes_per_s {
            let tick_bytes = (bytes_per_s as f64 * TICK.as_secs_f64()).ceil() as usize;
            piece = piece.min(tick_bytes);
            std::thread::sleep(Duration::from_secs_f64(piece as f64 / bytes_per_s as f64));
        }
        if let Some(left) = flow.cut_after_bytes {
            piece = piece.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let written = match piece {
            0 => 0,
            _ => match to.write(&bytes[..piece]) {
                Ok(written) => written,
                Err(error) if is_tick(&error) => continue,
                Err(error) => return Err(error),
            },
        };
        bytes = &bytes[written..];
        shared.bytes[direction.index()].fetch_add(written as u64, Ordering::SeqCst);
        if let Some(left) = &mut shared.controls().directions[direction.index()].cut_after_bytes {
            *left = left.saturating_sub(written as u64);
        }
        if shared.take_cut(direction) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Shared {
    /// True once, when nothing is left before the cut.
    fn take_cut(&self, direction: Direction) -> bool {
        self.controls().directions[direction.index()].cut_after_bytes.take_if(|left| *left == 0).is_some()
    }
}

fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const SOON: Duration = Duration::from_secs(5);
    const NOW: Duration = Duration::from_millis(150);

    /// A server that sends back what it gets, in front of it a proxy, and a connection through it.
    fn echo() -> (FaultProxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = FaultProxy::start(listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 65_536];
                    while let Ok(read @ 1..) = socket.read(&mut buffer) {
                        if socket.write_all(&buffer[..read]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let socket = dial(&proxy);
        (proxy, socket)
    }

    fn dial(proxy: &FaultProxy) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket
    }

    fn round(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        socket.write_all(bytes)?;
        let mut back = vec![0; bytes.len()];
        socket.read_exact(&mut back)?;
        assert_eq!(back, bytes);
        Ok(())
    }

    #[test]
    fn it_carries_faithfully_and_counts() {
        let (proxy, mut socket) = echo();
        let bytes: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let mut sending = socket.try_clone().unwrap();
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || {
            sending.write_all(&sent).unwrap();
            sending.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        socket.read_to_end(&mut back).unwrap();
        sender.join().unwrap();
        assert_eq!(back, bytes, "and a half-closed connection goes on the other way");
        assert_eq!((proxy.bytes(Direction::ToServer), proxy.bytes(Direction::ToClient)), (200_000, 200_000));
        assert_eq!(proxy.accepted(), 1);
        crate::eventually("the connection is gone", SOON, || proxy.open() == 0);
    }

    #[test]
    fn latency_bandwidth_and_slices() {
        let (proxy, mut socket) = echo();
        proxy.latency(Duration::from_millis(40));
        let begin = Instant::now();
        round(&mut socket, b"late").unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(80));

        proxy.heal();
        proxy.bandwidth(10_000);
        let begin = Instant::now();
        round(&mut socket, &[1; 1_000]).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(100));

        proxy.heal();
        proxy.slices(1);
        proxy.bandwidth(20); // so that a reader is faster than the pieces
        socket.write_all(b"abc").unwrap();
        let mut one = [0; 16];
        assert_eq!(socket.read(&mut one).unwrap(), 1, "one byte comes alone");
    }

    #[test]
    fn a_black_hole_swallows_and_even_hides_the_end() {
        let (proxy, mut socket) = echo();
        round(&mut socket, b"before").unwrap();
        proxy.black_hole(true);
        std::thread::sleep(4 * TICK);
        socket.set_read_timeout(Some(NOW)).unwrap();
        assert!(is_tick(&round(&mut socket, b"lost").unwrap_err()));
        socket.write_all(b"still accepted").unwrap();
        proxy.black_hole(false);
        socket.set_read_timeout(Some(SOON)).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        round(&mut dial(&proxy), b"new").unwrap();
    }

    #[test]
    fn a_frozen_direction_goes_on_where_it_stopped() {
        let (proxy, mut socket) = echo();
        proxy.freeze(Direction::ToClient, true);
        std::thread::sleep(4 * TICK);
        socket.set_read_timeout(Some(NOW)).unwrap();
        assert!(is_tick(&round(&mut socket, b"held").unwrap_err()));
        crate::eventually("the other direction flows", SOON, || proxy.bytes(Direction::ToServer) == 4);
        proxy.freeze(Direction::ToClient, false);
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut back = [0; 4];
        socket.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"held");
    }

    #[test]
    fn reset_is_a_reset_and_close_is_an_end() {
        let (proxy, mut socket) = echo();
        round(&mut socket, b"x").unwrap();
        proxy.reset();
        assert_eq!(proxy.open(), 0);
        assert_eq!(socket.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut socket = dial(&proxy);
        round(&mut socket, b"x").unwrap();
        proxy.close();
        assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_cut_comes_after_exactly_so_many_bytes_and_once() {
        let (proxy, mut socket) = echo();
        proxy.cut_after(Direction::ToClient, 5);
        socket.write_all(b"0123456789").unwrap();
        let mut back = Vec::new();
        // The kernel may throw away what was not read before the RST.
        let _ = socket.read_to_end(&mut back);
        assert!(back.len() <= 5, "{back:?}");
        assert_eq!(proxy.bytes(Direction::ToClient), 5);
        assert!(!proxy.cut_is_pending());
        round(&mut dial(&proxy), b"0123456789").unwrap();
    }

    #[test]
    fn refused_means_refused_until_it_is_not() {
        let (proxy, mut socket) = echo();
        round(&mut socket, b"x").unwrap();
        proxy.refuse(true);
        let refused = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        round(&mut socket, b"those that exist stay").unwrap();
        proxy.refuse(false);
        round(&mut dial(&proxy), b"x").unwrap();
    }

    #[test]
    fn another_server_takes_over_and_a_dead_one_ends_the_connection() {
        let (proxy, _socket) = echo();
        proxy.set_server(free_port());
        assert!(round(&mut dial(&proxy), b"x").is_err());
        let port = proxy.port();
        drop(proxy);
        crate::eventually("the port is free", SOON, || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
