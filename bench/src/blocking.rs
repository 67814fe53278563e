//! A plain client that does one thing after another.

use crate::wire::{self, frame};
use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Nothing takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Nothing more comes.
const SILENCE: Duration = Duration::from_secs(20);

/// Of a payload.
const PAYLOAD_BYTES: usize = 50;

/// Read at a time.
const READ_BYTES: usize = 1 << 18;

/// Messages of QoS 1 on their way.
const WINDOW: usize = 1000;

const CONNACK: u8 = 2;
const SUBACK: u8 = 9;

/// A client of MQTT 3.1.1 on a socket that blocks.
pub(crate) struct Client {
    stream: TcpStream,
    out: Vec<u8>,
    read: Vec<u8>,
    /// How much of it was looked at.
    at: usize,
    next_id: u16,
    unacknowledged: usize,
}

impl Client {
    pub(crate) fn connect(port: u16, id: &str, is_clean: bool) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, out: Vec::new(), read: Vec::new(), at: 0, next_id: 0, unacknowledged: 0 };
        wire::put_connect(&mut client.out, id, is_clean);
        client.flush()?;
        client.until(CONNACK)?;
        Ok(client)
    }

    fn id(&mut self) -> [u8; 2] {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id.to_be_bytes()
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> Result<()> {
        let id = self.id();
        wire::put_subscribe(&mut self.out, id, filter, qos);
        self.flush()?;
        self.until(SUBACK)
    }

    /// Written when there is enough of it.
    pub(crate) fn publish(&mut self, topic: &str, qos: u8, retain: bool) -> Result<()> {
        let id = (qos > 0).then(|| self.id());
        wire::put_publish(&mut self.out, topic, qos, retain, id, PAYLOAD_BYTES);
        self.unacknowledged += usize::from(qos > 0);
        if self.unacknowledged > WINDOW {
            return self.acknowledged(WINDOW / 2);
        }
        if self.out.len() > READ_BYTES { self.flush() } else { Ok(()) }
    }

    pub(crate) fn retain(&mut self, count: usize) -> Result<()> {
        for number in 0..count {
            self.publish(&format!("site/{}/dev/{number}/temp", number % 100), 0, true)?;
        }
        // What comes last is acknowledged last.
        self.publish("last", 1, false)?;
        self.acknowledged(0)
    }

    /// Waits until no more than this many messages of QoS 1 are not acknowledged.
    pub(crate) fn acknowledged(&mut self, most: usize) -> Result<()> {
        self.flush()?;
        while self.unacknowledged > most {
            self.until(wire::PUBACK)?;
            self.unacknowledged -= 1;
        }
        Ok(())
    }

    /// Subscribes to everything, and counts what is retained until all of it is there or nothing comes any more.
    pub(crate) fn take_all(&mut self, count: usize) -> Result<usize> {
        self.subscribe("site/#", 0)?;
        self.stream.set_read_timeout(Some(SILENCE))?;
        let mut seen = 0;
        while seen < count && self.until(wire::PUBLISH).is_ok() {
            seen += 1;
        }
        Ok(seen)
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Reads up to the next packet of this kind.
    pub(crate) fn until(&mut self, kind: u8) -> Result<()> {
        loop {
            while let Some((_, end)) = frame(&self.read[self.at..]) {
                let found = self.read[self.at] >> 4;
                self.at += end;
                if found == kind {
                    return Ok(());
                }
            }
            self.read.drain(..self.at);
            self.at = 0;
            let filled = self.read.len();
            self.read.resize(filled + READ_BYTES, 0);
            let count = self.stream.read(&mut self.read[filled..]);
            self.read.truncate(filled + count.as_ref().copied().unwrap_or(0));
            if count? == 0 {
                bail!("the broker has closed the connection");
            }
        }
    }
}
