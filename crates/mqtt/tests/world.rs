//! Two sessions, a wire that loses, slices, repeats and breaks, and a small model that knows what may be seen.

use crate::frames::{self, Frame};
use bytes::BytesMut;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;
use tidegate_message::{Message, Properties, QoS, Topic};
use tidegate_mqtt::{
    Accept, AckToken, Batch, ClientConfig, ClientSession, Completion, Control, Flow, PublishError, Published,
    ReasonCode, ServerLimits, ServerSession, Version,
};

/// The sending side of a direction; `1 - side` is the other.
pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

/// What both sides say about one connection, `[client, server]`.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) receive_maximum: [u16; 2],
    pub(crate) max_packet_size: [u32; 2],
    pub(crate) topic_alias_max: [u16; 2],
}

/// One step of a story. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Connect,
    Publish {
        from: usize,
        qos: u8,
        topic: u8,
        pad: u8,
        rich: bool,
    },
    /// What is in the write buffer goes onto the wire.
    Flush {
        from: usize,
    },
    /// So many bytes come off the wire.
    Deliver {
        to: usize,
        bytes: u16,
    },
    /// The owner acknowledges one message that it holds; a server may refuse it.
    Ack {
        by: usize,
        pick: u8,
        refuse: bool,
    },
    /// The owner uses a token that it used before, or one of a session that is gone.
    Stale {
        by: usize,
        pick: u8,
    },
    /// A packet on the wire arrives twice, where the protocol has an answer to that.
    Repeat {
        from: usize,
        pick: u8,
    },
    /// The connection breaks; so many bytes still arrive on either side.
    Cut {
        arrive: [u16; 2],
    },
    /// One side starts over with nothing, after a cut.
    Lose {
        side: usize,
    },
}

/// A message as the model knows it.
#[derive(Debug)]
struct Sent {
    message: Message,
    /// A completion is due.
    in_flight: bool,
    published_on: usize,
    completed: Option<ReasonCode>,
    /// The epoch of each delivery.
    delivered: Vec<usize>,
    /// What the receiving owner said, and that it said it since the last delivery.
    answer: Option<ReasonCode>,
    /// A packet with it was on the wire, last on this connection and in this epoch.
    seen: Option<(usize, usize)>,
    repeats: usize,
}

/// Messages one way.
#[derive(Debug, Default)]
struct Direction {
    sent: Vec<Sent>,
    last_delivered: [Option<usize>; 2],
    // In this epoch:
    ids: HashMap<u16, usize>,
    taken_over: HashSet<u16>,
    finished: HashSet<u16>,
    // On this connection:
    window: HashSet<u16>,
    last_written: [Option<usize>; 2],
    aliases: HashMap<u16, String>,
    to_puback: VecDeque<usize>,
    to_pubrec: VecDeque<u16>,
    pubrels: usize,
    pubcomps: usize,
}

/// One way of the wire.
#[derive(Debug, Default)]
struct Pipe {
    frames: VecDeque<Vec<u8>>,
    /// How much of the first frame has been delivered.
    eaten: usize,
    /// What the receiver has of an unfinished frame, for the model.
    heard: Vec<u8>,
}

pub(crate) struct World {
    version: Version,
    terms: Vec<Terms>,
    now: Instant,
    client: ClientSession,
    client_is_new: bool,
    server: Option<ServerSession>,
    kept: Option<Flow>,
    /// The client has seen the answer to its CONNECT.
    introduced: bool,
    connection: usize,
    epoch: usize,
    /// The epoch in which either side last came up.
    epoch_known: usize,
    rx: [BytesMut; 2],
    pipes: [Pipe; 2],
    /// How much of each write buffer the model has seen.
    tapped: [usize; 2],
    directions: [Direction; 2],
    held: [Vec<(AckToken, usize)>; 2],
    spent: [Vec<AckToken>; 2],
    /// Somebody refused something: such messages may come again.
    refused: bool,
}

fn limit(size: u32) -> usize {
    size as usize
}

impl World {
    pub(crate) fn new(version: Version, terms: Vec<Terms>) -> Self {
        let now = Instant::now();
        Self {
            version,
            terms,
            now,
            client: ClientSession::new(now),
            client_is_new: true,
            server: None,
            kept: None,
            introduced: false,
            connection: 0,
            epoch: 0,
            epoch_known: 0,
            rx: Default::default(),
            pipes: Default::default(),
            tapped: [0, 0],
            directions: Default::default(),
            held: Default::default(),
            spent: Default::default(),
            refused: false,
        }
    }

