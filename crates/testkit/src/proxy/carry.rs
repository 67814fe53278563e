//! What the threads of the proxy do: accept, connect, and carry one direction of a connection each.

use super::{CHUNK_BYTES, CONNECT, Connection, Direction, Ending, Network, TICK};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

pub(super) fn accept(network: &Arc<Network>, port: u16, listener: TcpListener) {
    let mut listener = Some(listener);
    while !network.stopped() {
        let refuse = network.controls().refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            // Somebody's old connection may hold the port for a moment.
            listener = listen(port).ok();
        }
        network.listening.store(listener.is_some(), Ordering::SeqCst);
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((client, _))) => {
                network.accepted.fetch_add(1, Ordering::SeqCst);
                // A server that is down ends the connection, as a dead host behind a forwarder does.
                let _ = connect(network, client);
            }
            _ => std::thread::sleep(TICK),
        }
    }
}

fn connect(network: &Arc<Network>, client: TcpStream) -> io::Result<()> {
    let port = network.server.load(Ordering::SeqCst) as u16;
    let server = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), CONNECT)?;
    for socket in [&client, &server] {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
    }
    let connection =
        Arc::new(Connection { client, server, closing: AtomicBool::new(false), damaged: AtomicBool::new(false) });
    network.connections().push(Arc::clone(&connection));
    let pumps = Direction::BOTH.map(|direction| {
        let (network, connection) = (Arc::clone(network), Arc::clone(&connection));
        std::thread::spawn(move || {
            if carry(&network, &connection, direction).is_err() {
                connection.end(Ending::Reset);
            }
        })
    });
    let network = Arc::clone(network);
    std::thread::spawn(move || {
        for pump in pumps {
            let _ = pump.join();
        }
        network.connections().retain(|other| !Arc::ptr_eq(other, &connection));
    });
    Ok(())
}

/// Carries one direction until its end; an error resets the connection.
fn carry(network: &Network, connection: &Connection, direction: Direction) -> io::Result<()> {
    let (mut from, mut to) = match direction {
        Direction::ToServer => (&connection.client, &connection.server),
        Direction::ToClient => (&connection.server, &connection.client),
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut ended = false;
    while !connection.closing.load(Ordering::SeqCst) {
        let flow = network.flow(direction);
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
        while network.flow(direction).frozen && !connection.closing.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
        }
        let flow = network.flow(direction);
        if flow.black_hole {
            connection.damaged.store(true, Ordering::SeqCst);
            continue;
        }
        std::thread::sleep(flow.latency);
        let whole = write(network, connection, &mut to, &chunk[..read], direction)?;
        if !whole {
            return Err(ErrorKind::ConnectionReset.into());
        }
    }
    Ok(())
}

/// False if the connection is to be cut after what was written.
fn write(
    network: &Network,
    connection: &Connection,
    to: &mut &TcpStream,
    mut bytes: &[u8],
    direction: Direction,
) -> io::Result<bool> {
    while !bytes.is_empty() && !connection.closing.load(Ordering::SeqCst) {
        let flow = network.flow(direction);
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
        network.bytes[direction.index()].fetch_add(written as u64, Ordering::SeqCst);
        if let Some(left) = &mut network.controls().directions[direction.index()].cut_after_bytes {
            *left = left.saturating_sub(written as u64);
        }
        if network.take_cut(direction) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Network {
    /// True once, when nothing is left before the cut.
    fn take_cut(&self, direction: Direction) -> bool {
        self.controls().directions[direction.index()].cut_after_bytes.take_if(|left| *left == 0).is_some()
    }
}

pub(super) fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
