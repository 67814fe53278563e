//! A client that logs in by SCRAM (MQTT 5.0 section 4.12).

use super::end::End;
use super::turns::Client;
use crate::exchange::Exchange;
use crate::scram::Mechanism;
use crate::settings::Settings;
use std::future::poll_fn;
use tidegate_message::ByteString;
use tidegate_mqtt::{Batch, Connect, Control, ProtocolError, ReasonCode};
use tidegate_transport::ByteStream;
use tokio::io::AsyncWriteExt;

/// Asks the client to show who it is; then its user name is in `connect`, and what it is told last. Its certificate may have said who it is.
///
/// # Errors
/// The connection ends. Inside: why the client is not let in.
pub(super) async fn log_in<S: ByteStream>(
    client: &mut Client<S>,
    settings: &Settings,
    connect: &mut Connect,
    certified: Option<ByteString>,
) -> Result<Result<(), ReasonCode>, End> {
    let method = connect.auth_method.clone().unwrap_or_default();
    let (Some(mechanism), Some(users)) = (Mechanism::named(&method), &settings.users) else {
        return Ok(Err(ReasonCode::BAD_AUTHENTICATION_METHOD));
    };
    let first = connect.auth_data.take().unwrap_or_default();
    let (exchange, asked) = match Exchange::begin(users, mechanism, &first) {
        Ok(begun) => begun,
        Err(reason) => return Ok(Err(reason)),
    };
    let name = ByteString::from(exchange.username.as_str());
    let is_another = |other: &Option<ByteString>| other.as_ref().is_some_and(|other| *other != name);
    if is_another(&connect.username) || is_another(&certified) {
        return Ok(Err(ReasonCode::NOT_AUTHORIZED));
    }
    connect.username = Some(name);
    client.connection.session.borrow_mut().challenge(&method, asked.as_bytes());
    let question = client.connection.session.borrow_mut().tx().split();
    client.stream.write_all(&question).await.map_err(End::Broken)?;
    client.stream.flush().await.map_err(End::Broken)?;
    client.count_written(question.len());
    let (again, found, last) = wait_for_auth(client).await?;
    if again || found != method {
        return Ok(Err(ReasonCode::PROTOCOL_ERROR));
    }
    Ok(exchange.finish(&last).map(|shown| {
        connect.auth_data = Some(shown.into());
        client.connection.mechanism.set(Some(mechanism));
    }))
}

async fn wait_for_auth<S: ByteStream>(client: &mut Client<S>) -> Result<(bool, ByteString, bytes::Bytes), End> {
    let mut batch = Batch::default();
    loop {
        let read = poll_fn(|cx| client.poll_read(cx, &mut batch)).await;
        let auth = batch.control.drain(..).find_map(|(_, control)| match control {
            Control::Auth { again, method, data } => Some((again, method, data)),
            _ => None,
        });
        read?;
        if let Some(auth) = auth {
            return Ok(auth);
        }
        if client.connection.session.borrow().is_closed() {
            return Err(End::Protocol(ProtocolError::Unexpected("a challenge is larger than it takes")));
        }
    }
}
