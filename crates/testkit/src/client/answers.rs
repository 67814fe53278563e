//! What the client makes of each packet that the broker sends.

use super::{Client, RECEIVE_MAXIMUM, Received, Version};
use crate::packet::{self, Fields, Frame, Publish};
use std::io::{self, ErrorKind};
impl Client {
    pub(super) fn handle(&mut self, frame: Frame<'_>) -> io::Result<()> {
        match frame.kind() {
            packet::PUBLISH => self.on_publish(Publish::read(frame, self.options.version)?),
            packet::PUBACK | packet::PUBCOMP => self.complete(Fields(frame.body).u16()?)?,
            packet::PUBREC => self.on_pubrec(frame)?,
            packet::PUBREL => {
                let id = Fields(frame.body).u16()?;
                self.unreleased.remove(&id);
                packet::acknowledge(&mut self.tx, packet::PUBCOMP, id);
            }
            packet::SUBACK | packet::UNSUBACK => {
                let mut fields = Fields(frame.body);
                let id = fields.u16()?;
                if self.options.version == Version::V5 {
                    fields.skip_properties()?;
                }
                self.answer = Some((id, fields.0.to_vec()));
            }
            packet::PINGRESP => {}
            packet::DISCONNECT => {
                let reason = frame.body.first().copied().unwrap_or(0);
                let message = format!("the broker disconnects: {reason:#04x}");
                return Err(io::Error::new(ErrorKind::ConnectionAborted, message));
            }
            kind => return Err(packet::malformed(&format!("unexpected packet of type {kind}"))),
        }
        Ok(())
    }

    fn on_publish(&mut self, publish: Publish<'_>) {
        if publish.qos == 2 && !self.unreleased.insert(publish.id) {
            packet::acknowledge(&mut self.tx, packet::PUBREC, publish.id);
            return;
        }
        let received = Received {
            topic: publish.topic.to_owned(),
            payload: publish.payload.to_owned(),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.id,
        };
        if !self.options.manual_acks {
            self.ack(&received);
        }
        self.inbox.push_back(received);
    }

    fn on_pubrec(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let mut fields = Fields(frame.body);
        let id = fields.u16()?;
        let reason = fields.u8().unwrap_or(0);
        if reason >= 0x80 {
            return self.complete(id);
        }
        if let Some(outgoing) = self.outgoing.iter_mut().find(|outgoing| outgoing.id == id) {
            outgoing.released = true;
        }
        packet::acknowledge(&mut self.tx, packet::PUBREL, id);
        Ok(())
    }

    fn complete(&mut self, id: u16) -> io::Result<()> {
        let index = self.outgoing.iter().position(|outgoing| outgoing.id == id);
        let outgoing = index.and_then(|index| self.outgoing.remove(index));
        let outgoing = outgoing.ok_or_else(|| packet::malformed(&format!("an acknowledgement of nothing: {id}")))?;
        self.completed.push(outgoing.token);
        Ok(())
    }
}

/// Whether the session was kept, and the broker's receive maximum.
pub(super) fn connack(frame: Frame<'_>, version: Version) -> io::Result<(bool, usize)> {
    if frame.kind() != packet::CONNACK {
        return Err(packet::malformed("the first packet is no CONNACK"));
    }
    let mut fields = Fields(frame.body);
    let session_present = fields.u8()? & 1 == 1;
    let code = fields.u8()?;
    if code != 0 {
        let message = format!("the broker refuses the connection: {code:#04x}");
        return Err(io::Error::new(ErrorKind::ConnectionRefused, message));
    }
    let maximum = match version {
        Version::V311 => RECEIVE_MAXIMUM,
        Version::V5 => packet::receive_maximum(&mut fields)?.map_or(RECEIVE_MAXIMUM, usize::from),
    };
    Ok((session_present, maximum))
}
