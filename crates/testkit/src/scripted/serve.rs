//! What the broker does with each packet, where its habits say nothing else: as the standard says.

use super::habits::{Answer, End, Habit, Match};
use super::memory::{Memory, Published, Stage};
use super::properties::{Properties, Property, TOPIC_ALIAS};
use super::wire::{self, Hello, MQTT_5, Message, Packet, Subscription};
use crate::packet;

/// There is no message with this id (MQTT 5, 3.7.2.1).
const NO_SUCH_ID: u8 = 0x92;

/// There was no such subscription (MQTT 5, 3.11.3).
const NO_SUBSCRIPTION: u8 = 0x11;

/// Of an answer that belongs to nothing.
const WRONG_ID: u16 = 65_000;

impl Memory {
    /// One packet of a client. What ends the connection leaves it without a stream.
    pub(super) fn on_packet(&mut self, number: usize, packet: Packet) {
        self.hears(number, &packet);
        if self.connections[number - 1].silent {
            return;
        }
        match packet {
            Packet::Connect(hello) => self.on_connect(number, *hello),
            // Nothing is said to somebody who has not been welcomed.
            _ if self.connections[number - 1].client.is_none() => {}
            Packet::Subscribe(id, filters) => self.on_subscribe(number, id, filters),
            Packet::Unsubscribe(id, filters) => self.on_unsubscribe(number, id, &filters),
            Packet::Publish(message, id, dup) => self.on_publish(number, message, id, dup),
            Packet::Pubrel(id, _) => self.on_pubrel(number, id),
            Packet::Puback(id, _) | Packet::Pubcomp(id, _) => self.on_finished(number, id),
            Packet::Pubrec(id, code) => self.on_pubrec(number, id, code),
            Packet::Pingreq => {
                if !self.does(|habit| matches!(habit, Habit::IgnorePing)) {
                    self.tell(number, Packet::Pingreq, &[0xd0, 0]);
                }
            }
            Packet::Disconnect(_) => self.detach(number, true),
            Packet::Connack(..) | Packet::Suback(..) | Packet::Unsuback(_) | Packet::End => {}
        }
    }

    fn on_connect(&mut self, number: usize, mut hello: Hello) {
        let level = hello.level & !wire::BRIDGE_BIT;
        self.connections[number - 1].level = level;
        let answer = self.script.shows(|habit| match habit {
            Habit::AnswerHello(levels, answer) if levels.contains(&hello.level) => Some(answer.clone()),
            _ => None,
        });
        let properties = self.script.all(|habit| match habit {
            Habit::Connack(property) => Some(property.clone()),
            _ => None,
        });
        let mut properties = Properties(properties.collect());
        if hello.client_id.is_empty() {
            hello.client_id = format!("nameless-{number}");
            properties.0.push(Property::assigned_client_id(&hello.client_id));
        }
        let mut bytes = Vec::new();
        match answer {
            None => self.welcome(number, &hello, &properties),
            Some(Answer::Silence) => self.connections[number - 1].silent = true,
            Some(Answer::End(end)) => self.end(number, &end),
            Some(Answer::Refuse(code)) => {
                wire::connack(&mut bytes, level, false, code, &properties);
                self.tell(number, Packet::Connack(false, code), &bytes);
                self.end(number, &End::fin());
            }
            Some(Answer::RefuseAs3(code)) => {
                wire::connack(&mut bytes, 4, false, code, &Properties::default());
                self.tell(number, Packet::Connack(false, code), &bytes);
                self.end(number, &End::fin());
            }
            Some(Answer::Bytes(answer)) => {
                self.tell(number, Packet::Connack(false, 0), &answer);
                self.end(number, &End::fin());
            }
        }
    }

    fn welcome(&mut self, number: usize, hello: &Hello, properties: &Properties) {
        let kept = self.attach(number, hello);
        let said = self.script.shows(|habit| match habit {
            Habit::SessionPresent(present) => Some(*present),
            _ => None,
        });
        let present = said.unwrap_or(kept);
        let mut bytes = Vec::new();
        wire::connack(&mut bytes, hello.level & !wire::BRIDGE_BIT, present, 0, properties);
        self.tell(number, Packet::Connack(present, 0), &bytes);
        let end = self.script.shows(|habit| match habit {
            Habit::EndAfterConnack(end) => Some(end.clone()),
            _ => None,
        });
        if let Some(end) = end {
            return self.end(number, &end);
        }
        let unasked: Vec<Message> = self
            .script
            .all(|habit| match habit {
                Habit::SendAtConnect(message) => Some(message.clone()),
                _ => None,
            })
            .collect();
        for (at, message) in unasked.into_iter().enumerate() {
            let (mut bytes, id) = (Vec::new(), WRONG_ID + 1 + at as u16);
            message.write(&mut bytes, hello.level & !wire::BRIDGE_BIT, id, false);
            self.tell(number, Packet::Publish(message, id, false), &bytes);
        }
        self.resume(&hello.client_id);
    }

