//! A client that may be killed, a server that never forgets, and the wire between them.

use super::Step;
use super::log::{Log, Record};
use crate::frames;
use crate::pair::{config, message};
use bytes::BytesMut;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_mqtt::{
    Accept, AckToken, Batch, ClientSession, Control, Flow, Published, ReasonCode, Received, Restored, ServerLimits,
    ServerSession, Version,
};

/// One way of the wire, as bytes.
type Pipe = BytesMut;

pub(super) struct Model {
    version: Version,
    now: Instant,
    client: ClientSession,
    server: Option<ServerSession>,
    kept: Option<Flow>,
    log: Log,
    /// Messages of QoS 2 that the client's owner has still to send, for the first time or as the log knows nothing of it.
    to_send: VecDeque<u64>,
    sent: u64,
    sent_back: u64,
    /// Where in the client's write buffer what needs how many durable records.
    marks: VecDeque<(usize, usize)>,
    tapped: usize,
    pipes: [Pipe; 2],
    rx: [BytesMut; 2],
    /// Tokens of the client's owner, each with the record that must be durable before it is used.
    client_held: Vec<(AckToken, usize)>,
    server_held: Vec<AckToken>,
    /// How often each message of the client came out at the server.
    arrived: BTreeMap<u64, usize>,
    /// How often each QoS 1 message of the server came out.
    arrived_back: BTreeMap<u64, usize>,
    /// QoS of each message, both ways.
    qos: [Vec<u8>; 2],
}

const LIMITS: ServerLimits = ServerLimits { receive_maximum: 6, max_packet_size: 10_000, topic_alias_max: 0 };

impl Model {
    pub(super) fn new(version: Version) -> Self {
        let now = Instant::now();
        Self {
            version,
            now,
            client: ClientSession::new(now),
            server: None,
            kept: None,
            log: Log::default(),
            to_send: VecDeque::new(),
            sent: 0,
            sent_back: 0,
            marks: VecDeque::new(),
            tapped: 0,
            pipes: Default::default(),
            rx: Default::default(),
            client_held: Vec::new(),
            server_held: Vec::new(),
            arrived: BTreeMap::new(),
            arrived_back: BTreeMap::new(),
            qos: Default::default(),
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect => self.connect(),
            Step::Send { qos } => self.send(qos),
            Step::SendBack { qos } => self.send_back(qos),
            Step::Sync { records } => self.log.sync(usize::from(records)),
            Step::ClientFlush => self.client_flush(),
            Step::ServerFlush => self.server_flush(),
            Step::ToServer { bytes } => self.reach_server(usize::from(bytes)),
            Step::ToClient { bytes } => self.reach_client(usize::from(bytes)),
            Step::ClientAck { pick } => self.client_ack(usize::from(pick)),
            Step::ServerAck { pick } => self.server_ack(usize::from(pick)),
            Step::Cut { arrive } => self.cut(usize::from(arrive)),
            Step::Kill { arrive, records } => self.kill(usize::from(arrive), usize::from(records)),
        }
    }

    fn connect(&mut self) {
        if self.server.is_some() {
            return;
        }
        self.client.connect(&config(self.version), self.now);
        self.server = Some(ServerSession::new(LIMITS, self.now));
        (self.marks, self.tapped) = (VecDeque::new(), 0);
        (self.pipes, self.rx) = Default::default();
        self.tap();
    }

    fn cut(&mut self, arrive: usize) {
        self.reach_server(arrive);
        self.client.disconnected();
        if let Some(server) = self.server.take().filter(ServerSession::is_up) {
            self.kept = Some(server.into_flow());
        }
    }

    fn kill(&mut self, arrive: usize, records: usize) {
        self.cut(arrive);
        self.log.sync(records);
        self.log.records.truncate(self.log.durable);
        self.log.gate = self.log.durable;
        self.client_held.clear();
        self.client = ClientSession::new(self.now);
        assert_eq!(self.client.restore(self.log.restored()), [0; 0], "ids never went round");
        // What the log does not know was never taken from the owner's source.
        let all = (0..self.sent).filter(|n| self.qos[0][*n as usize] == 2);
        self.to_send = all.filter(|n| !self.log.has_sent(*n)).collect();
    }

    fn send(&mut self, qos: u8) {
        if !self.client.has_room() {
            return;
        }
        let n = if qos == 2 { self.to_send.pop_front() } else { None };
        let n = n.unwrap_or_else(|| {
            self.qos[0].push(qos);
            self.sent += 1;
            self.sent - 1
        });
        let message = message("a", n.to_string(), qos);
        let Ok(Published::InFlight { exactly_once }) = self.client.publish(n, message.clone()) else {
            panic!("there was room")
        };
        if let Some(serial) = exactly_once {
            self.log.push(Record::Sent { serial, key: n, message });
        }
        self.tap();
    }

    fn send_back(&mut self, qos: u8) {
        let Some(server) = self.server.as_mut().filter(|server| server.has_room()) else { return };
        server.publish(self.sent_back, message("b", self.sent_back.to_string(), qos), &[]).expect("there was room");
        self.sent_back += 1;
        self.qos[1].push(qos);
    }

    /// What the client has written just now needs every record so far.
    fn tap(&mut self) {
        let len = self.client.tx().len();
        if self.server.is_some() && len > self.tapped {
            self.marks.push_back((len, self.log.gate));
            self.tapped = len;
        }
    }

    fn client_flush(&mut self) {
        if self.server.is_none() {
            return;
        }
        let mut may = 0;
        while let Some((to, _)) = self.marks.front().filter(|(_, gate)| *gate <= self.log.durable) {
            may = *to;
            self.marks.pop_front();
        }
        let bytes = self.client.tx().split_to(may);
        self.pipes[0].extend_from_slice(&bytes);
        self.marks.iter_mut().for_each(|(to, _)| *to -= may);
        self.tapped -= may;
        let mut batch = Batch::default();
        self.client.sent(self.now, &mut batch);
        self.take(batch);
    }

