//! The least a bridge can do: one thread, one read, topics rewritten, one write. The floor to measure others by.
//!
//! It trusts its peers, keeps no state, survives nothing, and passes packet ids through: no gateway, only its cost.

use crate::messages::{FILTER, SINK_PREFIX, SOURCE_PREFIX};
use crate::wire::{self, Inbox};
use anyhow::{Context, Result};
use rustix::event::epoll;
use std::io::Write;
use std::net::TcpStream;

/// Carries from one port to the other until either end closes.
pub(crate) fn run(source_port: u16, sink_port: u16, qos: u8) -> Result<()> {
    let mut sink = connect(sink_port, "least-sink")?;
    let mut source = connect(source_port, "least-source")?;
    source.write_all(&subscribe(qos))?;

    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (stream, number) in [(&source, 0), (&sink, 1)] {
        epoll::add(&epoll, stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
    }
    let (mut from_source, mut from_sink) = (Inbox::new(), Inbox::new());
    let mut out = Vec::with_capacity(2 * wire::READ_BYTES);
    let mut events = Vec::with_capacity(2);
    loop {
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let open = if event.data.u64() == 0 {
                let open = from_source.turn(&mut source, |first, body| rewrite(&mut out, first, body))?;
                sink.write_all(&out)?;
                open
            } else {
                let open = from_sink.turn(&mut sink, |first, body| pass_ack(&mut out, first, body))?;
                source.write_all(&out)?;
                open
            };
            if !open {
                return Ok(());
            }
            out.clear();
        }
    }
}

#[inline]
fn rewrite(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    let topic = wire::text(body).filter(|_| first >> 4 == wire::PUBLISH);
    let Some((topic, rest)) =
        topic.and_then(|(topic, rest)| Some((topic.strip_prefix(SOURCE_PREFIX.as_bytes())?, rest)))
    else {
        return;
    };
    let topic_bytes = SINK_PREFIX.len() + topic.len();
    out.push(first);
    wire::put_length(out, 2 + topic_bytes + rest.len());
    out.extend_from_slice(&(topic_bytes as u16).to_be_bytes());
    out.extend_from_slice(SINK_PREFIX.as_bytes());
    out.extend_from_slice(topic);
    out.extend_from_slice(rest);
}

#[inline]
fn pass_ack(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    if first >> 4 == wire::PUBACK {
        out.extend_from_slice(&[first, body.len() as u8]);
        out.extend_from_slice(body);
    }
}

fn connect(port: u16, client_id: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("the least bridge connects")?;
    stream.set_nodelay(true)?;
    let mut packet = vec![0x10];
    wire::put_length(&mut packet, 12 + client_id.len());
    // MQTT 3.1.1, clean session, no keep-alive.
    packet.extend(b"\x00\x04MQTT\x04\x02\x00\x00");
    packet.extend((client_id.len() as u16).to_be_bytes());
    packet.extend(client_id.as_bytes());
    stream.write_all(&packet)?;
    Ok(stream)
}

fn subscribe(qos: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    wire::put_subscribe(&mut packet, [0, 1], FILTER, qos);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sink::Sink, source::Source};
    use std::time::Duration;
    use tidegate_testkit::within;

    #[test]
    fn all_of_it_arrives_in_order_with_new_topics() {
        for qos in 0..=1 {
            let (mut source, sink) = (
                Source::start(100, crate::messages::Load::default()).unwrap(),
                Sink::start(crate::messages::PAYLOAD_BEGINS).unwrap(),
            );
            let (from, to) = (source.port(), sink.port());
            let bridge = std::thread::spawn(move || run(from, to, qos));
            source.full_speed();
            assert!(within(Duration::from_secs(10), || sink.received() > 50_000));
            source.stop();
            assert!(within(Duration::from_secs(10), || sink.received() == source.published()));
            assert_eq!(sink.take_faults(), Default::default());
            assert!(!bridge.is_finished());
        }
    }
}
