//! Waiting for what must come, and ports that nobody has.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Between two looks.
const POLL: Duration = Duration::from_millis(5);

/// Ports are taken from here: below those the kernel gives to outgoing connections, so that none is taken in between.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Waits until `condition` holds; panics with `what` if it does not within `deadline`.
#[track_caller]
pub fn eventually(what: &str, deadline: Duration, condition: impl FnMut() -> bool) {
    assert!(within(deadline, condition), "not within {deadline:?}: {what}");
}

/// Waits until `condition` holds; false if it does not within `deadline`. It is looked at once more at the deadline.
pub fn within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        let now = Instant::now();
        if now >= end {
            return false;
        }
        std::thread::sleep(POLL.min(end - now));
    }
}

/// A TCP port of the loopback address on which nobody listens. No two calls of a process get the same one, and two
/// processes begin at different places.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let offset = (u64::from(std::process::id()) * 137 % u64::from(count)) as u16;
    for _ in 0..count {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + (offset + step) % count;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_the_condition_holds_or_at_the_deadline() {
        let mut looks = 0;
        assert!(within(Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        }));
        let begin = Instant::now();
        assert!(!within(Duration::from_millis(30), || false));
        assert!(begin.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    #[should_panic(expected = "the tide turns")]
    fn what_never_comes_is_named() {
        eventually("the tide turns", Duration::from_millis(10), || false);
    }

    #[test]
    fn no_port_is_given_twice_nor_while_it_is_taken() {
        let first = free_port();
        let _taken = TcpListener::bind(("127.0.0.1", first)).unwrap();
        let more: std::collections::HashSet<u16> = (0..200).map(|_| free_port()).collect();
        assert_eq!(more.len(), 200);
        assert!(!more.contains(&first));
    }
}
