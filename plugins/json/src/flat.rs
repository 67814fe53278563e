//! Objects within objects as one flat object, and back.

use crate::path::kind;
use jaq_json::{Map, Val};
use tidegate_sdk::json::MAX_DEPTH;

/// A flat object takes more than the tree it is made of, for each field has a key.
const MAX_FIELDS: usize = 10_000;

/// The keys of a flat object may take this much: long keys above many values would otherwise take more than all memory.
const MAX_KEY_BYTES: usize = 1 << 20;

/// And what is unflattened this much, by estimate.
const MAX_UNFLAT_BYTES: usize = 4 << 20;
const NODE_BYTES: usize = 320;

/// `{"a":{"b":1},"c":[2]}` becomes `{"a.b":1,"c.0":2}`. Empty objects and arrays stay values.
pub(crate) fn flatten(value: &Val, separator: &str) -> Result<Val, String> {
    let Val::Obj(_) = value else {
        return Err(format!("the payload is {}, no object", kind(value)));
    };
    let mut flat = Flat { separator, key: String::new(), key_bytes: 0, members: Map::default() };
    flat.add(value, 0)?;
    Ok(Val::obj(flat.members))
}

struct Flat<'a> {
    separator: &'a str,
    /// Of the value that is being added.
    key: String,
    key_bytes: usize,
    members: Map<Val, Val>,
}

impl Flat<'_> {
    fn add(&mut self, value: &Val, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("deeper than {MAX_DEPTH} levels"));
        }
        match value {
            Val::Obj(object) if !object.is_empty() || depth == 0 => {
                for (key, member) in object.iter() {
                    let Val::TStr(key) = key else {
                        return Err(format!("a key that is {}", kind(key)));
                    };
                    self.below(&String::from_utf8_lossy(key), member, depth)?;
                }
            }
            Val::Arr(array) if !array.is_empty() => {
                for (i, element) in array.iter().enumerate() {
                    self.below(&i.to_string(), element, depth)?;
                }
            }
            other => {
                self.key_bytes += self.key.len();
                if self.key_bytes > MAX_KEY_BYTES {
                    return Err(format!("keys of more than {MAX_KEY_BYTES} bytes"));
                }
                if self.members.len() == MAX_FIELDS {
                    return Err(format!("more than {MAX_FIELDS} fields"));
                }
                if self.members.insert(Val::from(self.key.clone()), other.clone()).is_some() {
                    return Err(format!("two fields become `{}`", self.key));
                }
            }
        }
        Ok(())
    }

    fn below(&mut self, key: &str, value: &Val, depth: usize) -> Result<(), String> {
        let length = self.key.len();
        if depth > 0 {
            self.key.push_str(self.separator);
        }
        self.key.push_str(key);
        self.add(value, depth + 1)?;
        self.key.truncate(length);
        Ok(())
    }
}

/// The other way: what a key stands for is told by its separators, and what has the keys 0, 1, 2 and so on is an array.
pub(crate) fn unflatten(value: &Val, separator: &str) -> Result<Val, String> {
    let Val::Obj(object) = value else {
        return Err(format!("the payload is {}, no object", kind(value)));
    };
    if object.len() > MAX_FIELDS {
        return Err(format!("more than {MAX_FIELDS} fields"));
    }
    let mut root = Map::default();
    let mut key_bytes = 0;
    for (key, member) in object.iter() {
        let Val::TStr(bytes) = key else {
            return Err(format!("a key that is {}", kind(key)));
        };
        let key = String::from_utf8_lossy(bytes);
        // Each separator is an object.
        key_bytes += key.len() + NODE_BYTES * key.matches(separator).count();
        if key_bytes > MAX_UNFLAT_BYTES {
            return Err(format!("objects of more than {MAX_UNFLAT_BYTES} bytes"));
        }
        insert(&mut root, &key, separator, member)?;
    }
    Ok(Val::obj(root.into_iter().map(|(key, node)| (key, node.into_value())).collect()))
}

enum Node {
    Value(Val),
    Branch(Map<Val, Node>),
}

fn insert(root: &mut Map<Val, Node>, key: &str, separator: &str, value: &Val) -> Result<(), String> {
    let mut keys: Vec<&str> = key.split(separator).collect();
    if keys.len() > MAX_DEPTH {
        return Err(format!("deeper than {MAX_DEPTH} levels"));
    }
    let last = keys.pop().unwrap_or_default();
    let mut branch = root;
    for key in keys {
        let node = branch.entry(Val::from(key.to_owned())).or_insert_with(|| Node::Branch(Map::default()));
        branch = match node {
            Node::Branch(branch) => branch,
            Node::Value(_) => return Err(format!("`{key}` would be a value and hold others")),
        };
    }
    match branch.insert(Val::from(last.to_owned()), Node::Value(value.clone())) {
        None => Ok(()),
        Some(_) => Err(format!("`{key}` would be a value and hold others")),
    }
}

impl Node {
    fn into_value(self) -> Val {
        let branch = match self {
            Self::Value(value) => return value,
            Self::Branch(branch) => branch,
        };
        let is_array = branch.keys().enumerate().all(|(i, key)| *key == Val::from(i.to_string()));
        let values = branch.into_iter().map(|(key, node)| (key, node.into_value()));
        if is_array { values.map(|(_, value)| value).collect() } else { Val::obj(values.collect()) }
    }
}
