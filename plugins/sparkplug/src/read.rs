//! From Sparkplug to JSON.

use crate::births::{self, Birth};
use crate::config::{Shape, StaleDeaths, Unknown};
use crate::datatype::Datatype;
use crate::json::Json;
use crate::payload::{Metric, Payload, Raw};
use crate::topic::{Address, Kind};
use crate::value::write_metric;
use crate::{Sparkplug, retyped, wire};
use std::borrow::Cow;
use tidegate_sdk::{Decision, Failure, Message, Output, Qos, log};

/// All edge nodes together are asked for no more births in a second: thousands of them may have been missed at once.
const MAX_REBIRTHS_PER_SECOND: u32 = 10;

/// The metric that counts the sessions of an edge node.
const BD_SEQ: &str = "bdSeq";

/// How many births were asked for in the second that is running.
#[derive(Default)]
pub(crate) struct Rebirths {
    second: u64,
    asked: u32,
}

/// What is known of a message beside its metrics.
struct Head<'a> {
    source: &'a str,
    address: Address<'a>,
    timestamp: Option<u64>,
    seq: Option<u64>,
    /// The number that was due in place of `seq`.
    expected: Option<u8>,
    bd_seq: Option<u64>,
    /// The number of the birth that is known, where a death has another one.
    born: Option<u64>,
}

/// A metric, with what its birth has said of it.
struct Known<'a> {
    metric: Metric<'a>,
    name: Option<Cow<'a, str>>,
    datatype: Option<Datatype>,
}

impl Sparkplug {
    pub(crate) fn read(&mut self, source: &str, message: &Message, address: Address) -> Result<Decision, Failure> {
        let payload = Payload::parse(&message.payload, self.config.max_metrics)
            .map_err(|refused| Failure::reject(refused.to_string()))?;
        let Address { group, kind, edge, device } = address;
        let edge_key = births::key(source, group, edge, None);
        let key = births::key(source, group, edge, device);
        let expected = self.due(&edge_key, kind, &payload, message.redelivered);
        let bd_seq = bd_seq(&payload);
        let birth = match kind {
            Kind::NBirth | Kind::DBirth => Some(self.births.keep(&edge_key, &key, &payload, bd_seq)),
            // What says all of itself needs no birth, and to look for one costs a call of the gateway.
            _ if kind != Kind::NDeath && payload.metrics.iter().all(says_all) => None,
            _ => self.births.get(&key),
        };
        let born = birth.as_ref().and_then(|birth| birth.bd_seq).filter(|_| kind == Kind::NDeath);
        let is_stale = bd_seq.zip(born).is_some_and(|(bd_seq, born)| bd_seq != born);
        if is_stale && self.config.stale_deaths == StaleDeaths::Drop {
            return Ok(Decision::drop("death of another session"));
        }
        if !self.config.types.contains(&kind) {
            return Ok(Decision::drop("type not wanted"));
        }

        let known: Vec<Known> = payload.metrics.iter().map(|metric| Known::new(*metric, birth.as_deref())).collect();
        let mut outputs = Vec::new();
        if let Some(unknown) = known.iter().find(|metric| metric.is_unknown() && !kind.is_death()) {
            if self.config.unknown == Unknown::Reject {
                return Err(Failure::reject(unknown.told(&key)));
            }
            outputs.extend(self.rebirth(source, &edge_key, &address, message.received_ms));
        }
        let is_dropped =
            self.config.unknown == Unknown::Drop && known.iter().any(Known::is_unknown) && !kind.is_death();
        if !is_dropped {
            let head = Head {
                source,
                address,
                timestamp: payload.timestamp,
                seq: payload.seq,
                expected,
                bd_seq,
                born: born.filter(|_| is_stale),
            };
            match self.config.output {
                Shape::Payload => outputs.push(self.whole(&head, &payload, &known)?),
                Shape::Metric => self.each(&head, &known, &mut outputs)?,
            }
        }
        let is_json = |output: &&mut Output| output.qos.is_none();
        for output in outputs.iter_mut().filter(is_json) {
            output.properties = retyped(&message.properties, Some("application/json")).map(Box::new);
        }
        match outputs.is_empty() {
            false => Ok(Decision::forward(outputs)),
            true if is_dropped => Ok(Decision::drop("no birth seen")),
            true => Ok(Decision::drop("no metrics")),
        }
    }