    fn on_subscribe(&mut self, number: usize, id: u16, filters: Vec<(String, Subscription)>) {
        if self.does(|habit| matches!(habit, Habit::LoseSubscribe)) {
            return self.end(number, &End::fin());
        }
        if self.does(|habit| matches!(habit, Habit::IgnoreSubscribe)) {
            return;
        }
        let end = self.script.shows(|habit| match habit {
            Habit::HangUpOnFilter(filter, end) if filters.iter().any(|(asked, _)| asked == filter) => Some(end.clone()),
            _ => None,
        });
        if let Some(end) = end {
            return self.end(number, &end);
        }
        let Some(client) = self.connections[number - 1].client.clone() else { return };
        let (mut codes, mut retained) = (Vec::new(), Vec::new());
        for (filter, mut subscription) in filters {
            let refused = self.script.shows(|habit| match habit {
                Habit::RefuseFilter(refused, code) if *refused == filter => Some(*code),
                _ => None,
            });
            if let Some(code) = refused {
                codes.push(code);
                continue;
            }
            let highest = self.script.all(|habit| match habit {
                Habit::GrantAtMost(qos) => Some(*qos),
                _ => None,
            });
            subscription.qos = subscription.qos.min(highest.min().unwrap_or(2));
            codes.push(subscription.qos);
            let Some(session) = self.sessions.get_mut(&client) else { return };
            let new = session.subscriptions.insert(filter.clone(), subscription).is_none();
            if subscription.retain_handling == 0 || (subscription.retain_handling == 1 && new) {
                retained.extend(self.retained_for(&client, &filter, subscription));
            }
        }
        if self.does(|habit| matches!(habit, Habit::LoseSuback)) {
            return self.end(number, &End::fin());
        }
        let late = self.does(|habit| matches!(habit, Habit::RetainedBeforeSuback));
        if !late {
            self.granted(number, packet::SUBACK, id, &codes);
        }
        for message in retained {
            self.enqueue(&client, message);
        }
        if late {
            self.granted(number, packet::SUBACK, id, &codes);
        }
    }

    fn on_unsubscribe(&mut self, number: usize, id: u16, filters: &[String]) {
        if self.does(|habit| matches!(habit, Habit::LoseUnsubscribe)) {
            return self.end(number, &End::fin());
        }
        let Some(client) = self.connections[number - 1].client.clone() else { return };
        let Some(session) = self.sessions.get_mut(&client) else { return };
        let removed = filters.iter().map(|filter| session.subscriptions.remove(filter).is_some());
        let codes: Vec<u8> = removed.map(|was| if was { 0 } else { NO_SUBSCRIPTION }).collect();
        if self.does(|habit| matches!(habit, Habit::LoseUnsuback)) {
            return self.end(number, &End::fin());
        }
        let codes = if self.connections[number - 1].level == MQTT_5 { codes } else { Vec::new() };
        self.granted(number, packet::UNSUBACK, id, &codes);
    }

    fn granted(&mut self, number: usize, kind: u8, id: u16, codes: &[u8]) {
        let mut bytes = Vec::new();
        wire::granted(&mut bytes, kind, self.connections[number - 1].level, id, codes);
        let packet = match kind {
            packet::SUBACK => Packet::Suback(id, codes.to_vec()),
            _ => Packet::Unsuback(id),
        };
        if kind == packet::SUBACK && self.does(|habit| matches!(habit, Habit::HoldSuback)) {
            return self.held.push((number, packet, bytes));
        }
        self.tell(number, packet, &bytes);
    }

    fn on_publish(&mut self, number: usize, mut message: Message, id: u16, dup: bool) {
        let Some(client) = self.connections[number - 1].client.clone() else { return };
        if let Some(alias) = message.properties.number(TOPIC_ALIAS) {
            let known = self.connections[number - 1].aliases.entry(alias).or_default();
            match message.topic.is_empty() {
                true => message.topic.clone_from(known),
                false => known.clone_from(&message.topic),
            }
        }
        let hang_up = self.shows_for(&message, |habit| match habit {
            Habit::HangUpOnPublish(which, end) => Some((which, end.clone())),
            _ => None,
        });
        if let Some(end) = hang_up {
            return self.end(number, &end);
        }
        if self.shows_for(&message, |habit| ignored(habit).map(|which| (which, ()))).is_some() {
            return;
        }
        let qos = message.qos;
        let refused = self.shows_for(&message, |habit| match habit {
            Habit::RefusePublish(which, code, words) => Some((which, (*code, *words))),
            _ => None,
        });
        if let Some((code, words)) = refused {
            return match qos {
                0 => {}
                1 => self.answer(number, packet::PUBACK, id, code, words),
                // A PUBREC that refuses ends the exchange; on 3.x there is none.
                _ if self.connections[number - 1].level == MQTT_5 => {
                    self.answer(number, packet::PUBREC, id, code, words)
                }
                _ => self.acknowledge(number, &client, id, packet::PUBREC),
            };
        }
        let puback_for_2 = qos == 2 && self.does(|habit| matches!(habit, Habit::PubackForQos2));
        let never = qos == 2 && self.does(|habit| matches!(habit, Habit::NeverAnswerQos2));
        let known = self.sessions.get(&client).is_some_and(|session| session.unreleased.contains(&id));
        if qos < 2 || puback_for_2 || !known {
            self.take(number, &client, &message, dup);
        }
        let lost = self.shows_for(&message, |habit| match habit {
            Habit::LosePuback(which) => Some((which, ())),
            _ => None,
        });
        if lost.is_some() {
            if qos == 2
                && let Some(session) = self.sessions.get_mut(&client)
            {
                session.unreleased.insert(id);
            }
            return self.end(number, &End::fin());
        }
        match qos {
            0 => {}
            1 => self.acknowledge(number, &client, id, packet::PUBACK),
            _ if never => {}
            _ if puback_for_2 => self.acknowledge(number, &client, id, packet::PUBACK),
            _ => self.acknowledge(number, &client, id, packet::PUBREC),
        }
    }

