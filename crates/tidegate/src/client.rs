//! `tidegate pub` and `tidegate sub`: small MQTT clients, to try a gateway and its brokers with.
//!
//! They are built on rumqttc, whose sessions are not the gateway's: what they see of it is what other people's clients
//! see. [`session`] is one connection, and the only place that tells MQTT 3.1.1 from 5; the demo's devices use it
//! too. [`words`] says what went wrong, [`mod@print`] how a message looks, and each command is a file.
//!
//! Neither client connects again: what was published or missed meanwhile would not be known. Both end with a code instead,
//! and whoever called them decides.

mod print;
pub(crate) mod publish;
pub(crate) mod session;
pub(crate) mod subscribe;
pub(crate) mod words;

use crate::{Failure, duration};
use session::{Options, Version};
use std::path::PathBuf;
use std::time::Duration;
use tidegate_config::{BrokerUrl, Scheme, Secret};
use tidegate_link::{TlsFiles, TlsSettings};

/// Where the password is if no file is named; an argument could be read by everybody on the machine.
const PASSWORD_VARIABLE: &str = "TIDEGATE_PASSWORD";

/// How both clients reach their broker.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The broker: mqtt://HOST or mqtt://HOST:PORT; mqtts:// for TLS, ws:// or wss:// for WebSocket; or unix:///PATH.
    #[arg(long, short, default_value = "mqtt://127.0.0.1:1883")]
    url: String,
    /// The version of MQTT.
    #[arg(long, value_enum, default_value_t = Version::V5)]
    mqtt_version: Version,
    /// The name to log in with. The password is in $TIDEGATE_PASSWORD, or in a file.
    #[arg(long)]
    username: Option<String>,
    /// A file that holds the password.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// With mqtts and wss: the certificates to trust, PEM. Those of the system otherwise.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// With mqtts and wss: our certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of that certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A file that holds the passphrase of that key.
    #[arg(long, value_name = "FILE", requires = "key")]
    key_password_file: Option<PathBuf>,
    /// The client identifier; a new one every time otherwise.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// How long the broker may take for each answer.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::duration)]
    timeout: Duration,
}

impl Connection {
    /// Reads the files and says what is wrong with the arguments, before anything is connected.
    ///
    /// # Errors
    /// [`Failure::Usage`], with what to do.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        let usage = |words: String| Failure::Usage(words);
        if self.url.contains('@') {
            return Err(usage("--url takes no user name; use --username, and --password-file for the password".into()));
        }
        let url: BrokerUrl = self.url.parse().map_err(|words| usage(format!("--url: {words}")))?;
        let secure = matches!(url.scheme, Scheme::Mqtts | Scheme::Wss);
        if !secure && (self.ca.is_some() || self.cert.is_some()) {
            return Err(usage("--ca and --cert are for mqtts:// and wss://; this url is not encrypted".into()));
        }
        let tls = if secure { Some(self.tls(&url.host)?) } else { None };
        Ok(Options {
            version: self.mqtt_version,
            url,
            tls,
            client_id: self.client_id.clone().unwrap_or_else(session::new_client_id),
            login: self.login()?,
            timeout: self.timeout,
        })
    }

    /// As strict as the gateway is; there is no way to trust everybody.
    fn tls(&self, host: &str) -> Result<TlsSettings, Failure> {
        let passphrase = self.key_password_file.clone().map(|path| Secret::File(path).read()).transpose();
        let passphrase = passphrase.map_err(|error| Failure::Usage(error.to_string()))?;
        let files = TlsFiles {
            ca: self.ca.as_deref(),
            fingerprint: None,
            client: self.cert.as_deref().zip(self.key.as_deref()),
            key_password: passphrase.as_ref().map(|passphrase| passphrase.expose()),
        };
        TlsSettings::new(files, host, &[]).map_err(|wrong| {
            let lines: Vec<_> = wrong.iter().map(|error| format!("--{}: {error}", error.key())).collect();
            Failure::Usage(lines.join("\n"))
        })
    }

    fn login(&self) -> Result<Option<(String, String)>, Failure> {
        let Some(username) = self.username.clone() else { return Ok(None) };
        let secret = match (&self.password_file, std::env::var_os(PASSWORD_VARIABLE)) {
            (Some(path), _) => Secret::File(path.clone()),
            (None, Some(_)) => Secret::Env(PASSWORD_VARIABLE.to_owned()),
            (None, None) => return Ok(Some((username, String::new()))),
        };
        let password = secret.read().map_err(|error| Failure::Usage(error.to_string()))?;
        let password = String::from_utf8(password.expose().to_vec());
        let password =
            password.map_err(|_| Failure::Usage("the password is not text, which rumqttc cannot send".into()))?;
        Ok(Some((username, password)))
    }
}
