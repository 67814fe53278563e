//! Asks a running gateway through its admin listener.

use crate::Failure;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tidegate_admin::{owner_key, told_address};
use tidegate_config::{AdminAddr, AdminTls, Config, Secret};
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

/// Where a gateway is asked, and how.
struct Place<'a> {
    listen: AdminAddr,
    tls: Option<&'a AdminTls>,
    token: Option<String>,
}

/// Sends one request to the listener of a configuration and returns the body of a good answer.
pub(crate) fn ask(config: &Config, method: &str, path: &str) -> Result<String, Failure> {
    let mut place = place(config)?;
    let mut answer = request(&place, method, path)?;
    // What is in that folder may be another gateway's, and looking may need nothing.
    if answer.0 == "401" && method == "GET" && place.token.take().is_some() {
        let again = request(&place, method, path)?;
        answer = if again.0 == "200" { again } else { answer };
    }
    good(answer)
}

/// The same of a listener, as anybody on this machine may.
pub(crate) fn ask_at(listen: &AdminAddr, method: &str, path: &str) -> Result<String, Failure> {
    good(request(&Place { listen: listen.clone(), tls: None, token: None }, method, path)?)
}

/// The body, if the status is good.
fn good((status, body): (String, String)) -> Result<String, Failure> {
    match status.as_str() {
        "200" | "202" => Ok(body),
        status => Err(Failure::Unavailable(format!("the gateway answers {status}: {}", body.trim_end()))),
    }
}

/// What an answer says.
pub(crate) fn read<T: DeserializeOwned>(answer: &str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|error| {
        Failure::Unavailable(format!("the gateway that answers is of another version than this command: {error}"))
    })
}

/// Listens to what goes on: is called with the name and the data of each event, until it says no or the gateway ends.
pub(crate) fn listen(
    config: &Config,
    path: &str,
    mut each: impl FnMut(&str, &str) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let place = place(config)?;
    let stream = begin(&place, "GET", path, SILENCE)?;
    let mut lines = BufReader::new(stream).lines().map(|line| line.map_err(|error| gone(&place.listen, &error)));
    let head = lines.next().transpose()?.unwrap_or_default();
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    let mut body = lines.by_ref().skip_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).skip(1);
    if status != "200" {
        let words: Vec<String> = body.map_while(Result::ok).collect();
        return good((status.to_owned(), words.join(" "))).map(drop);
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

/// Where the gateway of a configuration is asked, and what shows that we may.
fn place(config: &Config) -> Result<Place<'_>, Failure> {
    let Some(admin) = &config.admin else {
        let words = "this configuration has no [admin] listener to ask; add `[admin]` with `listen`";
        return Err(Failure::Config(words.to_owned()));
    };
    let data_dir = &config.gateway.data_dir;
    let told = match &admin.listen {
        // A configuration may leave the port open.
        AdminAddr::Tcp(addr) if addr.port() == 0 => told_address(data_dir).map(AdminAddr::Tcp),
        _ => None,
    };
    let secret = |secret: &Option<Secret>| {
        let read = secret.as_ref()?.read().ok()?;
        String::from_utf8(read.expose().to_vec()).ok()
    };
    // Whoever may read in the gateway's folder needs nothing else.
    let token = owner_key(data_dir).or_else(|| secret(&admin.token)).or_else(|| secret(&admin.read_token));
    Ok(Place { listen: told.unwrap_or_else(|| admin.listen.clone()), tls: admin.tls.as_ref(), token })
}

fn gone(listen: &AdminAddr, error: &std::io::Error) -> Failure {
    let words = format!("the gateway does not answer at its admin listener {listen}: {error}; does it run?");
    Failure::Unavailable(words)
}

/// Through TLS, if the listener speaks it: with the certificate of the configuration, and no other.
fn wrapped(tls: Option<&AdminTls>, stream: TcpStream) -> Result<Box<dyn Talk>, Failure> {
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let wrong = |words: String| Failure::Config(format!("[admin] tls: {words}"));
    let settings = TlsSettings::of_server(&tls.cert)
        .map_err(|errors| wrong(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let name = rustls::pki_types::ServerName::try_from("localhost").map_err(|error| wrong(error.to_string()))?;
    let session = rustls::ClientConnection::new(settings.into_config(), name);
    Ok(Box::new(rustls::StreamOwned::new(session.map_err(|error| wrong(error.to_string()))?, stream)))
}

/// Connects and sends a request.
fn begin(place: &Place<'_>, method: &str, path: &str, patience: Duration) -> Result<Box<dyn Talk>, Failure> {
    let gone = |error: std::io::Error| gone(&place.listen, &error);
    let token =
        place.token.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.trim())).unwrap_or_default();
    // HTTP/1.0: the answer ends with the connection.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n{token}\r\n");
    let mut stream: Box<dyn Talk> = match &place.listen {
        AdminAddr::Tcp(addr) => {
            let stream = TcpStream::connect_timeout(addr, PATIENCE).map_err(gone)?;
            stream.set_read_timeout(Some(patience)).map_err(gone)?;
            wrapped(place.tls, stream)?
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

/// The status and the body of an answer.
fn request(place: &Place<'_>, method: &str, path: &str) -> Result<(String, String), Failure> {
    let stream = begin(place, method, path, PATIENCE)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(|error| gone(&place.listen, &error))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.split_whitespace().nth(1).unwrap_or_default().to_owned(), body.to_owned()))
}
