//! Whatever is sent to the admin listener, it answers or hangs up, and the gateway goes on. The fuzz target `admin_api` does the same
//! for hours; this is its minute.

use super::{CONTROL, House};
use crate::fixture::PATIENCE;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// What requests begin as.
const SEEDS: [&str; 8] = [
    "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/v1/tap?filter=dev/%2B/temp&rate=7&only=dropped&payloads HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 49\r\n\r\n{\"broker\":\"home\",\"topic\":\"dev/1/temp\",\"qos\":1}   ",
    "POST /api/v1/parked/1/replay?to=office HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame\r\n\r\n",
    "PUT /api/v1/configuration HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame\r\nIf-Match: \"x\"\r\nContent-Length: 9\r\n\r\n[gateway]",
    "POST /spool/cloud/move?to=office HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sesame\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: [::1]:1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\nGET /api/v1/brokers/home HTTP/1.1\r\nHost: localhost\r\n\r\n",
];

const REQUESTS: usize = 2_000;

/// A generator that needs no crate (Marsaglia, Xorshift RNGs, 2003).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// A request with some of it changed, doubled, cut out or cut off.
fn bent(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = SEEDS[dice.roll(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(bytes.len().max(1)).min(bytes.len());
        match dice.roll(6) {
            0 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
            1 => bytes.insert(at, b"\r\n\0%/?&=:\xff"[dice.roll(10)]),
            2 => drop(bytes.drain(at..(at + 1 + dice.roll(20)).min(bytes.len()))),
            3 => {
                let part = bytes[at..(at + dice.roll(30)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            4 => bytes.truncate(at.max(1)),
            _ => bytes.splice(at..at, std::iter::repeat_n(b'9', dice.roll(40))).for_each(drop),
        }
    }
    bytes
}

#[test]
fn no_request_hangs_it_or_ends_it() {
    let house = House::start(CONTROL);
    let seed = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(88_172_645_463_325_252);
    let mut dice = Dice(seed);
    for number in 0..REQUESTS {
        let bytes = bent(&mut dice);
        let mut stream = TcpStream::connect(&house.admin).expect("the listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let began = Instant::now();
        // Who has said all that he will say is answered, or left: but what goes on for ever is left by us.
        if stream.write_all(&bytes).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
            stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a deadline");
            let _ = stream.take(1 << 16).read_to_end(&mut Vec::new());
        }
        assert!(began.elapsed() < PATIENCE, "request {number} of seed {seed}: {}", bytes.escape_ascii());
    }
    assert_eq!(house.ask("GET", "/health", &[], "").0, 200);
    let log = house.tidegate.log();
    assert!(!log.contains("panicked") && !log.contains("this is a bug"), "{log}");
    assert_eq!(house.get("status")["routes"].as_array().map(Vec::len), Some(2));
}
