//! Asks a running gateway through its admin listener.

use crate::Failure;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tidegate_admin::{owner_key, told_address};
use tidegate_config::{Admin, AdminAddr, Config, Secret};
use tidegate_link::TlsSettings;

/// No answer is longer: the configuration of 10,000 routes is a tenth of it.
const ANSWER_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing may come of what goes on: the gateway says every 15 s that it is still there.
const SILENCE: Duration = Duration::from_secs(45);

/// What both kinds of socket are.
trait Talk: Read + Write {}
impl<T: Read + Write> Talk for T {}

/// Sends one request to the listener of a configuration and returns the body of a good answer.
pub(crate) fn ask(config: &Config, method: &str, path: &str) -> Result<String, Failure> {
    let admin = listener(config)?;
    let (listen, token) = (place(config, admin), token(config, admin));
    match request(admin, &listen, method, path, token.as_deref()) {
        // What is in that folder may be another gateway's, and looking may need nothing.
        Err(Failure::Unavailable(words)) if method == "GET" && words.contains("answers 401") => {
            request(admin, &listen, method, path, None).map_err(|_| Failure::Unavailable(words))
        }
        answer => answer,
    }
}

/// The same of a listener, as anybody on this machine may.
pub(crate) fn ask_at(listen: &AdminAddr, method: &str, path: &str) -> Result<String, Failure> {
    let admin =
        Admin { listen: listen.clone(), control: false, token: None, read_token: None, tls: None, hosts: Vec::new() };
    request(&admin, listen, method, path, None)
}

/// Listens to what goes on: is called with the name and the data of each event, until it says no or the gateway ends.
pub(crate) fn listen(
    config: &Config,
    path: &str,
    mut each: impl FnMut(&str, &str) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let admin = listener(config)?;
    let listen = place(config, admin);
    let stream = begin(admin, &listen, "GET", path, token(config, admin).as_deref(), SILENCE)?;
    let mut lines = BufReader::new(stream).lines().map(|line| line.map_err(|error| gone(&listen, &error)));
    let status = lines.next().transpose()?.unwrap_or_default();
    let mut body = lines.by_ref().skip_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).skip(1);
    if status.split_whitespace().nth(1) != Some("200") {
        let words: Vec<String> = body.map_while(Result::ok).collect();
        let status = status.split_whitespace().nth(1).unwrap_or_default();
        return Err(Failure::Unavailable(format!("the gateway answers {status}: {}", words.join(" "))));
    }
    let mut name = String::new();
    while let Some(line) = body.next().transpose()? {
        if let Some(found) = line.strip_prefix("event: ") {
            name = found.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ")
            && !each(&name, data)?
        {
            return Ok(());
        }
    }
    Err(Failure::Unavailable("the gateway has ended, or left this connection".to_owned()))
}

fn listener(config: &Config) -> Result<&Admin, Failure> {
    config.admin.as_ref().ok_or_else(|| {
        let words = "this configuration has no [admin] listener to ask; add `[admin]` with `listen`";
        Failure::Config(words.to_owned())
    })
}

/// Where the gateway listens: a configuration may leave the port open.
fn place(config: &Config, admin: &Admin) -> AdminAddr {
    match &admin.listen {
        AdminAddr::Tcp(addr) if addr.port() == 0 => {
            told_address(&config.gateway.data_dir).map_or_else(|| admin.listen.clone(), AdminAddr::Tcp)
        }
        other => other.clone(),
    }
}

/// What shows that we may. Whoever may read in the gateway's folder needs nothing else.
fn token(config: &Config, admin: &Admin) -> Option<String> {
    let secret = |secret: &Option<Secret>| {
        let read = secret.as_ref()?.read().ok()?;
        String::from_utf8(read.expose().to_vec()).ok()
    };
    owner_key(&config.gateway.data_dir).or_else(|| secret(&admin.token)).or_else(|| secret(&admin.read_token))
}

fn gone(listen: &AdminAddr, error: &std::io::Error) -> Failure {
    let words = format!("the gateway does not answer at its admin listener {listen}: {error}; does it run?");
    Failure::Unavailable(words)
}

/// Through TLS, if the listener speaks it: with the certificate of the configuration, and no other.
fn wrapped(admin: &Admin, stream: TcpStream) -> Result<Box<dyn Talk>, Failure> {
    let Some(tls) = &admin.tls else { return Ok(Box::new(stream)) };
    let wrong = |words: String| Failure::Config(format!("[admin] tls: {words}"));
    let settings = TlsSettings::of_server(&tls.cert)
        .map_err(|errors| wrong(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let name = rustls::pki_types::ServerName::try_from("localhost").map_err(|error| wrong(error.to_string()))?;
    let session = rustls::ClientConnection::new(settings.into_config(), name);
    Ok(Box::new(rustls::StreamOwned::new(session.map_err(|error| wrong(error.to_string()))?, stream)))
}

/// Connects and sends a request.
fn begin(
    admin: &Admin,
    listen: &AdminAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    patience: Duration,
) -> Result<Box<dyn Talk>, Failure> {
    let gone = |error: std::io::Error| gone(listen, &error);
    let token = token.map(|token| format!("Authorization: Bearer {}\r\n", token.trim())).unwrap_or_default();
    // HTTP/1.0: the answer ends with the connection.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n{token}\r\n");
    let mut stream: Box<dyn Talk> = match listen {
        AdminAddr::Tcp(addr) => {
            let stream = TcpStream::connect_timeout(addr, PATIENCE).map_err(gone)?;
            stream.set_read_timeout(Some(patience)).map_err(gone)?;
            wrapped(admin, stream)?
        }
        AdminAddr::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(gone)?;
            stream.set_read_timeout(Some(patience)).map_err(gone)?;
            Box::new(stream)
        }
    };
    stream.write_all(request.as_bytes()).map_err(gone)?;
    Ok(stream)
}

fn request(
    admin: &Admin,
    listen: &AdminAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> Result<String, Failure> {
    let stream = begin(admin, listen, method, path, token, PATIENCE)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(|error| gone(listen, &error))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    match status {
        "200" => Ok(body.to_owned()),
        _ => Err(Failure::Unavailable(format!("the gateway answers {status}: {}", body.trim_end()))),
    }
}
