//! A client of NATS with blocking sockets: as much of the protocol as the tests need, and JetStream's API as JSON.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsMessage {
    /// Where it was published.
    pub subject: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// What was published.
    pub payload: Vec<u8>,
}

impl NatsMessage {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A connection. What cannot be sent or read panics.
#[derive(Debug)]
pub struct NatsClient {
    stream: BufReader<TcpStream>,
    count: u64,
}

impl NatsClient {
    /// Connects to a server on this machine.
    #[track_caller]
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a server");
        stream.set_read_timeout(Some(ANSWER)).expect("a timeout");
        let mut client = Self { stream: BufReader::new(stream), count: 0 };
        assert!(client.line().expect("INFO").starts_with("INFO "));
        client.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n");
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("written");
    }

    /// A line without its end; `None` if none comes in time.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    }

    /// Publishes, and waits for nothing.
    pub fn publish(&mut self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) {
        let mut head = b"NATS/1.0\r\n".to_vec();
        headers.iter().for_each(|(name, value)| head.extend(format!("{name}: {value}\r\n").into_bytes()));
        head.extend(b"\r\n");
        let line = format!("HPUB {subject} {} {}\r\n", head.len(), head.len() + payload.len());
        self.send(&[line.as_bytes(), &head, payload, b"\r\n"].concat());
    }

    fn subscribe(&mut self) -> String {
        self.count += 1;
        let inbox = format!("_INBOX.{}.{}", std::process::id(), self.count);
        self.send(format!("SUB {inbox} {}\r\n", self.count).as_bytes());
        inbox
    }

    /// The next message for the newest subscription; `None` if none comes in time.
    fn next(&mut self) -> Option<NatsMessage> {
        let until = Instant::now() + ANSWER;
        while Instant::now() < until {
            let line = self.line()?;
            let words: Vec<&str> = line.split(' ').collect();
            match words.first().copied() {
                Some("PING") => self.send(b"PONG\r\n"),
                Some("-ERR") => panic!("the server says {line}"),
                Some("MSG" | "HMSG") => {
                    let number = |at: usize| words[words.len() - at].parse::<usize>().expect("a number");
                    let (head, total) = if words[0] == "HMSG" { (number(2), number(1)) } else { (0, number(1)) };
                    let mut bytes = vec![0; total + 2];
                    self.stream.read_exact(&mut bytes).expect("a message");
                    bytes.truncate(total);
                    let payload = bytes.split_off(head);
                    if words[2] == self.count.to_string() {
                        let head = String::from_utf8_lossy(&bytes).into_owned();
                        let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
                        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
                        return Some(NatsMessage { subject: words[1].to_owned(), headers, payload });
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Asks JetStream something: what is behind `$JS.API.`, with its JSON. Null if nobody answers.
    pub fn api(&mut self, what: &str, request: &str) -> Value {
        let inbox = self.subscribe();
        self.send(format!("PUB $JS.API.{what} {inbox} {}\r\n{request}\r\n", request.len()).as_bytes());
        let answer = self.next();
        answer.and_then(|answer| serde_json::from_slice(&answer.payload).ok()).unwrap_or_default()
    }

    /// Makes a stream, with more keys of its configuration, such as `"num_replicas":3`.
    #[track_caller]
    pub fn make_stream(&mut self, name: &str, subjects: &[&str], keys: &str) {
        let more: Value = serde_json::from_str(&format!("{{{keys}}}")).expect("keys");
        let mut config = json!({
            "name": name, "subjects": subjects, "retention": "limits", "storage": "file", "max_consumers": -1,
            "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "discard": "old", "num_replicas": 1,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let made = self.api(&format!("STREAM.CREATE.{name}"), &config.to_string());
        assert!(made["error"].is_null() && made["config"].is_object(), "{made}");
    }

    /// Makes a durable pull consumer, with more keys of its configuration.
    #[track_caller]
    pub fn make_consumer(&mut self, stream: &str, name: &str, keys: &str) {
        let request = format!(
            r#"{{"stream_name":"{stream}","config":{{"durable_name":"{name}","ack_policy":"explicit",
               "deliver_policy":"all","replay_policy":"instant",{keys}}}}}"#
        );
        let made = self.api(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &request);
        assert!(made["error"].is_null() && made["config"].is_object(), "{made}");
    }

    /// How many messages a stream has.
    pub fn count(&mut self, stream: &str) -> u64 {
        self.api(&format!("STREAM.INFO.{stream}"), "{}")["state"]["messages"].as_u64().unwrap_or(0)
    }

    /// All messages of a stream, in order.
    #[track_caller]
    pub fn messages(&mut self, stream: &str) -> Vec<NatsMessage> {
        let count = self.count(stream) as usize;
        let asked = self.subscribe();
        let inbox = self.subscribe();
        let request = format!(
            r#"{{"stream_name":"{stream}","config":{{"deliver_subject":"{inbox}","ack_policy":"none",
               "deliver_policy":"all","replay_policy":"instant"}}}}"#
        );
        self.send(
            format!("PUB $JS.API.CONSUMER.CREATE.{stream} {asked} {}\r\n{request}\r\n", request.len()).as_bytes(),
        );
        let all: Vec<NatsMessage> = (0..count).map_while(|_| self.next()).collect();
        assert_eq!(all.len(), count, "all messages of the stream");
        all
    }
}
