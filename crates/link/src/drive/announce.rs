//! The first and the last words of a connection: birth and farewell messages, and the goodbye.

use super::{Drive, GOODBYE};
use crate::Port;
use crate::live::Live;
use tidegate_message::{Message, QoS};
use tidegate_mqtt::{PublishError, ReasonCode};
use tidegate_transport::{Stream, WRITE_BYTES};
use tokio::io::AsyncWriteExt;

impl<P: Port> Drive<P> {
    /// Publishes that we are here: before all else at QoS 0, otherwise as soon as there is room.
    pub(crate) fn publish_birth(&mut self, live: &mut Live) {
        if let Some(birth) = self.birth.as_ref().filter(|_| live.birth_due) {
            let published = self.shared.session.borrow_mut().publish_unwatched(birth.clone());
            live.birth_due = matches!(published, Err(PublishError::Full));
        }
    }

    /// Publishes what the owner says beside the port, behind the birth.
    pub(super) fn publish_own(&mut self, live: &Live) {
        if live.birth_due {
            return;
        }
        let mut session = self.shared.session.borrow_mut();
        self.shared.own.borrow_mut().while_taken(|message| {
            session.tx().len() < WRITE_BYTES
                && !matches!(session.publish_unwatched(message.clone()), Err(PublishError::Full))
        });
    }

    /// Tells the broker that we go, if we go of our own will or it broke the protocol; never waits long for it. What
    /// may not leave is not said, nor what is behind it.
    pub(super) async fn say_goodbye(&mut self, stream: &mut Stream, live: &mut Live, by_will: bool) {
        let last_words = {
            let mut session = self.shared.session.borrow_mut();
            if by_will {
                if let Some(farewell) = &self.farewell {
                    // Nobody waits for an answer any more, and an exchange of QoS 2 would stay open.
                    let farewell = Message { qos: farewell.qos.min(QoS::AtLeastOnce), ..farewell.clone() };
                    if session.publish_unwatched(farewell.clone()).is_err() {
                        let _ = session.publish_unwatched(Message { qos: QoS::AtMostOnce, ..farewell });
                    }
                }
                session.disconnect(ReasonCode::SUCCESS);
            }
            session.tx().split()
        };
        let goodbye = async {
            while self.allowed(live, last_words.len()) < last_words.len() {
                if !by_will {
                    return;
                }
                self.shared.wake.notified().await;
            }
            let _ = stream.write_all(&last_words).await;
            let _ = stream.shutdown().await;
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }
}
