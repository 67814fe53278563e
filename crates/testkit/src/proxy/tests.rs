//! Each of the controls, on real sockets.

use super::carry::is_tick;
use super::*;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
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
