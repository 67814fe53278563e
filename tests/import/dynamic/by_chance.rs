//! Files of the dynamic-security plugin with roles, groups and clients by chance.

use super::{JUDGE, Known, TREE};
use crate::fixture::Dice;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Names that clients may have.
pub(super) const USERS: [&str; 5] = ["ann", "bob", "cid", "dän lee", "+"];

const ROLES: [&str; 5] = ["r", "s", "t", "the role", "u"];
const GROUPS: [&str; 3] = ["g", "h", "the staff"];

/// What entries of roles are about. Not `/#`, nor `%u`: what is told of these is looked at by itself.
const FILTERS: [&str; 16] =
    ["#", "a/#", "a/+", "a", "a/b", "a/b/#", "+/b", "+/+/c", "b/c", "+", "+/#", "/a", "a/b d", "x/#", TREE, "$p/a"];

/// Each as often as it stands here.
const KINDS: [&str; 12] = [
    "publishClientSend",
    "publishClientSend",
    "publishClientReceive",
    "publishClientReceive",
    "publishClientReceive",
    "subscribePattern",
    "subscribePattern",
    "subscribePattern",
    "subscribeLiteral",
    "subscribeLiteral",
    "unsubscribeLiteral",
    "unsubscribePattern",
];

/// One of many.
fn one<'a>(dice: &mut Dice, of: &[&'a str]) -> &'a str {
    of[dice.between(0, of.len() as u64) as usize]
}

fn is_so(dice: &mut Dice, of: u64) -> bool {
    dice.between(0, of) == 0
}

/// With a priority, or with what stands for none.
fn ranked(dice: &mut Dice, key: &str, name: &str) -> Value {
    if is_so(dice, 3) { json!({ key: name }) } else { json!({ key: name, "priority": dice.between(0, 4) as i64 - 2 }) }
}

/// Some of these, each once.
fn some(dice: &mut Dice, key: &str, of: &[&str], most: u64) -> Vec<Value> {
    let mut names: Vec<&str> = (0..dice.between(0, most + 1)).map(|_| one(dice, of)).collect();
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(*name));
    names.into_iter().map(|name| ranked(dice, key, name)).collect()
}

fn role(dice: &mut Dice, name: &str) -> Value {
    let denies = if is_so(dice, 2) { 4 } else { u64::MAX };
    let mut literal = HashSet::new();
    let mut acls = Vec::new();
    for _ in 0..dice.between(1, 6) {
        let (kind, topic) = (one(dice, &KINDS), one(dice, &FILTERS));
        // The plugin does not write a literal one twice.
        if kind.ends_with("Literal") && !literal.insert((kind, topic)) {
            continue;
        }
        let (priority, allow) = (dice.between(0, 4) as i64 - 1, dice.between(0, denies) != 0);
        acls.push(json!({ "acltype": kind, "topic": topic, "priority": priority, "allow": allow }));
    }
    json!({ "rolename": name, "textname": "a role", "acls": acls })
}

/// Whoever is the judge may everything, whatever the rest of the file says.
fn judges_role() -> Value {
    let of = |kind: &str, topic: &str| json!({ "acltype": kind, "topic": topic, "priority": 0, "allow": true });
    let both = ["publishClientSend", "publishClientReceive"].map(|kind| [of(kind, "#"), of(kind, TREE)]);
    let mut acls = both.concat();
    acls.push(of("subscribePattern", "#"));
    json!({ "rolename": JUDGE, "acls": acls })
}

/// A file, and whether mosquitto is to let in who gives no name.
pub(super) fn file(dice: &mut Dice, known: &Known) -> (Value, bool) {
    let mut roles: Vec<Value> = ROLES.iter().map(|name| role(dice, name)).collect();
    roles.push(judges_role());
    // A wrong password costs a quarter of a second: not in each file.
    let mut outsider = if is_so(dice, 2) { Some(one(dice, &USERS)) } else { None };
    let mut clients = vec![known.client(JUDGE, json!([{ "rolename": JUDGE }]))];
    for user in USERS {
        let mut client = known.client(user, Value::Array(some(dice, "rolename", &ROLES, 2)));
        if is_so(dice, 5) {
            client["clientid"] = json!(Known::client_id(user));
        }
        if is_so(dice, 2) {
            client["textname"] = json!("a client");
            client["textdescription"] = json!("of the test");
        }
        if outsider.take_if(|outsider| *outsider == user).is_some() {
            if is_so(dice, 2) {
                client["disabled"] = json!(true);
            } else if let Some(client) = client.as_object_mut() {
                client.retain(|key, _| !["password", "salt", "iterations"].contains(&key.as_str()));
            }
        }
        clients.push(client);
    }
    let group = |dice: &mut Dice, name: &&str| {
        let (roles, clients) = (some(dice, "rolename", &ROLES, 2), some(dice, "username", &USERS, 2));
        json!({ "groupname": name, "roles": roles, "clients": clients })
    };
    let groups: Vec<Value> = GROUPS.iter().map(|name| group(dice, name)).collect();
    let mut file = json!({ "clients": clients, "groups": groups, "roles": roles });
    if !is_so(dice, 8) {
        let mut defaults = json!({});
        for kind in ["publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"] {
            // What is not said is denied.
            if !is_so(dice, 8) {
                defaults[kind] = json!(is_so(dice, 2));
            }
        }
        file["defaultACLAccess"] = defaults;
    }
    if is_so(dice, 4) {
        file["anonymousGroup"] = json!(one(dice, &GROUPS));
    }
    (file, is_so(dice, 4))
}