    fn terms(&self) -> &Terms {
        &self.terms[self.connection % self.terms.len()]
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect => self.connect(),
            Step::Publish { from, qos, topic, pad, rich } => self.publish(from, qos, topic, pad, rich),
            Step::Flush { from } => self.flush(from),
            Step::Deliver { to, bytes } => self.deliver(to, usize::from(bytes)),
            Step::Ack { by, pick, refuse } => {
                if !self.held[by].is_empty() {
                    let at = usize::from(pick) % self.held[by].len();
                    self.ack(by, at, refuse);
                }
            }
            Step::Stale { by, pick } => self.stale(by, pick),
            Step::Repeat { from, pick } => self.repeat(from, pick),
            Step::Cut { arrive } => self.cut(arrive),
            Step::Lose { side } => self.lose(side),
        }
    }

    fn connect(&mut self) {
        if self.server.is_some() {
            return;
        }
        self.connection += 1;
        let terms = self.terms().clone();
        let config = ClientConfig {
            version: self.version,
            bridge: false,
            client_id: "box".into(),
            clean_start: self.client_is_new,
            keep_alive_s: 0,
            username: None,
            password: None,
            will: None,
            session_expiry_s: u32::MAX,
            receive_maximum: terms.receive_maximum[CLIENT],
            max_packet_size: terms.max_packet_size[CLIENT],
            topic_alias_max: terms.topic_alias_max[CLIENT],
            limits: Default::default(),
        };
        self.client.connect(&config, self.now);
        let limits = ServerLimits {
            receive_maximum: terms.receive_maximum[SERVER],
            max_packet_size: terms.max_packet_size[SERVER],
            topic_alias_max: terms.topic_alias_max[SERVER],
        };
        self.server = Some(ServerSession::new(limits, self.now));
        self.introduced = false;
        self.pipes = Default::default();
        self.rx = Default::default();
        self.tapped = [0, 0];
        for direction in &mut self.directions {
            direction.window.clear();
            direction.last_written = [None, None];
            direction.aliases.clear();
            direction.to_puback.clear();
            direction.to_pubrec.clear();
            (direction.pubrels, direction.pubcomps) = (0, 0);
        }
        self.tap(CLIENT);
    }

    fn cut(&mut self, arrive: [u16; 2]) {
        if self.server.is_none() {
            return;
        }
        self.deliver(CLIENT, usize::from(arrive[CLIENT]));
        self.deliver(SERVER, usize::from(arrive[SERVER]));
        self.client.disconnected();
        let Some(server) = self.server.take() else { return };
        if server.is_up() {
            self.kept = Some(server.into_flow());
        }
        self.pipes = Default::default();
        if !self.introduced && self.epoch_known != self.epoch {
            // The client was never told that its session is gone, and would take the new one for the old. MQTT has no
            // cure for that; a server that forgets twice has.
            self.lose_server();
        }
    }

    fn lose_server(&mut self) {
        self.kept = None;
        self.next_epoch();
        let tokens: Vec<AckToken> = self.held[SERVER].drain(..).map(|(token, _)| token).collect();
        self.spent[SERVER].extend(tokens);
        self.directions[SERVER].forget_sender();
    }

    fn next_epoch(&mut self) {
        self.epoch += 1;
        for direction in &mut self.directions {
            direction.ids.clear();
            direction.taken_over.clear();
            direction.finished.clear();
        }
    }

    fn lose(&mut self, side: usize) {
        self.cut([0, 0]);
        self.lose_server();
        // A client of MQTT 3.1 is never told that the server forgot it.
        if side == CLIENT || self.version == Version::V31 {
            self.client = ClientSession::new(self.now);
            self.client_is_new = true;
            self.directions[CLIENT].forget_sender();
            let tokens: Vec<AckToken> = self.held[CLIENT].drain(..).map(|(token, _)| token).collect();
            self.spent[CLIENT].extend(tokens);
        }
    }

    fn publish(&mut self, from: usize, qos: u8, topic: u8, pad: u8, rich: bool) {
        let n = self.directions[from].sent.len();
        let mut payload = vec![from as u8];
        payload.extend_from_slice(&(n as u32).to_be_bytes());
        payload.resize(5 + usize::from(pad), b'.');
        let topic = Topic::new(format!("plant/line/{topic}")).expect("a topic");
        let mut message = Message::new(topic, payload, QoS::from_u8(qos).expect("a QoS"));
        message.retain = pad.is_multiple_of(5);
        if rich && self.version == Version::V5 {
            message.properties = Some(Box::new(Properties {
                content_type: Some("text/plain".into()),
                user: vec![("n".into(), n.to_string().into())],
                ..Properties::default()
            }));
        }
        let result = match (from, &mut self.server) {
            (CLIENT, _) => self.client.publish(n as u64, message.clone()),
            (_, Some(server)) => server.publish(n as u64, message.clone(), &[]),
            _ => return,
        };
        let in_flight = match result {
            Ok(Published::Sent) => {
                assert_eq!(qos, 0);
                false
            }
            Ok(Published::InFlight { exactly_once }) => {
                assert_ne!(qos, 0);
                assert_eq!(exactly_once.is_some(), qos == 2);
                true
            }
            Err(PublishError::Full) => return,
            Err(PublishError::TooLarge { size, max }) => {
                assert!(size > max && max == limit(self.terms().max_packet_size[1 - from]));
                return;
            }
        };
        self.directions[from].sent.push(Sent {
            message,
            in_flight,
            published_on: self.connection,
            completed: None,
            delivered: Vec::new(),
            answer: None,
            seen: None,
            repeats: 0,
        });
        self.tap(from);
    }

    fn tx(&mut self, side: usize) -> Option<&mut BytesMut> {
        match (side, &mut self.server) {
            (CLIENT, Some(_)) => Some(self.client.tx()),
            (_, Some(server)) => Some(server.tx()),
            _ => None,
        }
    }

    fn flush(&mut self, from: usize) {
        let Some(tx) = self.tx(from) else { return };
        let mut bytes = tx.split().to_vec();
        self.pipes[from].frames.extend(frames::split(&mut bytes));
        assert!(bytes.is_empty(), "sessions write whole packets");
        self.tapped[from] = 0;
        let mut batch = Batch::default();
        match (from, &mut self.server) {
            (CLIENT, _) => self.client.sent(self.now, &mut batch),
            (_, Some(server)) => server.sent(&mut batch.completed),
            _ => {}
        }
        self.completed(from, &ended(&batch));
        self.tap(from);
    }

    fn deliver(&mut self, to: usize, mut count: usize) {
        if self.server.is_none() {
            return;
        }
        let pipe = &mut self.pipes[1 - to];
        let mut bytes = Vec::new();
        while count > 0 {
            let Some(frame) = pipe.frames.front() else { break };
            let take = count.min(frame.len() - pipe.eaten);
            bytes.extend_from_slice(&frame[pipe.eaten..pipe.eaten + take]);
            (pipe.eaten, count) = (pipe.eaten + take, count - take);
            if pipe.eaten == frame.len() {
                pipe.frames.pop_front();
                pipe.eaten = 0;
            }
        }
        pipe.heard.extend_from_slice(&bytes);
        let heard = frames::split(&mut pipe.heard);
        for frame in heard {
            self.heard(to, frames::parse(&frame, self.version));
        }
        self.rx[to].extend_from_slice(&bytes);
        self.on_bytes(to);
    }

    fn on_bytes(&mut self, to: usize) {
        let mut batch = Batch::default();
        let rx = &mut self.rx[to];
        match (to, &mut self.server) {
            (CLIENT, _) => self.client.on_bytes(rx, self.now, &mut batch).expect("the server keeps to the protocol"),
            (_, Some(server)) => server.on_bytes(rx, self.now, &mut batch).expect("the client keeps to the protocol"),
            _ => return,
        }
        for (_, control) in std::mem::take(&mut batch.control) {
            self.control(control);
        }
        self.completed(to, &ended(&batch));
        self.tap(to);
        let any = !batch.is_empty();
        for received in batch.received {
            self.received(to, &received);
        }
        if any && to == SERVER && !self.rx[to].is_empty() {
            self.on_bytes(to); // what stood behind CONNECT
        }
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Connect(connect) => {
                let resumed = if connect.clean_start { None } else { self.kept.take() };
                if connect.clean_start && self.kept.take().is_some() {
                    self.lose_server();
                }
                let mut completed = Vec::new();
                if let Some(server) = &mut self.server {
                    server.accept(Accept { resumed, ..Accept::default() }, &mut completed);
                }
                self.completed(SERVER, &completed);
                self.tap(SERVER);
            }
            Control::Connected(connected) => {
                let known = self.epoch_known == self.epoch;
                let expected = self.connection > 1 && !self.client_is_new && known;
                if self.version != Version::V31 {
                    assert_eq!(connected.session_present, expected, "session present");
                }
                self.introduced = true;
                self.client_is_new = false;
                self.epoch_known = self.epoch;
            }
            // The wire repeats what it likes.
            Control::PubrelUnheard => {}
            Control::SessionLost { .. } => assert_ne!(self.version, Version::V31),
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn ack(&mut self, by: usize, at: usize, refuse: bool) {
        let (token, n) = self.held[by].remove(at);
        let refuse = refuse && by == SERVER && self.version == Version::V5;
        let reason = if refuse { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::SUCCESS };
        self.refused |= refuse;
        self.directions[1 - by].sent[n].answer = Some(reason);
        self.use_token(by, token, reason);
        self.spent[by].push(token);
        self.tap(by);
    }

    fn use_token(&mut self, by: usize, token: AckToken, reason: ReasonCode) {
        match (by, &mut self.server, &mut self.kept) {
            (CLIENT, ..) => self.client.ack(token),
            (_, Some(server), None) => server.ack(token, reason),
            // The client is away, or not let in yet.
            (_, _, Some(flow)) => flow.ack(token, reason),
            _ => {}
        }
    }

    fn stale(&mut self, by: usize, pick: u8) {
        if self.spent[by].is_empty() {
            return;
        }
        let token = self.spent[by][usize::from(pick) % self.spent[by].len()];
        let before = self.tx(by).map(|tx| tx.len());
        self.use_token(by, token, ReasonCode::SUCCESS);
        assert_eq!(self.tx(by).map(|tx| tx.len()), before, "a spent token said something");
    }

    fn repeat(&mut self, from: usize, pick: u8) {
        let v5 = self.version == Version::V5;
        let pipe = &mut self.pipes[from];
        let first = usize::from(pipe.eaten > 0);
        if pipe.frames.len() <= first {
            return;
        }
        let at = first + usize::from(pick) % (pipe.frames.len() - first);
        let mut frame = pipe.frames[at].clone();
        let n = match frames::parse(&frame, self.version) {
            // MQTT 5 forbids to send a PUBLISH again on one connection; the id of QoS 2 tells all the same.
            Frame::Publish { qos: 0, .. } | Frame::Other(_) | Frame::Disconnect { .. } => return,
            Frame::Publish { qos: 1, .. } if v5 => return,
            Frame::Publish { payload, .. } => {
                frame[0] |= 8;
                Some(number(&payload, from))
            }
            _ => None,
        };
        if let Some(n) = n {
            self.directions[from].sent[n].repeats += 1;
        }
        pipe.frames.insert(at + 1, frame);
    }

    /// What a side has just written, before anybody reads it.
    fn tap(&mut self, side: usize) {
        let tapped = self.tapped[side];
        let Some(tx) = self.tx(side) else { return };
        let mut fresh = tx[tapped..].to_vec();
        self.tapped[side] = tx.len();
        for bytes in frames::split(&mut fresh) {
            self.written(side, frames::parse(&bytes, self.version));
        }
        assert!(fresh.is_empty(), "sessions write whole packets");
    }

    fn written(&mut self, side: usize, frame: Frame) {
        let terms = self.terms().clone();
        let (connection, epoch, refused) = (self.connection, self.epoch, self.refused);
        let v5 = self.version == Version::V5;
        let (ours, theirs) = match (side, &mut self.directions) {
            (CLIENT, [ours, theirs]) | (_, [theirs, ours]) => (ours, theirs),
        };
        match frame {
            Frame::Publish { id, qos, dup, topic, alias, payload, size } => {
                let n = number(&payload, side);
                let sent = &mut ours.sent[n];
                assert!(size <= limit(terms.max_packet_size[1 - side]), "larger than the peer takes");
                if let Some(alias) = alias {
                    assert!((1..=terms.topic_alias_max[1 - side]).contains(&alias), "alias {alias}");
                    if !topic.is_empty() {
                        ours.aliases.insert(alias, topic.clone());
                    }
                }
                let topic = if topic.is_empty() { &ours.aliases[&alias.expect("an alias")] } else { &topic };
                assert_eq!(topic, sent.message.topic.as_str());
                let last = &mut ours.last_written[usize::from(qos > 0)];
                assert!(last.is_none_or(|last| last < n), "written out of order");
                *last = Some(n);
                if qos == 0 {
                    assert!(!dup && id == 0);
                    assert_eq!(sent.published_on, connection, "QoS 0 is never sent again");
                    return;
                }
                assert!(sent.completed.is_none(), "finished and sent again");
                match sent.seen {
                    Some((on, in_epoch)) if in_epoch == epoch => {
                        assert!(on < connection, "sent twice on one connection");
                        assert!(dup, "sent again without DUP");
                    }
                    _ if sent.published_on == connection => assert!(!dup, "the first time with DUP"),
                    Some(_) => assert!(!dup || self.version == Version::V31, "DUP to a session that never had it"),
                    None => {} // in a write buffer that was never written, perhaps
                }
                sent.seen = Some((connection, epoch));
                assert_eq!(*ours.ids.entry(id).or_insert(n), n, "a packet id for two messages");
                assert!(ours.window.insert(id));
                // A client keeps its own maximum where the broker cannot say one.
                let maximum = match (v5, side) {
                    (true, _) => terms.receive_maximum[1 - side],
                    (false, CLIENT) => terms.receive_maximum[CLIENT],
                    (false, _) => u16::MAX,
                };
                assert!(ours.window.len() <= usize::from(maximum), "above the receive maximum");
            }
            Frame::PubRel { id, reason } => {
                let fine = ours.taken_over.contains(&id) || reason == 0x92 || ours.finished.contains(&id);
                assert!(fine || !v5, "PUBREL without PUBREC");
            }
            Frame::PubAck { reason, .. } => {
                let n = theirs.to_puback.pop_front().expect("a PUBACK for nothing");
                let answer = theirs.sent[n].answer.expect("PUBACK before the owner said so");
                assert!(reason == answer.0 || theirs.sent[n].delivered.len() > 1, "{reason} for {answer:?}");
            }
            Frame::PubRec { id, .. } => {
                let n = theirs.ids[&id];
                assert!(theirs.sent[n].answer.is_some(), "PUBREC before the owner said so");
                if let Some(at) = theirs.to_pubrec.iter().position(|due| *due == id) {
                    assert!(at == 0 || refused, "PUBREC out of order");
                    theirs.to_pubrec.remove(at);
                }
            }
            Frame::PubComp { .. } => {
                theirs.pubcomps += 1;
                assert!(theirs.pubcomps <= theirs.pubrels, "PUBCOMP for nothing");
            }
            Frame::Disconnect { reason } => panic!("DISCONNECT 0x{reason:02X}"),
            Frame::Other(_) => {}
        }
    }

    /// What a side is about to read.
    fn heard(&mut self, side: usize, frame: Frame) {
        let (ours, theirs) = match (side, &mut self.directions) {
            (CLIENT, [ours, theirs]) | (_, [theirs, ours]) => (ours, theirs),
        };
        match frame {
            Frame::Publish { qos: 1, payload, .. } => theirs.to_puback.push_back(number(&payload, 1 - side)),
            Frame::Publish { qos: 2, id, .. } if !theirs.to_pubrec.contains(&id) => theirs.to_pubrec.push_back(id),
            Frame::PubAck { id, .. } => {
                ours.window.remove(&id);
                ours.finished.insert(id);
            }
            Frame::PubRec { id, reason } if reason < 0x80 => {
                ours.taken_over.insert(id);
            }
            Frame::PubRec { id, .. } if !ours.taken_over.contains(&id) => {
                ours.window.remove(&id);
                ours.finished.insert(id);
            }
            Frame::PubRel { .. } => theirs.pubrels += 1,
            Frame::PubComp { id, .. } => {
                ours.window.remove(&id);
                ours.finished.insert(id);
            }
            _ => {}
        }
    }

    fn received(&mut self, side: usize, received: &tidegate_mqtt::Received) {
        let (epoch, version, refused) = (self.epoch, self.version, self.refused);
        let direction = &mut self.directions[1 - side];
        let message = &received.message;
        let n = number(&message.payload, 1 - side);
        let sent = &mut direction.sent[n];
        assert_eq!(*message, sent.message, "a message changed on its way");
        assert_eq!(received.ack.is_some(), message.qos != QoS::AtMostOnce);
        let here = sent.delivered.iter().filter(|at| **at == epoch).count();
        match message.qos {
            QoS::AtMostOnce => assert!(sent.delivered.is_empty(), "QoS 0 came twice"),
            QoS::AtLeastOnce if here > 0 => {
                assert!(received.dup, "QoS 1 came again without DUP");
                let lost_answer = sent.answer.is_some();
                assert!(lost_answer || sent.repeats > 0, "came again though its owner still held it");
            }
            QoS::AtLeastOnce => {}
            QoS::ExactlyOnce => {
                let again = refused && sent.answer.is_some_and(ReasonCode::is_error);
                assert!(here == 0 || again, "QoS 2 came twice");
            }
        }
        if sent.delivered.is_empty() {
            let last = &mut direction.last_delivered[usize::from(message.qos != QoS::AtMostOnce)];
            assert!(last.is_none_or(|last| last < n), "first deliveries out of order ({version})");
            *last = Some(n);
        } else {
            assert!(sent.completed.is_none_or(|reason| reason.is_error()) || sent.repeats > 0 || !sent.in_flight);
        }
        sent.delivered.push(epoch);
        if let Some(token) = received.ack {
            // A new token wants a new answer.
            if sent.repeats == 0 {
                sent.answer = None;
            }
            self.held[side].push((token, n));
        }
    }

    fn completed(&mut self, side: usize, completions: &[Completion]) {
        let max = limit(self.terms().max_packet_size[1 - side]);
        let (epoch, known) = (self.epoch, self.epoch_known);
        let direction = &mut self.directions[side];
        for Completion { key, reason } in completions {
            let sent = &mut direction.sent[*key as usize];
            assert!(sent.in_flight, "completed and not in flight");
            assert_eq!(sent.completed.replace(*reason), None, "completed twice");
            let id = direction.ids.iter().find(|(_, n)| **n as u64 == *key).map(|(id, _)| *id);
            match *reason {
                ReasonCode::PACKET_TOO_LARGE => {
                    assert!(max < 2000 && sent.published_on != self.connection, "it fits");
                }
                reason if reason.is_error() => assert_eq!(reason, ReasonCode::QUOTA_EXCEEDED),
                _ => {
                    assert!(!sent.delivered.is_empty(), "completed and never delivered");
                    let answered = sent.answer.is_some() || sent.delivered.len() > 1 || self.refused;
                    assert!(answered, "completed before the owner acknowledged");
                    match id {
                        Some(id) => assert!(direction.finished.contains(&id), "completed before the peer finished"),
                        None => assert!(epoch > 0 && (known == epoch || side == CLIENT), "completed out of nothing"),
                    }
                }
            }
        }
    }

    /// The wire is whole from now on, and owners answer: everything must come to its end in bounded steps.
    pub(crate) fn heal(&mut self) {
        let messages: usize = self.directions.iter().map(|d| d.sent.len()).sum();
        for _ in 0..(20 + 6 * messages) {
            self.connect();
            for side in [CLIENT, SERVER] {
                self.flush(side);
                self.deliver(1 - side, usize::MAX);
                while !self.held[1 - side].is_empty() {
                    self.ack(1 - side, 0, false);
                }
            }
            let quiet = self.pipes.iter().all(|pipe| pipe.frames.is_empty()) && self.client.is_up();
            let unsent = self.client.tx().len() + self.server.as_mut().map_or(1, |server| server.tx().len());
            let in_flight = self.client.in_flight() + self.server.as_ref().map_or(0, |server| server.in_flight());
            if quiet && unsent == 0 && in_flight == 0 {
                self.check_the_end();
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check_the_end(&self) {
        for direction in &self.directions {
            for (n, sent) in direction.sent.iter().enumerate().filter(|(_, sent)| sent.in_flight) {
                let reason = sent.completed.unwrap_or_else(|| panic!("message {n} never completed"));
                assert!(reason.is_error() || !sent.delivered.is_empty(), "message {n} acknowledged and lost");
            }
        }
        assert_eq!(self.client.unacknowledged(), 0);
        assert!(self.client.has_room() && self.server.as_ref().is_some_and(ServerSession::has_room));
    }
}

impl Direction {
    /// The sending side is gone, and its keys with it.
    fn forget_sender(&mut self) {
        for sent in &mut self.sent {
            sent.in_flight &= sent.completed.is_some();
        }
    }
}

/// The number of a message, and that it goes this way.
fn number(payload: &[u8], from: usize) -> usize {
    assert_eq!(usize::from(payload[0]), from, "invented");
    u32::from_be_bytes([payload[1], payload[2], payload[3], payload[4]]) as usize
}

/// What needs no more care, well or refused.
fn ended(batch: &Batch) -> Vec<Completion> {
    let refused = batch.refused.iter().map(|refusal| Completion { key: refusal.key, reason: refusal.reason });
    batch.completed.iter().copied().chain(refused).collect()
}
