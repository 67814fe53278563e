//! A broker that has whatever habits a test gives it, and remembers everything: what real brokers, and networks, do to a
//! link, without any of them.
//!
//! It speaks MQTT 3.1, 3.1.1 (with and without mosquitto's bridge bit) and MQTT 5, keeps sessions with QoS 1 and 2 in both
//! directions and retained messages, and routes between its clients. A [`Script`] says where it differs from the standard.
//!
//! One lock holds all of it: whoever reads a packet, or calls from a test, holds the lock while everything that follows from
//! it is written. So a test sees no half-done step, and what it asks twice with nothing between is the same.

mod habits;
mod memory;
mod one_answer;
mod personas;
mod properties;
mod serve;
#[cfg(test)]
mod tests;
mod wire;

pub use habits::{Answer, End, Habit, Match, Script};
pub use memory::{Logged, Published};
pub use one_answer::OneAnswer;
pub use properties::{Properties, Property};
pub use wire::{Hello, Message, Packet, Subscription};

use crate::{free_port, packet};
use memory::{Connection, Memory};
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Read at a time.
const READ_BYTES: usize = 64 * 1024;

/// After a FIN of ours, the client has so long to close too; and a client that takes nothing is given up after it.
const CLOSING: Duration = Duration::from_secs(2);

/// How many ports are tried.
const START_ATTEMPTS: u32 = 5;

/// How much of the log is shown when a test fails.
const SHOWN: usize = 80;

/// Of a payload or a topic, in the log.
const SHOWN_BYTES: usize = 60;

/// A broker on a port of its own. All of it ends when it is dropped; its log is printed if the test is failing.
#[derive(Debug)]
pub struct ScriptedBroker {
    address: SocketAddr,
    running: Arc<Running>,
}

