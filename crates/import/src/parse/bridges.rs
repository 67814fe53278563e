//! `connection`, `address` and `topic`, and what must hold of a bridge as a whole.

use super::{Above, Reader};
use crate::problem::{Place, shown};
use crate::settings::{Address, Bridge, Find};
use crate::topic_line;
use crate::words::{Words, atoi};
use std::collections::HashMap;
use tidegate_config::BrokerUrl;

/// Unless written, TLS or not.
const DEFAULT_PORT: u16 = 1883;

impl Reader<'_> {
    pub(super) fn before_connection(&mut self, place: &Place, name: &str) {
        let what = format!("{} is of a bridge, and no `connection` stands before it in this file", shown(name));
        self.problem(place, what, "move it behind the `connection NAME` that it belongs to");
    }

    pub(super) fn connection(&mut self, above: &mut Above, place: &Place, mut words: Words<'_>) {
        let Some(name) = words.word() else {
            return self.problem(place, "`connection` has no name", "write `connection NAME`");
        };
        let same = self.found.bridges.iter().find(|bridge| bridge.name == name).map(|bridge| bridge.place.clone());
        if let Some(first) = same {
            let what = format!("there is a connection {} already, at {first}", shown(name));
            self.problem(place, what, "give this one another name");
        }
        above.bridge = Some(self.found.bridges.len());
        let (topics, settings) = (Vec::new(), Vec::new());
        self.found.bridges.push(Bridge {
            place: place.clone(),
            name: name.to_owned(),
            addresses: Vec::new(),
            topics,
            settings,
        });
    }

    fn bridge(&mut self, above: &Above) -> Option<&mut Bridge> {
        above.bridge.and_then(|at| self.found.bridges.get_mut(at))
    }

    pub(super) fn addresses(&mut self, above: &Above, place: &Place, mut words: Words<'_>) {
        let Some(bridge) = self.bridge(above) else { return self.before_connection(place, "address") };
        if let Some(first) = bridge.addresses.first().map(|address| address.place.clone()) {
            let what = format!("this bridge has its addresses already, at {first}");
            return self.problem(place, what, "write all of them in one line");
        }
        let mut addresses = Vec::new();
        while let Some(word) = words.word().filter(|word| !word.starts_with('#')) {
            match read_address(place, word) {
                Ok(address) => addresses.push(address),
                Err((what, hint)) => return self.problem(place, what, hint),
            }
        }
        if addresses.is_empty() {
            return self.problem(place, "`address` names no broker", "write `address HOST:PORT`");
        }
        if let Some(bridge) = self.bridge(above) {
            bridge.addresses = addresses;
        }
    }

    pub(super) fn topic(&mut self, above: &Above, place: &Place, words: Words<'_>) {
        if above.bridge.is_none() {
            return self.before_connection(place, "topic");
        }
        match topic_line::read(place, words) {
            Ok(read) => {
                read.surprises.into_iter().for_each(|words| self.remark(place, words));
                if let Some(bridge) = self.bridge(above) {
                    bridge.topics.push(read.line);
                }
            }
            Err((what, hint)) => self.problem(place, what, hint),
        }
    }

    pub(super) fn check_bridges(&mut self) {
        let mut wrong = Vec::new();
        let mut local_ids: HashMap<String, &Place> = HashMap::new();
        for bridge in &self.found.bridges {
            let mut problem =
                |place: &Place, what: String, hint: &str| wrong.push((place.clone(), what, hint.to_owned()));
            let name = shown(&bridge.name);
            // What is missing may be a line that was refused.
            if bridge.addresses.is_empty() && self.problems.is_empty() {
                problem(&bridge.place, format!("connection {name} has no address"), "add `address HOST:PORT`");
            }
            if bridge.topics.is_empty() && self.problems.is_empty() {
                problem(&bridge.place, format!("connection {name} has no topic"), "add `topic PATTERN out 1`");
            }
            let settings = &bridge.settings[..];
            let psk = ["bridge_psk", "bridge_identity"].map(|name| settings.setting(name));
            let certificates = ["bridge_cafile", "bridge_capath", "bridge_certfile", "bridge_keyfile"];
            let certificate = certificates.iter().find_map(|name| settings.setting(name));
            if let (Some(psk), Some(_)) = (psk.iter().flatten().next(), certificate) {
                let what = format!("connection {name} has certificates and a pre-shared key");
                problem(&psk.place, what, "leave one of them out");
            }
            match psk {
                [Some(key), None] => {
                    problem(&key.place, "`bridge_psk` needs a `bridge_identity`".to_owned(), "add it");
                }
                [None, Some(identity)] => {
                    problem(&identity.place, "`bridge_identity` needs a `bridge_psk`".to_owned(), "add it");
                }
                _ => {}
            }
            let remote_id = settings.text("remote_clientid");
            // Without either it is made of the name of the machine and of the connection, which differs.
            let local_id = settings.text("local_clientid").map(str::to_owned);
            let local_id = local_id.or_else(|| remote_id.map(|id| format!("local.{id}")));
            if let Some(first) = local_id.and_then(|id| local_ids.insert(id, &bridge.place)) {
                let what = format!("connection {name} has the `local_clientid` of the one at {first}");
                problem(&bridge.place, what, "set `local_clientid`, each to another");
            }
        }
        wrong.into_iter().for_each(|(place, what, hint)| self.problem(&place, what, hint));
    }
}

/// `host`, `host:port`, `ipv6:port`: the last colon separates the port.
fn read_address(place: &Place, word: &str) -> Result<Address, (String, String)> {
    let (host, port) = match word.rsplit_once(':') {
        None => (word, DEFAULT_PORT),
        Some((host, port)) => match u16::try_from(atoi(port)) {
            Ok(number @ 1..) => (host, number),
            _ => {
                let hint = match word.contains("://") {
                    true => "write `address HOST:PORT`, without a scheme",
                    false => "write a port from 1 to 65535",
                };
                return Err((format!("{} is no port", shown(port)), hint.to_owned()));
            }
        },
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address = Address { place: place.clone(), host: host.to_owned(), port };
    match address.url("mqtt").parse::<BrokerUrl>() {
        Ok(_) => Ok(address),
        Err(_) if host.contains(':') => {
            let what = format!("mosquitto takes {} for the host {} and a port", shown(word), shown(host));
            Err((what, "write the port behind an IPv6 address: `address ::1:1883`".to_owned()))
        }
        Err(_) => Err((format!("{} is no host", shown(host)), "write a host name or an IP address".to_owned())),
    }
}

impl Address {
    /// As a url, IPv6 in brackets.
    pub(crate) fn url(&self, scheme: &str) -> String {
        match self.host.contains(':') {
            true => format!("{scheme}://[{}]:{}", self.host, self.port),
            false => format!("{scheme}://{}:{}", self.host, self.port),
        }
    }
}
