//! A configuration to be written: tables, keys and comments, in the order of the file.

use std::fmt::Write;

/// How long a line of a comment is, in characters.
const WIDTH: usize = 110;

/// Tables, keys and comments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document(Vec<Item>);

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Blank,
    Comment(String),
    Table(String),
    Array(String),
    Key { key: String, value: Toml, comment: String },
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Toml {
    Text(String),
    Number(i64),
    Flag(bool),
    /// Texts in one line.
    Texts(Vec<String>),
    /// A text a line, each with a comment.
    Lines(Vec<(String, String)>),
    /// In one line.
    Table(Vec<(&'static str, Toml)>),
}

impl Toml {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

impl Document {
    pub(crate) fn blank(&mut self) {
        self.0.push(Item::Blank);
    }

    /// A comment on lines of its own, broken where it is too long.
    pub(crate) fn comment(&mut self, text: impl Into<String>) {
        self.0.push(Item::Comment(text.into()));
    }

    /// `[name]`; what follows belongs to it.
    pub(crate) fn table(&mut self, parts: &[&str]) {
        self.0.push(Item::Table(parts.join(".")));
    }

    /// `[[name]]`.
    pub(crate) fn array(&mut self, name: &str) {
        self.0.push(Item::Array(name.to_owned()));
    }

    /// `key = value`, with a comment behind it if that is not empty.
    pub(crate) fn key(&mut self, key: &str, value: Toml, comment: impl Into<String>) {
        self.0.push(Item::Key { key: key.to_owned(), value, comment: comment.into() });
    }

    /// The same, of a key that may be any text.
    pub(crate) fn quoted_key(&mut self, key: &str, value: Toml, comment: impl Into<String>) {
        let mut quoted = String::new();
        write_text(&mut quoted, key);
        self.key(&quoted, value, comment);
    }

    /// As TOML 1.0.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for item in &self.0 {
            match item {
                Item::Blank => text.push('\n'),
                Item::Comment(comment) => write_comment(&mut text, comment),
                Item::Table(name) => {
                    let _ = writeln!(text, "[{name}]");
                }
                Item::Array(name) => {
                    let _ = writeln!(text, "[[{name}]]");
                }
                Item::Key { key, value, comment } => {
                    let _ = write!(text, "{key} = ");
                    write_value(&mut text, value);
                    write_behind(&mut text, comment);
                }
            }
        }
        text
    }
}

fn write_comment(text: &mut String, comment: &str) {
    for line in comment.split('\n') {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let mut length = 0;
        for word in line.split(' ').filter(|word| !word.is_empty()) {
            let word = harmless(word);
            let chars = word.chars().count();
            if length == 0 || length + 1 + chars > WIDTH {
                // What goes on stands further in.
                let further = if length == 0 { "" } else { "  " };
                let new_line = if length == 0 { "" } else { "\n" };
                let _ = write!(text, "{new_line}# {indent}{further}{word}");
                length = indent.len() + further.len() + chars;
            } else {
                let _ = write!(text, " {word}");
                length += 1 + chars;
            }
        }
        text.push_str(if length == 0 { "#\n" } else { "\n" });
    }
}

fn write_behind(text: &mut String, comment: &str) {
    if !comment.is_empty() {
        let _ = write!(text, "  # {}", harmless(comment));
    }
    text.push('\n');
}

/// Comments have no control characters.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn write_value(text: &mut String, value: &Toml) {
    match value {
        Toml::Text(value) => write_text(text, value),
        Toml::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Toml::Flag(flag) => {
            let _ = write!(text, "{flag}");
        }
        Toml::Texts(list) => {
            text.push('[');
            for (at, value) in list.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write_text(text, value);
            }
            text.push(']');
        }
        Toml::Lines(list) => {
            text.push_str("[\n");
            for (value, comment) in list {
                text.push_str("    ");
                write_text(text, value);
                text.push(',');
                write_behind(text, comment);
            }
            text.push(']');
        }
        Toml::Table(keys) => {
            text.push_str("{ ");
            for (at, (key, value)) in keys.iter().enumerate() {
                let _ = write!(text, "{}{key} = ", if at == 0 { "" } else { ", " });
                write_value(text, value);
            }
            text.push_str(" }");
        }
    }
}

/// A basic string (TOML 1.0, "String").
fn write_text(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_in_order() {
        let mut document = Document::default();
        document.comment("first\n\n  second");
        document.table(&["brokers", "a"]);
        document.key("url", Toml::text("a\\\"\u{7}é"), "from here\n");
        document.key(
            "tls",
            Toml::Table(vec![("ca", Toml::text("x")), ("alpn", Toml::Texts(vec!["m".into(), "n".into()]))]),
            "",
        );
        document.blank();
        document.array("routes");
        document.key("topics", Toml::Lines(vec![("#".into(), "all".into()), ("b".into(), String::new())]), "");
        document.key("qos", Toml::Number(1), "");
        document.key("persist_qos0", Toml::Flag(true), "");
        let expected = "# first\n#\n#   second\n[brokers.a]\nurl = \"a\\\\\\\"\\u0007é\"  # from here\u{fffd}\n\
                        tls = { ca = \"x\", alpn = [\"m\", \"n\"] }\n\n[[routes]]\ntopics = [\n    \"#\",  # all\n    \"b\",\n]\n\
                        qos = 1\npersist_qos0 = true\n";
        assert_eq!(document.to_toml(), expected);
    }

    #[test]
    fn long_comments_are_broken_between_words() {
        let mut document = Document::default();
        document.comment("  ".to_owned() + &"word ".repeat(60));
        let text = document.to_toml();
        assert!(
            text.lines().count() == 3 && text.lines().all(|line| line.starts_with("#   ") && line.len() < 116),
            "{text}"
        );
    }
}
