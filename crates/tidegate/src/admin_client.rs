//! Asks a running gateway through its admin listener.

use crate::Failure;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tidegate_config::{AdminAddr, Config};

/// No answer is longer: the configuration of 10,000 routes is a tenth of it.
const ANSWER_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends one request to the listener of a configuration and returns the body of a good answer.
pub(crate) fn ask(config: &Config, method: &str, path: &str) -> Result<String, Failure> {
    let Some(admin) = &config.admin else {
        let words = "this configuration has no [admin] listener to ask; add `[admin]` with `listen`";
        return Err(Failure::Config(words.to_owned()));
    };
    ask_at(&admin.listen, method, path)
}

/// The same of a listener.
pub(crate) fn ask_at(listen: &AdminAddr, method: &str, path: &str) -> Result<String, Failure> {
    let gone = |error: std::io::Error| {
        let words = format!("the gateway does not answer at its admin listener {listen}: {error}; does it run?");
        Failure::Unavailable(words)
    };
    // HTTP/1.0: the answer ends with the connection.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: tidegate\r\n\r\n");
    let mut answer = Vec::new();
    match listen {
        AdminAddr::Tcp(addr) => {
            let mut stream = TcpStream::connect_timeout(addr, PATIENCE).map_err(gone)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(gone)?;
            stream.write_all(request.as_bytes()).map_err(gone)?;
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(gone)?;
        }
        AdminAddr::Unix(path) => {
            let mut stream = UnixStream::connect(path).map_err(gone)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(gone)?;
            stream.write_all(request.as_bytes()).map_err(gone)?;
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(gone)?;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    match status {
        "200" => Ok(body.to_owned()),
        _ => Err(Failure::Unavailable(format!("the gateway answers {status}: {}", body.trim_end()))),
    }
}
