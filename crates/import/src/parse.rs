//! From the text of a mosquitto.conf to settings with their places, line by line as mosquitto reads it.

mod bridges;
#[cfg(test)]
mod tests;

use crate::dynamic_security;
use crate::keywords::{self, Keyword, Kind, Scope};
use crate::problem::{Place, Problem, Problems, shown};
use crate::settings::{Listener, Mosquitto, Remark, Setting, Value};
use crate::words::{Words, atoi, expiration_hours, is_text, trimmed};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How files are read, so that reading a configuration can be tried without any.
pub trait Files {
    /// The whole of a file.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names of all that is in a folder, in any order; names that are not UTF-8 left out.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
}

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// The most files of all `include_dir`s.
const MAX_FILES: usize = 1000;
/// The most problems that are told.
const MAX_PROBLEMS: usize = 100;
/// The longest text, in bytes (`UINT16_MAX` in mosquitto).
const MAX_TEXT_BYTES: usize = 65_535;

/// Reads a configuration and what its `include_dir`s name.
///
/// # Errors
/// Everything that mosquitto 2.0 would refuse, and files that cannot be read.
pub fn parse(file: &Path, files: &dyn Files) -> Result<Mosquitto, Problems> {
    let mut reader = Reader { files, problems: Vec::new(), found: Mosquitto::default(), read: 0 };
    reader.file(file, true);
    reader.check_bridges();
    reader.read_dynamic_security();
    reader.problems.truncate(MAX_PROBLEMS);
    match reader.problems.is_empty() {
        true => Ok(reader.found),
        false => Err(Problems(reader.problems)),
    }
}

/// The setting that names the file of the dynamic-security plugin, if that is among these.
fn dynamic_security_file(section: &[Setting]) -> Option<&Setting> {
    let mut is_it = false;
    section.iter().find(|setting| {
        match (&setting.value, setting.keyword.name) {
            (Value::Text(path), "plugin") => is_it = path.contains("dynamic_security"),
            (_, keywords::PLUGIN_CONFIG_FILE) => return is_it,
            _ => {}
        }
        false
    })
}

struct Reader<'f> {
    files: &'f dyn Files,
    problems: Vec<Problem>,
    found: Mosquitto,
    /// How many files.
    read: usize,
}

/// What lines belong to. It begins anew with each file.
#[derive(Default)]
struct Above {
    is_main: bool,
    bridge: Option<usize>,
    /// `None`: the default one.
    listener: Option<usize>,
    has_plugin: bool,
}

