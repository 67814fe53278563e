//! The steps of a story: connections come and go, owners publish and acknowledge.

use super::{CLIENT, Model, SERVER, Sent, limit};
use tidegate_message::{Message, Properties, QoS, Topic};
use tidegate_mqtt::{
    Accept, AckToken, ClientConfig, ClientSession, Control, PublishError, Published, ReasonCode, ServerLimits,
    ServerSession, Version,
};

impl Model {
    pub(super) fn connect(&mut self) {
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
            mark: None,
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

    pub(super) fn cut(&mut self, arrive: [u16; 2]) {
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

    pub(super) fn lose_server(&mut self) {
        self.kept = None;
        self.next_epoch();
        let tokens: Vec<AckToken> = self.held[SERVER].drain(..).map(|(token, _)| token).collect();
        self.spent[SERVER].extend(tokens);
        self.directions[SERVER].forget_sender();
    }

    pub(super) fn next_epoch(&mut self) {
        self.epoch += 1;
        for direction in &mut self.directions {
            direction.ids.clear();
            direction.taken_over.clear();
            direction.finished.clear();
        }
    }

    pub(super) fn lose(&mut self, side: usize) {
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

    pub(super) fn publish(&mut self, from: usize, qos: u8, topic: u8, pad: u8, rich: bool) {
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

    pub(super) fn control(&mut self, control: Control) {
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

    pub(super) fn ack(&mut self, by: usize, at: usize, refuse: bool) {
        let (token, n) = self.held[by].remove(at);
        // A refusal ends the exchange: a copy behind it, which MQTT 5 forbids, would be another message beyond the window.
        let refuse =
            refuse && by == SERVER && self.version == Version::V5 && self.directions[1 - by].sent[n].repeats == 0;
        let reason = if refuse { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::SUCCESS };
        self.refused |= refuse;
        self.directions[1 - by].sent[n].answer = Some(reason);
        self.use_token(by, token, reason);
        self.spent[by].push(token);
        self.tap(by);
    }

    pub(super) fn use_token(&mut self, by: usize, token: AckToken, reason: ReasonCode) {
        match (by, &mut self.server, &mut self.kept) {
            (CLIENT, ..) => self.client.ack(token),
            (_, Some(server), None) => server.ack(token, reason),
            // The client is away, or not let in yet.
            (_, _, Some(flow)) => flow.ack(token, reason),
            _ => {}
        }
    }

    pub(super) fn stale(&mut self, by: usize, pick: u8) {
        if self.spent[by].is_empty() {
            return;
        }
        let token = self.spent[by][usize::from(pick) % self.spent[by].len()];
        let before = self.tx(by).map(|tx| tx.len());
        self.use_token(by, token, ReasonCode::SUCCESS);
        assert_eq!(self.tx(by).map(|tx| tx.len()), before, "a spent token said something");
    }
}