    fn server_flush(&mut self) {
        if let Some(server) = &mut self.server {
            self.pipes[1].extend_from_slice(&server.tx().split());
            server.sent(&mut Vec::new());
        }
    }

    fn reach_client(&mut self, bytes: usize) {
        if self.server.is_none() {
            return;
        }
        let arrived = self.pipes[1].split_to(bytes.min(self.pipes[1].len()));
        self.rx[1].extend_from_slice(&arrived);
        let mut batch = Batch::default();
        self.client.on_bytes(&mut self.rx[1], self.now, &mut batch).expect("the server keeps to the protocol");
        self.take(batch);
    }

    /// The client's owner gets what its session found.
    fn take(&mut self, batch: Batch) {
        let lost = |control: &(usize, Control)| matches!(control.1, Control::SessionLost { .. });
        assert!(!batch.control.iter().any(lost), "the server keeps its session");
        batch.taken_over.iter().for_each(|key| self.log.push(Record::TakenOver(*key)));
        batch.released.iter().for_each(|packet_id| self.log.push(Record::Released(*packet_id)));
        for done in batch.completed.iter().filter(|done| self.qos[0][done.key as usize] == 2) {
            assert_eq!(done.reason, ReasonCode::SUCCESS);
            self.log.push(Record::Completed(done.key));
        }
        batch.received.iter().for_each(|received| self.client_received(received));
        self.tap();
    }

    fn client_received(&mut self, received: &Received) {
        let token = received.ack.expect("QoS 1 or 2");
        let n = number(&received.message);
        assert_eq!(token.exactly_once(), received.message.qos == QoS::ExactlyOnce);
        if token.exactly_once() {
            self.log.push(Record::Received { packet_id: token.packet_id(), n });
        } else {
            *self.arrived_back.entry(n).or_default() += 1;
        }
        self.client_held.push((token, self.log.records.len()));
    }

    fn client_ack(&mut self, pick: usize) {
        if self.client_held.is_empty() {
            return;
        }
        let at = pick % self.client_held.len();
        if self.client_held[at].1 <= self.log.durable {
            let (token, _) = self.client_held.remove(at);
            self.client.ack(token);
            self.tap();
        }
    }

    fn reach_server(&mut self, bytes: usize) {
        let Some(server) = &mut self.server else { return };
        let arrived = self.pipes[0].split_to(bytes.min(self.pipes[0].len()));
        self.rx[0].extend_from_slice(&arrived);
        let mut batch = Batch::default();
        server.on_bytes(&mut self.rx[0], self.now, &mut batch).expect("the client keeps to the protocol");
        for (_, control) in batch.control {
            let Control::Connect(_) = control else { panic!("nobody asked for {control:?}") };
            server.accept(Accept { resumed: self.kept.take(), ..Accept::default() }, &mut Vec::new());
        }
        for received in &batch.received {
            *self.arrived.entry(number(&received.message)).or_default() += 1;
            self.server_held.extend(received.ack);
        }
        if frames::frame_len(&self.rx[0]).is_some() {
            self.reach_server(0); // what stood behind CONNECT
        }
    }

    fn server_ack(&mut self, pick: usize) {
        if self.server_held.is_empty() {
            return;
        }
        let token = self.server_held.remove(pick % self.server_held.len());
        match (&mut self.server, &mut self.kept) {
            (_, Some(flow)) => flow.ack(token, ReasonCode::SUCCESS),
            (Some(server), None) => server.ack(token, ReasonCode::SUCCESS),
            (None, None) => unreachable!("the server never forgets"),
        }
    }

    /// No more kills, and a disk and owners that answer: everything comes to its end in bounded steps.
    pub(super) fn heal(&mut self) {
        for _ in 0..(20 + 6 * (self.sent + self.sent_back)) {
            self.connect();
            if !self.to_send.is_empty() {
                self.send(2);
            }
            self.log.sync(usize::MAX - self.log.durable);
            self.client_flush();
            self.reach_server(usize::MAX);
            (0..self.server_held.len()).for_each(|_| self.server_ack(0));
            self.server_flush();
            self.reach_client(usize::MAX);
            self.log.sync(usize::MAX - self.log.durable);
            (0..self.client_held.len()).for_each(|_| self.client_ack(0));
            if self.is_quiet() {
                return self.check_the_end();
            }
        }
        panic!("it never comes to rest");
    }

    fn is_quiet(&mut self) -> bool {
        let Some(server) = &mut self.server else { return false };
        let unsent = self.client.tx().len() + server.tx().len();
        let in_flight = self.client.in_flight() + server.in_flight();
        self.client.is_up() && unsent + in_flight + self.to_send.len() == 0
    }

    fn check_the_end(&self) {
        for (n, _) in self.qos[0].iter().enumerate().filter(|(_, qos)| **qos == 2) {
            assert_eq!(self.arrived.get(&(n as u64)), Some(&1), "message {n} of the client");
        }
        let mut back = self.arrived_back.clone();
        for record in &self.log.records {
            if let Record::Received { n, .. } = record {
                *back.entry(*n).or_default() += 1;
            }
        }
        for (n, qos) in self.qos[1].iter().enumerate() {
            let count = back.get(&(n as u64)).copied().unwrap_or(0);
            assert!(count == 1 || count > 1 && *qos == 1, "message {n} of the server at QoS {qos} came {count} times");
        }
        assert_eq!(self.log.restored(), Restored::default(), "left over in the log");
    }
}

fn number(message: &Message) -> u64 {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}
