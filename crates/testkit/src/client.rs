//! A small, fast MQTT client over a blocking socket: for load, and as an independent check of what the product says.
//!
//! Everything happens in [`Client::turn`]: what is waiting to be written goes out in one write, one read takes what has
//! come, and all of its packets are handled. The other calls queue something and take turns until it is done.

mod answers;
mod options;
#[cfg(test)]
mod tests;

use answers::connack;
pub use options::{ClientOptions, Version, Will};

use crate::packet::{self, Publish};
use std::collections::{HashSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Connecting, a write, and the answer to a request.
const DEADLINE: Duration = Duration::from_secs(10);

/// The most that is read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Publishes are gathered up to this before they are written without being asked for.
const WRITE_BYTES: usize = 64 * 1024;

/// Without a Receive Maximum the protocol allows as many as there are packet ids (MQTT 5, 3.2.2.3.3).
const RECEIVE_MAXIMUM: usize = 65_535;

/// A message from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// As sent by the broker.
    pub topic: String,
    /// As sent by the broker.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Retained, or the publisher's flag where it is kept.
    pub retain: bool,
    /// Perhaps sent before.
    pub dup: bool,
    /// 0 at QoS 0.
    pub packet_id: u16,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    options: ClientOptions,
    stream: TcpStream,
    read_timeout: Option<Duration>,
    rx: Vec<u8>,
    tx: Vec<u8>,
    last_write: Instant,
    session_present: bool,
    window: usize,
    next_id: u16,
    next_token: u64,
    outgoing: VecDeque<Unacknowledged>,
    completed: Vec<u64>,
    inbox: VecDeque<Received>,
    // QoS 2 ids between PUBLISH and PUBREL: known, not to be delivered again.
    unreleased: HashSet<u16>,
    // The last SUBACK or UNSUBACK: its id and codes.
    answer: Option<(u16, Vec<u8>)>,
}

#[derive(Debug)]
struct Unacknowledged {
    id: u16,
    token: u64,
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    released: bool,
}