#[derive(Debug, Default)]
struct Running {
    memory: Mutex<Memory>,
    stopped: AtomicBool,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScriptedBroker {
    /// With these habits, on a free port of 127.0.0.1.
    #[track_caller]
    pub fn start(script: Script) -> Self {
        // Another process may take a free port before we do.
        let listener = (0..START_ATTEMPTS).find_map(|_| TcpListener::bind(("127.0.0.1", free_port())).ok());
        Self::listen(listener.expect("a free port for the scripted broker"), script)
    }

    /// On another address of this machine.
    #[track_caller]
    pub fn start_at(address: SocketAddr, script: Script) -> Self {
        Self::listen(TcpListener::bind(address).expect("an address for the scripted broker"), script)
    }

    fn listen(listener: TcpListener, script: Script) -> Self {
        let address = listener.local_addr().expect("a listener has an address");
        let memory = Mutex::new(Memory { script, ..Memory::default() });
        let running = Arc::new(Running { memory, stopped: AtomicBool::new(false) });
        let theirs = running.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if theirs.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let running = theirs.clone();
                std::thread::spawn(move || serve(&running, stream));
            }
        });
        Self { address, running }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The same as `mqtt://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Other habits from here on.
    pub fn learn(&self, script: Script) {
        self.running.lock().script = script;
    }

    /// How many CONNECTs it has accepted.
    pub fn welcomed(&self) -> usize {
        self.running.lock().welcomed
    }

    /// How many connections there have been, with whatever CONNECT.
    pub fn connections(&self) -> usize {
        self.running.lock().connections.len()
    }

    /// Whether a client is connected now.
    pub fn is_connected(&self) -> bool {
        self.running.lock().sessions.values().any(|session| session.connection.is_some())
    }

    /// What is subscribed now in all sessions, as granted.
    pub fn subscriptions(&self) -> BTreeMap<String, Subscription> {
        let memory = self.running.lock();
        memory.sessions.values().flat_map(|session| session.subscriptions.clone()).collect()
    }

    /// The filters of these, in order.
    pub fn filters(&self) -> Vec<String> {
        self.subscriptions().into_keys().collect()
    }

    /// Every message it has taken, in the order they came.
    pub fn published(&self) -> Vec<Published> {
        self.running.lock().published.clone()
    }

    /// The payloads of these, as text.
    pub fn payloads(&self) -> Vec<String> {
        let text = |taken: &Published| String::from_utf8_lossy(&taken.message.payload).into_owned();
        self.running.lock().published.iter().map(text).collect()
    }

    /// The topics of these, as text.
    pub fn topics(&self) -> Vec<String> {
        self.running.lock().published.iter().map(|taken| taken.message.topic_text()).collect()
    }

    /// Everything that was said, in both directions.
    pub fn log(&self) -> Vec<Logged> {
        self.running.lock().log.clone()
    }

    /// How many packets of the client are of this kind.
    pub fn heard(&self, kind: impl Fn(&Packet) -> bool) -> usize {
        self.running.lock().log.iter().filter(|logged| logged.from_client && kind(&logged.packet)).count()
    }

    /// Every CONNECT.
    pub fn hellos(&self) -> Vec<Hello> {
        let memory = self.running.lock();
        let hellos = memory.log.iter().filter_map(|logged| match &logged.packet {
            Packet::Connect(hello) => Some((**hello).clone()),
            _ => None,
        });
        hellos.collect()
    }

    /// How many messages at QoS 1 and 2 clients have not yet acknowledged to the end.
    pub fn unacknowledged(&self) -> usize {
        self.running.lock().sessions.values().map(|session| session.outgoing.len()).sum()
    }

    /// Publishes, as if another client had: whoever is subscribed gets it; it is kept if it says so.
    pub fn publish(&self, message: Message) {
        let mut memory = self.running.lock();
        if message.retain {
            memory.retained.insert(message.topic.clone(), message.clone());
        }
        memory.route(&message, None);
    }

    /// Gives this message to every session, whatever is subscribed, exactly as it is; at QoS 1 and 2 it is sent again in each
    /// connection until it is acknowledged.
    pub fn inject(&self, message: &Message) {
        let mut memory = self.running.lock();
        let clients: Vec<String> = memory.sessions.keys().cloned().collect();
        for client in clients {
            memory.enqueue(&client, message.clone());
        }
    }

    /// Sends the answers that [`Habit::HoldSuback`] holds, and holds no more.
    pub fn release(&self) {
        let mut memory = self.running.lock();
        memory.script = Script::new();
        for (number, packet, bytes) in std::mem::take(&mut memory.held) {
            memory.tell(number, packet, &bytes);
        }
    }

    /// Ends all connections.
    pub fn cut(&self, end: &End) {
        let mut memory = self.running.lock();
        for number in 1..=memory.connections.len() {
            memory.end(number, end);
        }
    }

    /// The end of the log, for a message of a failing test.
    pub fn tail(&self) -> String {
        let memory = self.running.lock();
        let from = memory.log.len().saturating_sub(SHOWN);
        let lines: Vec<String> = memory.log[from..].iter().map(line).collect();
        format!("\n--- the scripted broker on {} ---\n{}\n---", self.address, lines.join("\n"))
    }
}

impl Drop for ScriptedBroker {
    fn drop(&mut self) {
        self.running.stopped.store(true, Ordering::SeqCst);
        // Wakes the one who accepts.
        let _ = TcpStream::connect(self.address);
        self.cut(&End::reset());
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

fn line(logged: &Logged) -> String {
    let arrow = if logged.from_client { "->" } else { "<-" };
    let packet = match &logged.packet {
        Packet::Publish(message, id, dup) => {
            let topic: String = message.topic_text().chars().take(SHOWN_BYTES).collect();
            let payload =
                String::from_utf8_lossy(&message.payload[..message.payload.len().min(SHOWN_BYTES)]).into_owned();
            let (qos, bytes) = (message.qos, message.payload.len());
            format!("PUBLISH {id} {topic:?} qos {qos} dup {dup} retain {} {bytes} bytes {payload:?}", message.retain)
        }
        other => format!("{other:?}"),
    };
    format!("{:3} {arrow} {packet}", logged.connection)
}

fn serve(running: &Running, stream: TcpStream) {
    let _ = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(CLOSING)));
    let stream = Arc::new(stream);
    let number = {
        let mut memory = running.lock();
        let stream = Some(stream.clone());
        memory.connections.push(Connection { stream, level: 0, client: None, silent: false, aliases: HashMap::new() });
        memory.connections.len()
    };
    converse(running, &stream, number);
    let mut memory = running.lock();
    memory.detach(number, true);
    memory.connections[number - 1].stream = None;
}

/// Reads packets and has them answered until one side ends it.
fn converse(running: &Running, stream: &TcpStream, number: usize) {
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; READ_BYTES]);
    let mut reader = stream;
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        let mut begin = 0;
        loop {
            let mut memory = running.lock();
            if memory.connections[number - 1].stream.is_none() {
                drop(memory);
                return drain(stream);
            }
            let level = memory.connections[number - 1].level;
            let (packet, size) = match packet::frame(&buffer[begin..]) {
                Ok(None) => break,
                Ok(Some((frame, size))) => (Packet::read(frame, level), size),
                Err(error) => (Err(error), 0),
            };
            match packet {
                Ok(packet) => memory.on_packet(number, packet),
                Err(_) => memory.end(number, &End::says(MALFORMED)),
            }
            begin += size;
        }
        buffer.drain(..begin);
    }
}

/// Malformed packet (MQTT 5, 3.14.2.1).
const MALFORMED: u8 = 0x81;

/// After the end, until the client closes too.
fn drain(mut stream: &TcpStream) {
    let _ = stream.set_read_timeout(Some(CLOSING));
    let mut chunk = vec![0; READ_BYTES];
    while stream.read(&mut chunk).is_ok_and(|read| read > 0) {}
}
