//! `tidegate user`: the user file of the box's own broker.

use crate::Failure;
use crate::access::OwnBroker;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tidegate_admin::apply::save;
use tidegate_gateway::{UserHash, Users, line_by_line, user_line};

/// Of `tidegate user`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Let one more user in. The password is asked for; where standard input is no terminal it is its first line.
    Add(Hashed),
    /// Give a user another password; clients with the one before are sent away.
    Passwd(Hashed),
    /// Let a user in no more; its clients are sent away.
    Remove(Named),
    /// Everybody's name, and the kind of hash beside it.
    List(Place),
    /// Whether a password is a user's; fails with 1 if it is not.
    Check(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The user.
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Hashed {
    #[command(flatten)]
    named: Named,
    /// The hash that is written: pbkdf2, which mosquitto reads, too, lets in by password and by SCRAM-SHA-512; scram-sha-256 by password
    /// and by SCRAM-SHA-256.
    #[arg(long, value_enum, default_value_t)]
    hash: Hash,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Hash {
    #[default]
    Pbkdf2,
    #[value(name = "scram-sha-256")]
    ScramSha256,
}

#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    own: OwnBroker,
    /// A user file, without any configuration.
    #[arg(long, short, conflicts_with_all = ["config", "broker"])]
    file: Option<PathBuf>,
}

impl Place {
    /// The file, and what is in it; nothing if it is not there.
    fn read(self) -> Result<(PathBuf, String, Users), Failure> {
        let path = match self.file {
            Some(file) => file,
            None => {
                let (name, broker) = self.own.load()?;
                let none =
                    || Failure::Usage(format!("broker `{name}` has no `users`: add `users = \"users.txt\"` to it"));
                broker.users.ok_or_else(none)?
            }
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::Disk(format!("{}: {error}", path.display()))),
        };
        let users = Users::parse(&text).map_err(|errors| {
            Failure::Config(line_by_line(&path, errors.iter().map(|error| (error.line, &error.problem))))
        })?;
        Ok((path, text, users))
    }
}

pub(crate) fn user(arguments: Arguments) -> Result<(), Failure> {
    match arguments.what {
        What::List(place) => {
            let (_, _, users) = place.read()?;
            let mut out = std::io::stdout().lock();
            users.names().into_iter().try_for_each(|(name, kind)| writeln!(out, "{name}\t{kind}")).map_err(said)
        }
        What::Check(Named { name, place }) => {
            let (_, _, users) = place.read()?;
            let is_right = users.verify(&name, password(&name, false)?.as_bytes());
            println!("{}", if is_right { "it is" } else { "it is not" });
            if is_right { Ok(()) } else { Err(Failure::Found) }
        }
        What::Add(Hashed { named: Named { name, place }, hash }) => {
            let (path, text, users) = place.read()?;
            if users.names().iter().any(|(known, _)| *known == name) {
                return Err(Failure::Usage(format!(
                    "`{name}` is in {} already: `tidegate user passwd {name}`",
                    path.display()
                )));
            }
            write(&path, &text, &name, Some(&line(&name, hash)?))
        }
        What::Passwd(Hashed { named: Named { name, place }, hash }) => {
            let (path, text) = there(place, &name)?;
            write(&path, &text, &name, Some(&line(&name, hash)?))
        }
        What::Remove(Named { name, place }) => {
            let (path, text) = there(place, &name)?;
            write(&path, &text, &name, None)
        }
    }
}

/// The file of a user who is in it.
fn there(place: Place, name: &str) -> Result<(PathBuf, String), Failure> {
    let (path, text, users) = place.read()?;
    match users.names().iter().any(|(known, _)| *known == name) {
        true => Ok((path, text)),
        false => Err(Failure::Usage(format!("there is no `{name}` in {}: see `tidegate user list`", path.display()))),
    }
}

fn line(name: &str, hash: Hash) -> Result<String, Failure> {
    let hash = match hash {
        Hash::Pbkdf2 => UserHash::Pbkdf2,
        Hash::ScramSha256 => UserHash::ScramSha256,
    };
    // A name that cannot be is refused before anybody types a password.
    user_line(name, b"", hash).map_err(Failure::Usage)?;
    user_line(name, password(name, true)?.as_bytes(), hash).map_err(Failure::Usage)
}

/// What is typed, twice if it is `new`, or the first line of standard input.
fn password(name: &str, new: bool) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    let typed = match stdin.is_terminal() {
        true => {
            let ask = |words: String| rpassword::prompt_password(words).map_err(said);
            let typed = ask(format!("Password of {name}: "))?;
            if new && typed != ask("Once more: ".to_owned())? {
                return Err(Failure::Usage("these are two different passwords; nothing was changed".to_owned()));
            }
            typed
        }
        false => {
            let mut line = String::new();
            stdin.lock().read_line(&mut line).map_err(said)?;
            line.trim_end_matches(['\n', '\r']).to_owned()
        }
    };
    if new && typed.is_empty() {
        return Err(Failure::Usage("an empty password; nothing was changed".to_owned()));
    }
    Ok(typed)
}

fn said(error: std::io::Error) -> Failure {
    Failure::Disk(error.to_string())
}

/// Puts a user's line in the place of the one before, or behind all others; `None` takes it out. What else is there stays.
fn write(path: &Path, text: &str, name: &str, line: Option<&str>) -> Result<(), Failure> {
    let is_its = |old: &str| !old.starts_with('#') && old.split_once(':').is_some_and(|(known, _)| known == name);
    let (mut new, mut line) = (String::with_capacity(text.len() + 256), line);
    for old in text.lines() {
        let kept = if is_its(old) { line.take() } else { Some(old) };
        new.extend(kept.into_iter().flat_map(|kept| [kept, "\n"]));
    }
    new.extend(line.into_iter().flat_map(|line| [line, "\n"]));
    let wrong = |error: std::io::Error| Failure::Disk(format!("{}: {error}", path.display()));
    if path.exists() {
        return save(path, &new).map_err(wrong);
    }
    // Nobody else may read it.
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path).map_err(wrong)?;
    file.write_all(new.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_line_takes_the_place_of_the_users_own_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let put = |name: &str, line: Option<&str>| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            write(&path, &text, name, line).unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        assert_eq!(put("ann", Some("ann:1")), "ann:1\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "# ann:\nann:1\n\nbob:2").unwrap();
        assert_eq!(put("ann", Some("ann:3")), "# ann:\nann:3\n\nbob:2\n");
        assert_eq!(put("eve", Some("eve:4")), "# ann:\nann:3\n\nbob:2\neve:4\n");
        assert_eq!(put("ann", None), "# ann:\n\nbob:2\neve:4\n");
    }
}
