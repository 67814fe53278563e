//! Lines of mosquitto's `acl_file`.

use crate::parse::{Files, MAX_FILE_BYTES};
use crate::problem::{Place, Problem, Problems, shown};
use crate::words::Words;
use std::path::Path;
use std::sync::Arc;

/// A line that lets somebody do something, or forbids it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclLine {
    /// Where it stands.
    pub place: Place,
    /// Whom it is about, in words.
    pub who: String,
    /// What it says: `read a/#`.
    pub what: String,
}

/// Reads an `acl_file`.
///
/// # Errors
/// The file cannot be read, or mosquitto would refuse it.
pub fn read_acl(file: &Path, files: &dyn Files) -> Result<Vec<AclLine>, Problems> {
    let name: Arc<str> = file.display().to_string().into();
    let problem = |line, what: String, hint: &str| Problem {
        place: Place { file: name.clone(), line },
        what,
        hint: hint.to_owned(),
    };
    let bytes = files.read(file).map_err(|error| {
        Problems(vec![problem(0, format!("cannot read this acl_file: {error}"), "let your user read it")])
    })?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Problems(vec![problem(0, "this acl_file is too long".to_owned(), "is it the right file?")]));
    }
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut who = "clients without a user name".to_owned();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        // A comment begins in the first column.
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let Ok(text) = std::str::from_utf8(line) else {
            problems.push(problem(at + 1, "this line is not UTF-8".to_owned(), "save the file as UTF-8"));
            continue;
        };
        let mut words = Words::of(text.trim_end());
        let line = |who: String, what: String| AclLine { place: Place { file: name.clone(), line: at + 1 }, who, what };
        let Some(keyword) = words.word() else { continue };
        let rest = words.rest().map(str::trim).filter(|rest| !rest.is_empty());
        match (keyword, rest) {
            ("user", Some(user)) => who = format!("user {}", shown(user)),
            ("topic", Some(rest)) => found.push(line(who.clone(), rest.to_owned())),
            ("pattern", Some(rest)) => found.push(line("every client".to_owned(), rest.to_owned())),
            ("user" | "topic" | "pattern", None) => {
                problems.push(problem(at + 1, format!("`{keyword}` says nothing"), "write what it is about behind it"));
            }
            (other, _) => {
                problems.push(problem(
                    at + 1,
                    format!("{} is no keyword", shown(other)),
                    "it is user, topic or pattern",
                ));
            }
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Problems(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    struct One(&'static [u8]);

    impl Files for One {
        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Ok(self.0.to_vec())
        }

        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn each_line_is_about_somebody() {
        let text = b"# all\ntopic read $SYS/#\n\nuser ann lee\ntopic write a b/#\ntopic deny c\npattern read %u/#\n";
        let lines = read_acl(Path::new("acl"), &One(text)).unwrap();
        let shown: Vec<_> = lines.iter().map(|line| format!("{} {}: {}", line.place, line.who, line.what)).collect();
        assert_eq!(
            shown,
            [
                "acl:2 clients without a user name: read $SYS/#",
                "acl:5 user `ann lee`: write a b/#",
                "acl:6 user `ann lee`: deny c",
                "acl:7 every client: read %u/#",
            ]
        );
    }

    #[test]
    fn what_mosquitto_refuses_is_refused() {
        let problems = read_acl(Path::new("acl"), &One(b"  # no comment\nusers a\ntopic\n\xff\n")).unwrap_err();
        let shown = problems.to_string();
        assert!(shown.starts_with("acl:1: `#` is no keyword;") && shown.contains("acl:2: `users`"), "{shown}");
        assert!(
            shown.contains("acl:3: `topic` says nothing") && shown.contains("acl:4: this line is not UTF-8"),
            "{shown}"
        );
    }
}
