//! A client that says again who it is (MQTT 5.0 section 4.12.1).

use super::end::End;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::scram::Mechanism;
use crate::session::SessionKey;
use tidegate_mqtt::{ProtocolError, ReasonCode};

/// Takes its AUTH, which is by the method by which it has said so before.
pub(super) fn on_auth(
    state: &BrokerState,
    key: SessionKey,
    connection: &Connection,
    begins: bool,
    method: &str,
    data: &[u8],
) -> Result<(), End> {
    let mechanism = connection.mechanism.get().filter(|known| Mechanism::named(method) == Some(*known));
    let unexpected = |what| {
        let error = ProtocolError::Unexpected(what);
        connection.session.borrow_mut().disconnect(error.reason());
        Err(End::Protocol(error))
    };
    let Some(mechanism) = mechanism else { return unexpected("AUTH by another method than before") };
    let going_on = connection.exchange.take();
    let shown = match (begins, going_on) {
        (true, _) => {
            let username = state.sessions.find(key).and_then(|session| session.username.as_deref());
            let users = state.settings.users.as_ref().ok_or(ReasonCode::NOT_AUTHORIZED);
            let begun = users.and_then(|users| Exchange::begin(users, mechanism, data));
            begun.and_then(|(exchange, asked)| {
                if username != Some(exchange.username.as_str()) {
                    return Err(ReasonCode::NOT_AUTHORIZED);
                }
                connection.session.borrow_mut().challenge(method, asked.as_bytes());
                connection.exchange.replace(Some(Box::new(exchange)));
                Ok(())
            })
        }
        (false, Some(exchange)) => exchange.finish(data).map(|last| {
            connection.session.borrow_mut().authenticated_again(method, last.as_bytes());
        }),
        (false, None) => return unexpected("AUTH goes on with what has not begun"),
    };
    shown.map_err(|_| {
        connection.session.borrow_mut().disconnect(ReasonCode::NOT_AUTHORIZED);
        End::Refused(ReasonCode::NOT_AUTHORIZED)
    })
}