impl Reader<'_> {
    fn problem(&mut self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem { place: place.clone(), what: what.into(), hint: hint.into() });
    }

    /// Of the plugin of that name, where it has a file.
    fn read_dynamic_security(&mut self) {
        let setting = {
            let found = &self.found;
            let listeners = found.listeners.iter().map(|listener| &listener.settings);
            let mut sections = [&found.general, &found.default_listener].into_iter().chain(listeners);
            sections.find_map(|section| dynamic_security_file(section)).cloned()
        };
        let Some(setting) = setting else { return };
        let Value::Text(path) = &setting.value else { return };
        let what = match self.files.read(Path::new(path)) {
            Ok(bytes) => match std::str::from_utf8(&bytes).map_err(|_| "it is no text".to_owned()) {
                Ok(text) => match dynamic_security::read(text) {
                    Ok(made) => {
                        self.found.dynamic_security = Some((setting.place, made));
                        return;
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            },
            Err(error) => error.to_string(),
        };
        let hint = "let your user read it, or take the plugin out";
        self.problem(&setting.place, format!("the file of the dynamic-security plugin cannot be used: {what}"), hint);
    }

    fn remark(&mut self, place: &Place, words: impl Into<String>) {
        self.found.remarks.push(Remark { place: place.clone(), words: words.into() });
    }

    fn file(&mut self, path: &Path, is_main: bool) {
        let name: Arc<str> = path.display().to_string().into();
        let whole = Place { file: name.clone(), line: 0 };
        self.read += 1;
        if self.read > MAX_FILES {
            return self.problem(
                &whole,
                format!("more than {MAX_FILES} files are included"),
                "is it the right folder?",
            );
        }
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                return self.problem(&whole, format!("cannot read this file: {error}"), "let your user read it");
            }
        };
        if bytes.len() > MAX_FILE_BYTES {
            let what = format!("this file is longer than {MAX_FILE_BYTES} bytes");
            return self.problem(&whole, what, "is it the right file?");
        }
        let mut above = Above { is_main, ..Above::default() };
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if self.problems.len() >= MAX_PROBLEMS {
                return;
            }
            // Nothing is a comment but what begins with `#`.
            if line.is_empty() || line[0] == b'#' || line[0] == b'\r' {
                continue;
            }
            let place = Place { file: name.clone(), line: at + 1 };
            let text = match std::str::from_utf8(line) {
                Ok(text) if !text.contains('\0') => text.trim_end_matches('\r'),
                Ok(_) => {
                    return self.problem(&place, "there is a null character in this line", "is it the right file?");
                }
                Err(_) => {
                    self.problem(&place, "this line is not UTF-8", "save the file as UTF-8");
                    continue;
                }
            };
            self.line(&mut above, &place, text);
        }
    }

    fn line(&mut self, above: &mut Above, place: &Place, text: &str) {
        let mut words = Words::of(text);
        let Some(name) = words.word() else { return };
        match name {
            "address" | "addresses" => self.addresses(above, place, words),
            "connection" => self.connection(above, place, words),
            "topic" => self.topic(above, place, words),
            "listener" => self.listener(above, place, words),
            "include_dir" => self.include_dir(above, place, words),
            _ => match keywords::find(name) {
                Some(keyword) => self.setting(above, place, keyword, words, name),
                None => self.unknown(place, name),
            },
        }
    }

    fn unknown(&mut self, place: &Place, name: &str) {
        let hint = if name.starts_with('#') {
            "a comment begins in the first column"
        } else if name.starts_with('\u{feff}') {
            "save the file without a byte order mark"
        } else if name.contains('\t') {
            "words are separated by blanks, and a tab is part of a word"
        } else if name.eq_ignore_ascii_case("topic") || keywords::find(&name.to_ascii_lowercase()).is_some() {
            "keywords are written in small letters"
        } else {
            "correct it, or take the line out; mosquitto 2.0 does not start with it"
        };
        self.problem(place, format!("{} is no keyword", shown(name)), hint);
    }

    fn include_dir(&mut self, above: &Above, place: &Place, mut words: Words<'_>) {
        // Blanks in front and behind are part of the name.
        let Some(folder) = words.rest() else {
            return self.problem(place, "`include_dir` names no folder", "name one");
        };
        if !above.is_main {
            return self.remark(place, "mosquitto does not look at `include_dir` in a file that is included itself");
        }
        let mut names = match self.files.list(Path::new(folder)) {
            Ok(names) => names,
            Err(error) => {
                let hint =
                    "let your user read it; a relative name is relative to where mosquitto is started, so import there";
                return self.problem(place, format!("cannot look into {}: {error}", shown(folder)), hint);
            }
        };
        names.retain(|name| name.len() > ".conf".len() && name.ends_with(".conf"));
        names.sort_by(|a, b| in_order(a, b));
        for name in names {
            self.file(&Path::new(folder).join(name), false);
        }
    }

    fn listener(&mut self, above: &mut Above, place: &Place, mut words: Words<'_>) {
        let Some(word) = words.word() else {
            return self.problem(place, "`listener` names no port", "write `listener 1883`");
        };
        let bind = words.word().filter(|word| !word.starts_with('#')).map(str::to_owned);
        let port = u16::try_from(atoi(word)).ok().filter(|port| *port > 0 || bind.is_some());
        let Some(port) = port else {
            let hint = "write a port from 1 to 65535, or 0 and the path of a Unix socket";
            return self.problem(place, format!("nobody can listen at port {}", shown(word)), hint);
        };
        above.listener = Some(self.found.listeners.len());
        self.found.listeners.push(Listener { place: place.clone(), port, bind, settings: Vec::new() });
    }

    fn setting(
        &mut self,
        above: &mut Above,
        place: &Place,
        keyword: &'static Keyword,
        mut words: Words<'_>,
        name: &str,
    ) {
        let per_listener = self.is_per_listener();
        if keyword.scope == Scope::Bridge && above.bridge.is_none() {
            return self.before_connection(place, name);
        }
        let of_plugins = [keywords::PLUGIN_OPTION, keywords::PLUGIN_CONFIG_FILE, "auth_plugin_deny_special_chars"];
        if of_plugins.contains(&keyword.name) {
            if !above.has_plugin {
                return self.problem(
                    place,
                    format!("{} stands before any `plugin`", shown(name)),
                    "move it behind its plugin",
                );
            }
        } else if keyword.name == "plugin" {
            above.has_plugin = true;
        }
        if keyword.name == "mount_point" && self.found.listeners.is_empty() {
            return self.problem(place, "`mount_point` stands before any `listener`", "move it behind its listener");
        }
        let value = match self.value(place, keyword, &mut words) {
            Ok(Some(value)) => value,
            Ok(None) => return,
            Err((what, hint)) => return self.problem(place, what, hint),
        };
        if keyword.name == "mount_point" && matches!(&value, Value::Text(text) if text.contains(['+', '#'])) {
            return self.problem(place, "`mount_point` has a wildcard", "write a topic");
        }
        if keyword.name == "per_listener_settings" && value == Value::Flag(true) {
            let first = self.found.general.iter().find(|setting| setting.keyword.scope == Scope::Security);
            if let Some(first) = first.map(|first| first.place.clone()) {
                let what = "`per_listener_settings` stands behind security settings";
                return self.problem(place, what, format!("move it before {first}"));
            }
        }
        let Some(section) = self.section(above, keyword.scope, per_listener) else { return };
        let once = matches!(keyword.kind, Kind::Text | Kind::Secret) && keyword.name != keywords::PLUGIN_OPTION;
        let first = section.iter().find(|setting| once && setting.keyword.name == keyword.name);
        if let Some(first) = first.map(|setting| setting.place.clone()) {
            let what = format!("`{}` has a value already, at {first}", keyword.name);
            return self.problem(place, what, "leave one of them out");
        }
        section.push(Setting { place: place.clone(), keyword, value });
    }

    /// Where a setting of this scope goes.
    fn section(&mut self, above: &Above, scope: Scope, per_listener: bool) -> Option<&mut Vec<Setting>> {
        let found = &mut self.found;
        match (scope, above.listener) {
            (Scope::General, _) => Some(&mut found.general),
            (Scope::Security, _) if !per_listener => Some(&mut found.general),
            (Scope::Bridge, _) => found.bridges.get_mut(above.bridge?).map(|bridge| &mut bridge.settings),
            (Scope::Listener | Scope::Security, Some(at)) => {
                found.listeners.get_mut(at).map(|listener| &mut listener.settings)
            }
            (Scope::Listener | Scope::Security | Scope::DefaultListener, _) => Some(&mut found.default_listener),
        }
    }

    fn is_per_listener(&self) -> bool {
        use crate::settings::Find;
        self.found.general.flag("per_listener_settings").unwrap_or(false)
    }

    /// `None` for a line that mosquitto complains of and goes on.
    fn value(
        &mut self,
        place: &Place,
        keyword: &Keyword,
        words: &mut Words<'_>,
    ) -> Result<Option<Value>, (String, String)> {
        let name = keyword.name;
        let empty = || (format!("`{name}` has no value"), "write one behind it, after a blank".to_owned());
        let one_of = |list: &[&str]| format!("write one of {}", list.join(", "));
        let value = match keyword.kind {
            Kind::Text | Kind::Secret | Kind::LastText => {
                let text = trimmed(words.rest().ok_or_else(empty)?);
                if text.is_empty() {
                    return Err(empty());
                }
                if !is_text(text) || text.len() > MAX_TEXT_BYTES {
                    let hint = "take out tabs and other control characters";
                    return Err((
                        format!("`{name}` is too long or has characters that mosquitto refuses"),
                        hint.into(),
                    ));
                }
                if name == "persistent_client_expiration" && expiration_hours(text).is_none() {
                    return Err((
                        format!("{} is no value of `{name}`", shown(text)),
                        "write `14d`, with h, d, w, m or y".into(),
                    ));
                }
                Value::Text(text.to_owned())
            }
            Kind::Flag => match words.word().ok_or_else(empty)? {
                "true" | "1" => Value::Flag(true),
                "false" | "0" => Value::Flag(false),
                other => {
                    return Err((format!("{} is no value of `{name}`", shown(other)), "write true or false".into()));
                }
            },
            Kind::Number(min, max) | Kind::AtLeast(min, max) => {
                let word = match words.word() {
                    Some(word) => word,
                    None if name == "max_connections" => {
                        self.remark(place, "`max_connections` has no value, and mosquitto goes on without it");
                        return Ok(None);
                    }
                    None => return Err(empty()),
                };
                let floor = matches!(keyword.kind, Kind::AtLeast(..));
                let number = if floor { atoi(word).max(min) } else { atoi(word) };
                if number < min || number > max {
                    return Err((format!("{} is no value of `{name}`", shown(word)), format!("write {min} to {max}")));
                }
                if number.to_string() != word {
                    self.remark(place, format!("mosquitto takes {} of `{name}` for {number}", shown(word)));
                }
                Value::Number(number)
            }
            Kind::Word(list) => {
                let Some(word) = words.word() else {
                    if matches!(name, "log_type" | "protocol") {
                        self.remark(place, format!("`{name}` has no value, and mosquitto goes on without it"));
                        return Ok(None);
                    }
                    return Err(empty());
                };
                if !list.contains(&word) {
                    return Err((format!("{} is no value of `{name}`", shown(word)), one_of(list)));
                }
                Value::Text(word.to_owned())
            }
            Kind::Rest(list) => {
                let rest = words.rest().ok_or_else(empty)?;
                if !list.contains(&rest) {
                    let blanks = if list.contains(&trimmed(rest)) { ", without a blank more" } else { "" };
                    return Err((format!("{} is no value of `{name}`", shown(rest)), one_of(list) + blanks));
                }
                Value::Text(rest.to_owned())
            }
            Kind::Waits => {
                let base = atoi(words.word().ok_or_else(empty)?).max(1);
                let cap = words.word().map(atoi);
                if cap.is_some_and(|cap| cap < base) {
                    let hint = "write `restart_timeout BASE CAP` in seconds, the base first; a comment needs a line of its own";
                    return Err(("the cap is below the base".into(), hint.into()));
                }
                Value::Waits(base, cap)
            }
            Kind::Ignored => {
                self.remark(place, format!("mosquitto does not look at `{name}` any more"));
                return Ok(None);
            }
            Kind::Newer => Value::Text(trimmed(words.rest().unwrap_or_default()).to_owned()),
        };
        Ok(Some(value))
    }
}

/// The order of files in a folder: letters without case first, then capitals before small ones (`scmp_p` of mosquitto).
fn in_order(a: &str, b: &str) -> std::cmp::Ordering {
    for (a, b) in a.bytes().zip(b.bytes()) {
        let order = a.to_ascii_uppercase().cmp(&b.to_ascii_uppercase()).then(a.cmp(&b));
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}