    /// The number of `seq` that was due, if another one came. Not of what is delivered again, which is none of its place.
    fn due(&mut self, edge: &str, kind: Kind, payload: &Payload, redelivered: bool) -> Option<u8> {
        let followed = self.births.follow(edge);
        let seq = u8::try_from(payload.seq?).ok()?;
        if redelivered || kind.is_command() || kind == Kind::NDeath {
            return None;
        }
        let due = followed.seq.replace(seq)?.wrapping_add(1);
        (self.config.note_gaps && kind != Kind::NBirth && due != seq).then_some(due)
    }

    /// Asks the edge node for its birth, if that is wanted and not too often.
    fn rebirth(&mut self, source: &str, edge: &str, address: &Address, now_ms: u64) -> Option<Output> {
        let every = self.config.rebirth_every?;
        let followed = self.births.follow(edge);
        if followed.asked_ms.is_some_and(|asked_ms| now_ms >= asked_ms && now_ms - asked_ms < every.ms) {
            return None;
        }
        let second = now_ms / 1000;
        if self.rebirths.second != second {
            self.rebirths = Rebirths { second, asked: 0 };
        }
        if self.rebirths.asked >= MAX_REBIRTHS_PER_SECOND {
            return None;
        }
        self.rebirths.asked += 1;
        followed.asked_ms = Some(now_ms);
        log::info!("the birth of {edge} was missed: asking for it");
        let target = self.config.rebirth_to.as_deref().unwrap_or(source);
        let topic = Address { kind: Kind::NCmd, device: None, ..*address }.topic();
        let command = Output::target(target).topic(topic).payload(rebirth_command(now_ms));
        Some(command.qos(Qos::AtMostOnce).retain(false))
    }

    /// One message of the whole payload.
    fn whole(&self, head: &Head, payload: &Payload, known: &[Known]) -> Result<Output, Failure> {
        let mut json = Json::new(self.config.style(), self.config.max_output_bytes);
        json.open(b'{');
        head.write(&mut json, head.timestamp);
        if let Some(uuid) = payload.uuid {
            json.member("uuid").text(uuid);
        }
        if let Some(body) = payload.body {
            json.member("body").base64(body);
        }
        json.member("metrics").open(b'[');
        for metric in known {
            json.open(b'{');
            metric.write(&mut json, true)?;
            json.close(b'}');
            self.check_room(&json, 0)?;
        }
        json.close(b']');
        json.close(b'}');
        self.check_room(&json, 0)?;
        let topic = self.topic.topic(head.source, &head.address, None).map_err(Failure::reject)?;
        Ok(Output::onward().topic(topic).payload(json.into_bytes()))
    }

    /// One message of each metric, behind one of a birth or death itself.
    fn each(&self, head: &Head, known: &[Known], outputs: &mut Vec<Output>) -> Result<(), Failure> {
        let kind = head.address.kind;
        let is_event = kind.is_birth() || kind.is_death();
        let metrics = if kind.is_death() { &[] } else { known };
        let count = outputs.len() + usize::from(is_event) + metrics.len();
        if count > self.config.max_outputs {
            let max = self.config.max_outputs;
            return Err(Failure::reject(format!(
                "{count} messages of one {}, more than {max}: raise `limits.outputs` and `max_outputs`, or set \
                 `output = \"payload\"`",
                kind.name()
            )));
        }
        let mut bytes = 0;
        for metric in is_event.then_some(None).into_iter().chain(metrics.iter().map(Some)) {
            let mut json = Json::new(self.config.style(), self.config.max_output_bytes - bytes);
            json.open(b'{');
            head.write(&mut json, metric.and_then(|metric| metric.metric.timestamp).or(head.timestamp));
            let mut name = None;
            if let Some(metric) = metric {
                metric.write(&mut json, false)?;
                name = Some(metric.topic_name());
            }
            json.close(b'}');
            self.check_room(&json, bytes)?;
            let topic = self.topic.topic(head.source, &head.address, name.as_deref()).map_err(Failure::reject)?;
            bytes += topic.len() + json.len();
            outputs.push(Output::onward().topic(topic).payload(json.into_bytes()));
            if bytes >= self.config.max_output_bytes {
                return Err(self.too_large());
            }
        }
        Ok(())
    }

    fn check_room(&self, json: &Json, before: usize) -> Result<(), Failure> {
        if json.is_full() || before + json.len() > self.config.max_output_bytes {
            Err(self.too_large())
        } else {
            Ok(())
        }
    }

    fn too_large(&self) -> Failure {
        let max = self.config.max_output_bytes;
        Failure::reject(format!("more than {max} bytes of JSON: raise `limits.output_size` and `max_output_bytes`"))
    }
}

