//! What the import says that is otherwise is otherwise, in the way that it says.

use super::{Known, Pair, connect, drain, options};
use serde_json::{Value, json};
use std::io;
use tidegate_testkit::{Client, ClientOptions, Version};

/// What somebody tries.
#[derive(Clone, Copy)]
enum Try {
    /// To come in, with this client identifier.
    ComeIn(&'static str),
    Publish(&'static str),
    /// To be given what is published to the second, by subscribing to the first.
    Hear(&'static str, &'static str),
    /// The same, after it has ended its subscription.
    HearOn(&'static str, &'static str),
}

/// A client with a role of its own: what it tries, whether mosquitto lets it and whether Tidegate does, and what is said of it.
struct Case {
    /// The kind, the topic, the priority, and whether it allows.
    acls: &'static [(&'static str, &'static str, i64, bool)],
    tries: Try,
    theirs: bool,
    told: &'static str,
}

/// Denied by default, but to be given what was subscribed to.
const DENIED: &[Case] = &[
    Case {
        acls: &[("publishClientSend", "n/%c", 0, true)],
        tries: Try::Publish("n/of user 0"),
        theirs: false,
        told: "levels `%u` and `%c` of roles are the client's names here",
    },
    Case {
        acls: &[("publishClientSend", "n/x%u", 0, true)],
        tries: Try::Publish("n/x%u"),
        theirs: true,
        told: "`publishClientSend` of role `role 1` on `n/x%u`; a pattern is a topic filter, in which",
    },
    Case {
        acls: &[("subscribeLiteral", "l/#", 0, true)],
        tries: Try::Hear("l/a", "l/a"),
        theirs: false,
        told: "`subscribeLiteral` of role `role 2` allows `l/#`: here each filter within it may be subscribed to, too",
    },
    Case {
        acls: &[("subscribePattern", "#", 0, true), ("subscribeLiteral", "l/#", 0, false)],
        tries: Try::Hear("l/#", "l/a"),
        theirs: false,
        told: "`subscribeLiteral` of role `role 3` on `l/#`; a filter is refused where",
    },
    Case {
        acls: &[("subscribePattern", "/#", 0, true)],
        tries: Try::Hear("#", "l/a"),
        theirs: true,
        told: "`subscribePattern` of role `role 4` on `/#`: mosquitto 2.0 takes it for `#`, too",
    },
    Case {
        acls: &[("publishClientSend", "p/#", 0, false), ("publishClientSend", "p/a", 1, true)],
        tries: Try::Publish("p/a"),
        theirs: true,
        told: "role `role 5` allows `p/a` before it denies `p/#`: here what denies comes first",
    },
    Case {
        acls: &[("subscribePattern", "q/#", 5, false), ("subscribeLiteral", "q/a", 0, true)],
        tries: Try::Hear("q/a", "q/a"),
        theirs: true,
        told: "role `role 6` allows `q/a` before it denies `q/#`: here what denies comes first",
    },
    Case {
        acls: &[("subscribePattern", "e/#", 0, true), ("unsubscribePattern", "#", 0, false)],
        tries: Try::HearOn("e/a", "e/a"),
        theirs: true,
        told: "`unsubscribePattern` of role `role 7` on `#`; whoever has subscribed may end it",
    },
    Case { acls: &[], tries: Try::ComeIn("another"), theirs: false, told: "`user 8` may come in as `of user 8` only" },
    Case {
        acls: &[("subscribePattern", "s/#", 0, true)],
        tries: Try::Hear("$share/g/s/a", "s/a"),
        theirs: false,
        told: "a shared subscription is judged by its filter here",
    },
    Case {
        acls: &[("subscribePattern", "$share/g/t/#", 0, true)],
        tries: Try::Hear("t/a", "t/a"),
        theirs: false,
        told: "`subscribePattern` of role `role 10` on `$share/g/t/#`: here it may be subscribed to without sharing, too",
    },
];

/// Allowed by default, but to end a subscription.
const ALLOWED: &[Case] = &[
    Case {
        acls: &[],
        tries: Try::Publish("$q/a"),
        theirs: true,
        told: "by `defaultACLAccess` everybody publishes everywhere: here not to what begins with `$`",
    },
    Case {
        acls: &[],
        tries: Try::HearOn("e/a", "e/a"),
        theirs: true,
        told: "whoever has subscribed may end it, whatever `unsubscribe` of `defaultACLAccess` says",
    },
    Case {
        acls: &[("subscribeLiteral", "$share/g/s/#", 0, false)],
        tries: Try::Hear("$share/g/s/#", "s/a"),
        theirs: false,
        told: "`subscribeLiteral` of role `role 2` on `$share/g/s/#`; a shared subscription is judged by its filter",
    },
];

const JUDGE: &str = "judge";

fn file(cases: &[Case], known: &Known, lets: bool) -> Value {
    let acl = |(kind, topic, priority, allow): &(&str, &str, i64, bool)| json!({ "acltype": kind, "topic": topic, "priority": priority, "allow": allow });
    let role = |(at, case): (usize, &Case)| {
        let acls: Vec<Value> = case.acls.iter().map(acl).collect();
        json!({ "rolename": format!("role {at}"), "acls": acls })
    };
    let client = |(at, case): (usize, &Case)| {
        let name = format!("user {at}");
        let mut client = known.client(&name, json!([{ "rolename": format!("role {at}") }]));
        if matches!(case.tries, Try::ComeIn(_)) {
            client["clientid"] = json!(Known::client_id(&name));
        }
        client
    };
    let all = ["publishClientSend", "publishClientReceive", "subscribePattern"];
    // Not to `$q/a`, or a role would name it: nobody hears it here either.
    let judges: Vec<Value> = all.iter().map(|kind| acl(&(kind, "#", 0, true))).collect();
    let mut roles: Vec<Value> = cases.iter().enumerate().map(role).collect();
    roles.push(json!({ "rolename": JUDGE, "acls": judges }));
    let mut clients: Vec<Value> = cases.iter().enumerate().map(client).collect();
    clients.push(known.client(JUDGE, json!([{ "rolename": JUDGE }])));
    let defaults = json!({
        "publishClientSend": lets, "publishClientReceive": true, "subscribe": lets, "unsubscribe": !lets,
    });
    json!({ "defaultACLAccess": defaults, "clients": clients, "groups": [], "roles": roles })
}

/// Whether what a user tries is done.
fn is_done(port: u16, user: &str, tries: Try) -> io::Result<bool> {
    if let Try::ComeIn(client_id) = tries {
        return Ok(connect(port, &ClientOptions::new(Version::V5, client_id).login(user, user)).is_some());
    }
    let mut judge = Client::connect(port, &options(JUDGE))?;
    let mut client = Client::connect(port, &options(user))?;
    let (listener, speaker, topic) = match tries {
        Try::Publish(topic) => {
            judge.subscribe(&[(if topic.starts_with('$') { topic } else { "#" }, 0)])?;
            (&mut judge, &mut client, topic)
        }
        Try::Hear(filter, topic) | Try::HearOn(filter, topic) => {
            client.subscribe(&[(filter, 0)])?;
            if matches!(tries, Try::HearOn(..)) {
                client.unsubscribe(&[filter])?;
            }
            (&mut client, &mut judge, topic)
        }
        Try::ComeIn(_) => return Ok(false),
    };
    speaker.publish(topic, b"x", 1, false)?;
    Ok(drain(listener)?.iter().any(|(heard, _)| heard == topic))
}

#[test]
fn what_is_otherwise_is_told_and_what_is_told_is_otherwise() {
    let names: Vec<String> = (0..DENIED.len()).map(|at| format!("user {at}")).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).chain([JUDGE]).collect();
    let known = Known::of(&users);
    for (cases, lets) in [(DENIED, false), (ALLOWED, true)] {
        let file = file(cases, &known, lets);
        let pair = Pair::start(&file, false);
        for (case, user) in cases.iter().zip(&names) {
            let done = pair
                .ports()
                .map(|port| is_done(port, user, case.tries).unwrap_or_else(|error| panic!("{user}: {error}")));
            assert_eq!(done, [case.theirs, !case.theirs], "{user}, {} {}", case.told, pair.shown(&file));
            assert!(pair.told.contains(case.told), "{user}: no `{}` {}", case.told, pair.shown(&file));
        }
    }
}
