//! Carries messages and acknowledgements to the box's own broker.

use super::TURN_MESSAGES;
use crate::data_path::DataPath;
use crate::source_ack::SourceAck;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use tidegate_broker::{Local, Origin};
use tidegate_message::QoS;
use tidegate_router::BrokerId;
use tidegate_spool::ItemId;
use tokio::sync::Notify;

/// Publishes what waits in the lane, and passes acknowledgements on, in turns of its own: the broker may be in the
/// middle of one when they come up.
pub(super) async fn feed(path: Rc<RefCell<DataPath>>, at: BrokerId, local: Local, wake: Rc<Notify>) {
    loop {
        let waits = !path.borrow().end(at).owed.published.is_empty();
        tokio::select! {
            () = wake.notified() => {}
            () = local.durable_moved(), if waits => {}
        }
        loop {
            let now = Instant::now();
            if path.borrow().router.broker(at).is_gone() {
                return;
            }
            let acks: Vec<_> = path.borrow_mut().router.take_acks(at).collect();
            for ack in acks {
                if let SourceAck::Embedded(ack, _) = ack {
                    local.ack(ack);
                }
            }
            let (known, released) = {
                let mut path = path.borrow_mut();
                let durable = path.router.spool().durable();
                let owed = &mut path.end_mut(at).owed;
                let done = owed.releases.iter().take_while(|(sequence, _)| *sequence <= durable).count();
                (std::mem::take(&mut owed.known), owed.releases.drain(..done).collect::<Vec<_>>())
            };
            known.into_iter().for_each(|ack| local.ack(ack));
            released.iter().for_each(|(_, release)| local.confirm(release));
            let mut published = Vec::new();
            for _ in 0..TURN_MESSAGES {
                let next = {
                    let mut path = path.borrow_mut();
                    let moment = path.moment(now);
                    let next = path.router.pull(at, true, moment);
                    next.map(|(ticket, message)| (ticket, message, path.router.item(ticket)))
                };
                let Some((ticket, message, item)) = next else { break };
                // An error is what a client would get in PUBACK: this broker refuses the message.
                let reason = match item.filter(|_| message.qos == QoS::ExactlyOnce) {
                    Some(ItemId { sequence, index }) => local.publish_once(message, Origin { sequence, index }),
                    None => local.publish(message),
                };
                published.push((ticket, !reason.is_error()));
            }
            let goes_on = !published.is_empty();
            {
                let mut path = path.borrow_mut();
                if goes_on {
                    path.end_mut(at).owed.published.push_back((local.recorded(), published));
                }
                path.published_locally(at, local.durable(), now);
            }
            if !goes_on {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