    fn take(&mut self, number: usize, client: &str, message: &Message, dup: bool) {
        self.published.push(Published { connection: number, dup, message: message.clone() });
        if message.retain {
            match message.payload.is_empty() {
                true => drop(self.retained.remove(&message.topic)),
                false => drop(self.retained.insert(message.topic.clone(), message.clone())),
            }
        }
        self.route(message, Some(client));
    }

    /// PUBACK, PUBREC or PUBCOMP, as the habits have it.
    fn acknowledge(&mut self, number: usize, client: &str, id: u16, kind: u8) {
        if kind == packet::PUBREC
            && let Some(session) = self.sessions.get_mut(client)
        {
            session.unreleased.insert(id);
        }
        if self.does(|habit| matches!(habit, Habit::AnswerWrongId)) {
            self.answer(number, kind, WRONG_ID, 0, "");
        }
        self.answer(number, kind, id, 0, "");
        if self.does(|habit| matches!(habit, Habit::AnswerTwice)) {
            self.answer(number, kind, id, 0, "");
        }
    }

    fn answer(&mut self, number: usize, kind: u8, id: u16, code: u8, words: &str) {
        let mut bytes = Vec::new();
        wire::answer(&mut bytes, kind, self.connections[number - 1].level, id, code, words);
        let packet = match kind {
            packet::PUBACK => Packet::Puback(id, code),
            packet::PUBREC => Packet::Pubrec(id, code),
            packet::PUBREL => Packet::Pubrel(id, code),
            _ => Packet::Pubcomp(id, code),
        };
        self.tell(number, packet, &bytes);
    }

    fn on_pubrel(&mut self, number: usize, id: u16) {
        let Some(client) = self.connections[number - 1].client.clone() else { return };
        let known = self.sessions.get(&client).is_some_and(|session| session.unreleased.contains(&id));
        let hang_up = self.does(|habit| match habit {
            Habit::HangUpOnPubrel => true,
            Habit::HangUpOnUnknownPubrel => !known,
            _ => false,
        });
        if hang_up {
            return self.end(number, &End::fin());
        }
        let ignored = self.does(|habit| match habit {
            Habit::IgnorePubrel => true,
            Habit::IgnoreUnknownPubrel => !known,
            _ => false,
        });
        if ignored {
            return;
        }
        if self.does(|habit| matches!(habit, Habit::PubrecForPubrel)) {
            return self.answer(number, packet::PUBREC, id, 0, "");
        }
        if let Some(session) = self.sessions.get_mut(&client) {
            session.unreleased.remove(&id);
        }
        if self.does(|habit| matches!(habit, Habit::LosePubcomp)) {
            return self.end(number, &End::fin());
        }
        match known {
            true => self.acknowledge(number, &client, id, packet::PUBCOMP),
            false => self.answer(number, packet::PUBCOMP, id, NO_SUCH_ID, ""),
        }
    }

    fn on_finished(&mut self, number: usize, id: u16) {
        let Some(client) = self.connections[number - 1].client.clone() else { return };
        if let Some(session) = self.sessions.get_mut(&client) {
            session.outgoing.retain(|outgoing| outgoing.id != id || outgoing.stage == Stage::Waits);
        }
        self.pump(&client);
    }

    fn on_pubrec(&mut self, number: usize, id: u16, code: u8) {
        if code >= 0x80 {
            return self.on_finished(number, id);
        }
        let Some(client) = self.connections[number - 1].client.clone() else { return };
        if let Some(session) = self.sessions.get_mut(&client)
            && let Some(outgoing) = session.outgoing.iter_mut().find(|outgoing| outgoing.id == id)
        {
            outgoing.stage = Stage::Released;
        }
        self.answer(number, packet::PUBREL, id, 0, "");
    }
}

fn ignored(habit: &Habit) -> Option<&Match> {
    match habit {
        Habit::IgnorePublish(which) => Some(which),
        _ => None,
    }
}