impl Client {
    /// Connects to the loopback address, and waits for the CONNACK.
    pub fn connect(port: u16, options: &ClientOptions) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut client = Self {
            address,
            options: options.clone(),
            stream: dial(address)?,
            read_timeout: None,
            rx: Vec::new(),
            tx: Vec::new(),
            last_write: Instant::now(),
            session_present: false,
            window: options.window,
            next_id: 0,
            next_token: 0,
            outgoing: VecDeque::new(),
            completed: Vec::new(),
            inbox: VecDeque::new(),
            unreleased: HashSet::new(),
            answer: None,
        };
        client.handshake()?;
        Ok(client)
    }

    /// Connects again, keeping the session; what was not acknowledged is sent again, in order.
    pub fn reconnect(&mut self) -> io::Result<()> {
        self.stream = dial(self.address)?;
        self.read_timeout = None;
        self.rx.clear();
        self.tx.clear();
        self.options.clean = false;
        self.handshake()?;
        if !self.session_present {
            self.unreleased.clear();
        }
        let version = self.options.version;
        for outgoing in &mut self.outgoing {
            // The broker that forgot the session has also forgotten that it has the message.
            outgoing.released &= self.session_present;
            if outgoing.released {
                packet::acknowledge(&mut self.tx, packet::PUBREL, outgoing.id);
            } else {
                packet::publish(&mut self.tx, version, &outgoing.as_publish(self.session_present));
            }
        }
        self.flush()
    }

    /// Whether the broker still had our session.
    pub fn session_present(&self) -> bool {
        self.session_present
    }

    /// Subscribes, and waits for the answer: the granted QoS of each, or a code of 0x80 or more.
    pub fn subscribe(&mut self, filters: &[(&str, u8)]) -> io::Result<Vec<u8>> {
        let id = self.take_id();
        packet::subscribe(&mut self.tx, self.options.version, id, filters);
        self.await_answer(id)
    }

    /// Unsubscribes, and waits for the answer.
    pub fn unsubscribe(&mut self, filters: &[&str]) -> io::Result<()> {
        let id = self.take_id();
        packet::unsubscribe(&mut self.tx, self.options.version, id, filters);
        self.await_answer(id).map(drop)
    }

    /// Publishes, and waits until it is written (QoS 0) or acknowledged.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) -> io::Result<()> {
        let token = self.send(topic, payload, qos, retain)?;
        if qos == 0 {
            return self.flush();
        }
        let end = Instant::now() + DEADLINE;
        while self.outgoing.iter().any(|outgoing| outgoing.token == token) {
            self.turn_before(end)?;
        }
        self.completed.retain(|&completed| completed != token);
        Ok(())
    }

    /// Queues a publish, waiting only while the window is full. At QoS 1 and 2 the token comes back in
    /// [`Client::completed`].
    pub fn send(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) -> io::Result<u64> {
        let token = self.next_token;
        self.next_token += 1;
        let mut id = 0;
        if qos > 0 {
            let end = Instant::now() + DEADLINE;
            while !self.has_room() {
                self.turn_before(end)?;
            }
            id = self.take_id();
            let (topic, payload) = (topic.to_owned(), payload.to_owned());
            self.outgoing.push_back(Unacknowledged { id, token, topic, payload, qos, retain, released: false });
        }
        let publish = Publish { topic, payload, qos, retain, dup: false, id };
        packet::publish(&mut self.tx, self.options.version, &publish);
        if self.tx.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(token)
    }

    /// Whether [`Client::send`] would not have to wait.
    pub fn has_room(&self) -> bool {
        self.outgoing.len() < self.window
    }

    /// How many of our publishes are not yet acknowledged.
    pub fn in_flight(&self) -> usize {
        self.outgoing.len()
    }

    /// The tokens of those that were acknowledged since the last call.
    pub fn completed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.completed)
    }

    /// The next message; none if none comes within `deadline`.
    pub fn receive(&mut self, deadline: Duration) -> io::Result<Option<Received>> {
        let end = Instant::now() + deadline;
        while self.inbox.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.flush()?;
                return Ok(None);
            }
            self.turn(left)?;
        }
        Ok(self.inbox.pop_front())
    }

    /// Acknowledges a message; goes out with the next turn or flush.
    pub fn ack(&mut self, received: &Received) {
        match received.qos {
            1 => packet::acknowledge(&mut self.tx, packet::PUBACK, received.packet_id),
            2 => packet::acknowledge(&mut self.tx, packet::PUBREC, received.packet_id),
            _ => {}
        }
    }

    /// Writes what is waiting, waits at most `timeout` for something to read, and handles all of it.
    pub fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        self.flush()?;
        let timeout = match self.ping_due() {
            Some(due) if due.is_zero() => {
                packet::ping(&mut self.tx);
                self.flush()?;
                timeout
            }
            Some(due) => timeout.min(due),
            None => timeout,
        };
        self.read(timeout)?;
        self.handle_all()
    }

    /// Writes what is waiting.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.tx.is_empty() {
            self.stream.write_all(&self.tx)?;
            self.tx.clear();
            self.last_write = Instant::now();
        }
        Ok(())
    }

    /// Says good-bye: the will is not published.
    pub fn disconnect(mut self) -> io::Result<()> {
        packet::disconnect(&mut self.tx);
        self.flush()?;
        self.stream.shutdown(std::net::Shutdown::Write)?;
        // The broker closes when it has read it, so that nobody sees this client afterwards.
        let end = Instant::now() + DEADLINE;
        while self.read(end.saturating_duration_since(Instant::now())).is_ok() && Instant::now() < end {}
        Ok(())
    }

    /// Closes the socket without a word.
    pub fn abort(self) {}

    fn handshake(&mut self) -> io::Result<()> {
        packet::connect(&mut self.tx, &self.options);
        self.flush()?;
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some((frame, size)) = packet::frame(&self.rx)? {
                let (session_present, maximum) = connack(frame, self.options.version)?;
                self.session_present = session_present;
                self.window = self.options.window.min(maximum).max(1);
                self.rx.drain(..size);
                return self.handle_all();
            }
            self.read(left_until(end)?)?;
        }
    }

    fn await_answer(&mut self, id: u16) -> io::Result<Vec<u8>> {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.answer.take() {
                Some((answered, codes)) if answered == id => return Ok(codes),
                _ => self.turn_before(end)?,
            }
        }
    }

    fn turn_before(&mut self, end: Instant) -> io::Result<()> {
        self.turn(left_until(end)?)
    }

    /// Nothing within the timeout is no error; the end of the connection is.
    fn read(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        if self.read_timeout != timeout {
            self.stream.set_read_timeout(timeout)?;
            self.read_timeout = timeout;
        }
        let begin = self.rx.len();
        self.rx.resize(begin + READ_BYTES, 0);
        let result = self.stream.read(&mut self.rx[begin..]);
        self.rx.truncate(begin + result.as_ref().map_or(0, |&read| read));
        match result {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn handle_all(&mut self) -> io::Result<()> {
        let rx = std::mem::take(&mut self.rx);
        let mut begin = 0;
        let result = loop {
            match packet::frame(&rx[begin..]) {
                Ok(Some((frame, size))) => {
                    if let Err(error) = self.handle(frame) {
                        break Err(error);
                    }
                    begin += size;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.rx = rx;
        self.rx.drain(..begin);
        result
    }

    /// The next id that is not in use; 0 is none.
    fn take_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.outgoing.iter().any(|outgoing| outgoing.id == self.next_id) {
                return self.next_id;
            }
        }
    }

    fn ping_due(&self) -> Option<Duration> {
        let interval = Duration::from_secs(self.options.keep_alive_s.into()) / 2;
        (!interval.is_zero()).then(|| interval.saturating_sub(self.last_write.elapsed()))
    }
}

impl Unacknowledged {
    fn as_publish(&self, dup: bool) -> Publish<'_> {
        let Self { id, qos, retain, .. } = *self;
        Publish { topic: &self.topic, payload: &self.payload, qos, retain, dup, id }
    }
}

fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

fn left_until(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