impl Head<'_> {
    fn write(&self, json: &mut Json, timestamp: Option<u64>) {
        let Address { group, kind, edge, device } = self.address;
        json.member("group").text(group);
        json.member("edge").text(edge);
        if let Some(device) = device {
            json.member("device").text(device);
        }
        json.member("type").text(kind.name());
        if let Some(timestamp) = timestamp {
            json.member("timestamp").u64(timestamp);
        }
        if let Some(seq) = self.seq {
            json.member("seq").u64(seq);
        }
        if let Some(expected) = self.expected {
            json.member("seq_expected").u64(u64::from(expected));
        }
        if kind.is_birth() || kind.is_death() {
            json.member("online").bool(kind.is_birth());
        }
        if let Some(bd_seq) = self.bd_seq.filter(|_| matches!(kind, Kind::NBirth | Kind::NDeath)) {
            json.member("bd_seq").u64(bd_seq);
        }
        if let Some(born) = self.born {
            json.member("bd_seq_of_birth").u64(born);
        }
    }
}

impl<'a> Known<'a> {
    fn new(metric: Metric<'a>, birth: Option<&Birth>) -> Self {
        // Some encoders write an empty name beside an alias.
        let name = metric.name.filter(|name| !name.is_empty() || metric.alias.is_none());
        let definition = match (name, metric.alias) {
            (Some(name), _) => birth.and_then(|birth| birth.by_name(name)),
            (None, Some(alias)) => birth.and_then(|birth| birth.by_alias(alias)),
            (None, None) => None,
        };
        let defined = definition.and_then(|definition| definition.datatype);
        let datatype = metric.datatype.filter(|datatype| *datatype != 0).or(defined).or(metric.datatype);
        let name = name.map(Cow::Borrowed);
        let name = name.or_else(|| definition.map(|definition| Cow::Owned(definition.name.to_string())));
        Self { metric, name, datatype: datatype.map(Datatype) }
    }

    /// Whether only a birth that was not seen could say what it is.
    fn is_unknown(&self) -> bool {
        self.name.is_none() || self.datatype.is_none() && self.metric.value.is_some() && !self.metric.is_null
    }

    fn told(&self, key: &str) -> String {
        let what = match (&self.name, self.metric.alias) {
            (Some(name), _) => format!("no birth of {key} says the datatype of `{name}`"),
            (None, Some(alias)) => format!("no birth of {key} names alias {alias}"),
            (None, None) => "a metric without a name or an alias".to_owned(),
        };
        format!("{what}: see `unknown` and `rebirth_every`")
    }

    /// What stands for it in a topic.
    fn topic_name(&self) -> Cow<'_, str> {
        match (&self.name, self.metric.alias) {
            (Some(name), _) => Cow::Borrowed(name),
            (None, Some(alias)) => Cow::Owned(format!("alias-{alias}")),
            (None, None) => Cow::Borrowed("nameless"),
        }
    }

    /// The members of its own.
    fn write(&self, json: &mut Json, with_timestamp: bool) -> Result<(), Failure> {
        if let Some(name) = &self.name {
            json.member("name").text(name);
        }
        if let Some(alias) = self.metric.alias.filter(|_| self.name.is_none()) {
            json.member("alias").u64(alias);
        }
        if let Some(timestamp) = self.metric.timestamp.filter(|_| with_timestamp) {
            json.member("timestamp").u64(timestamp);
        }
        write_metric(json, &self.metric, self.datatype, 0).map_err(|malformed| Failure::reject(malformed.to_string()))
    }
}

fn says_all(metric: &Metric) -> bool {
    metric.name.is_some_and(|name| !name.is_empty()) && metric.datatype.is_some_and(|datatype| datatype != 0)
}

fn bd_seq(payload: &Payload) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.name == Some(BD_SEQ))?;
    match metric.value? {
        Raw::Int(number) => Some(u64::from(number)),
        Raw::Long(number) => Some(number),
        _ => None,
    }
}

fn rebirth_command(now_ms: u64) -> Vec<u8> {
    let mut metric = wire::Message::new();
    metric.text(1, "Node Control/Rebirth");
    metric.u64(3, now_ms);
    metric.u64(4, u64::from(Datatype::BOOLEAN.0));
    metric.bool(14, true);
    let mut payload = wire::Message::new();
    payload.u64(1, now_ms);
    payload.message(2, metric);
    payload.into_bytes()
}
