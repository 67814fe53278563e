//! Who is let in.

use crate::settings::Settings;
use crate::shared::SharedBroker;
use tidegate_message::ByteString;
use tidegate_mqtt::{Connect, ReasonCode};
use tidegate_transport::PeerNames;

/// The user name that a client's certificate gives it; `None`: that is no matter of its certificate.
pub(crate) fn by_certificate(settings: &Settings, names: Option<&PeerNames>) -> Result<Option<ByteString>, ReasonCode> {
    let (Some(identity), Some(names)) = (settings.identity, names) else { return Ok(None) };
    let name = identity.of(names).ok_or(ReasonCode::NOT_AUTHORIZED)?;
    Ok(Some(name.into()))
}

/// Checks user name and password. The hash is computed on another thread, a few at a time.
/// What `may_try` refuses is asked nothing.
pub(crate) async fn check(
    shared: &SharedBroker,
    settings: &Settings,
    connect: &Connect,
    may_try: impl Fn() -> Result<(), ReasonCode>,
) -> Result<(), ReasonCode> {
    let (Some(users), Some(name)) = (&settings.users, &connect.username) else {
        // Without a user file a name says nothing; with one, no name is nobody.
        return if settings.allow_anonymous { Ok(()) } else { Err(ReasonCode::NOT_AUTHORIZED) };
    };
    let (users, name) = (users.clone(), name.to_string());
    let password = connect.password.clone().unwrap_or_default();
    let Ok(_permit) = shared.password_checks.acquire().await else { return Err(ReasonCode::SERVER_UNAVAILABLE) };
    // Others from there may have failed while this one waited for its turn.
    may_try()?;
    match tokio::task::spawn_blocking(move || users.verify(&name, &password)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        Err(_) => Err(ReasonCode::SERVER_UNAVAILABLE),
    }
}

/// Whether a client that has shown who it is by these settings would have by those.
pub(crate) fn still_holds(before: &Settings, now: &Settings, connect: &Connect) -> Result<(), ReasonCode> {
    let name = connect.username.as_deref().unwrap_or_default();
    match (&before.users, &now.users) {
        _ if now.server_reference.is_some() => Err(ReasonCode::USE_ANOTHER_SERVER),
        (Some(before), Some(now)) if before.agree_on(now, name) => Ok(()),
        _ => Err(ReasonCode::NOT_AUTHORIZED),
    }
}
