//! mosquitto's `acl_file`, as it is (mosquitto.conf(5), `acl_file`).
//!
//! Lines `user NAME`, `topic [ACCESS] FILTER` and `pattern [ACCESS] FILTER`, ACCESS being `read`, `write`, `readwrite` or `deny`. Words are
//! parted by spaces; a comment begins with `#` in the first column. Topics belong to the user named last, those before any to whom gives no
//! name; patterns to everybody. A user's topics are asked before the patterns.

use crate::access::{AccessRule, Action, Whom};
use tidegate_message::TopicFilter;

/// A line that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct AclLineError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it, and what to write.
    pub problem: String,
}

/// The rules of a file; `name` says in each where it stands.
///
/// # Errors
/// Every line that cannot be taken: then none is.
pub fn parse(text: &str, name: &str) -> Result<Vec<AccessRule>, Vec<AclLineError>> {
    let (mut rules, mut errors, mut user) = (Vec::new(), Vec::new(), None);
    for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = cut(line);
        let problem = match word {
            "user" if !rest.is_empty() => {
                user = Some(rest.to_owned());
                continue;
            }
            "user" => "expected `user NAME`".to_owned(),
            "topic" | "pattern" => match entry(rest) {
                Ok((actions, allows, filter)) => {
                    let fills_in = word == "pattern";
                    let whom = match (&user, fills_in) {
                        (_, true) => Whom::default(),
                        (Some(user), false) => Whom { users: Some(vec![user.clone()]), ..Whom::default() },
                        (None, false) => Whom { anonymous: true, ..Whom::default() },
                    };
                    rules.extend(actions.iter().map(|action| AccessRule {
                        whom: whom.clone(),
                        action: *action,
                        allows,
                        pattern: filter.to_owned(),
                        fills_in,
                        rank: u8::from(fills_in),
                        place: format!("{name}:{}", at + 1),
                    }));
                    continue;
                }
                Err(problem) => problem,
            },
            _ => format!("`{}` is no word of an acl_file: write `user`, `topic` or `pattern`", word.escape_debug()),
        };
        errors.push(AclLineError { line: at + 1, problem });
    }
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

/// The first word, and what is behind the spaces that follow.
fn cut(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches(' ');
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    (word, rest.trim_start_matches(' '))
}

/// Both ways that an entry may be about.
const BOTH: &[Action] = &[Action::Publish, Action::Receive];

fn entry(rest: &str) -> Result<(&'static [Action], bool, &str), String> {
    let (word, filter) = cut(rest);
    let (actions, allows, filter) = match (word, filter) {
        ("", _) => return Err("expected a topic behind it".to_owned()),
        // Without an access word all of it is the topic, which cannot hold a space then.
        (topic, "") => (BOTH, true, topic),
        ("read", filter) => (&[Action::Receive][..], true, filter),
        ("write", filter) => (&[Action::Publish][..], true, filter),
        ("readwrite", filter) => (BOTH, true, filter),
        ("deny", filter) => (BOTH, false, filter),
        (other, _) => {
            let other = other.escape_debug();
            return Err(format!(
                "`{other}` is no access: write `read`, `write`, `readwrite` or `deny` before the topic"
            ));
        }
    };
    match TopicFilter::new(filter) {
        Ok(_) => Ok((actions, allows, filter)),
        Err(error) => Err(format!("`{}` is no topic filter: {error}", filter.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Access, Certificate, ClientNames};

    fn access(text: &str) -> Access {
        Access::new(parse(text, "acl").unwrap())
    }

    #[test]
    fn entries_are_read_as_mosquitto_does() {
        let access = access(
            "# anybody\ntopic read public/#\n\nuser ann lee\ntopic dev/1\ntopic  write  with space/#\ntopic deny dev/1/x\n\
             user bob\r\ntopic readwrite #\ntopic deny $SYS/#\npattern read $SYS/broker/%c\npattern write own/%u/x%c\n",
        );
        let may = |user, action, topic: &str| -> (bool, Option<&'static str>) {
            let permits = access.permits(ClientNames { user, client_id: "c1", certificate: Certificate::Shown(&[]) });
            let (may, place) = permits.explain(action, topic).unwrap();
            (may, place.map(|place| &*place.to_owned().leak()))
        };
        use Action::{Publish, Receive};
        assert_eq!(may(None, Receive, "public/1"), (true, Some("acl:2")));
        assert!(!may(None, Publish, "public/1").0 && !may(Some("ann lee"), Receive, "public/1").0);
        assert!(may(Some("ann lee"), Publish, "with space/1").0 && !may(Some("ann lee"), Receive, "with space/1").0);
        assert_eq!(may(Some("ann lee"), Publish, "dev/1"), (true, Some("acl:5")));
        assert_eq!(may(Some("bob"), Publish, "any/thing"), (true, Some("acl:9")));
        assert_eq!(may(Some("bob"), Receive, "$SYS/broker/c1"), (false, Some("acl:10")), "his own come first");
        assert_eq!(may(Some("cid"), Receive, "$SYS/broker/c1"), (true, Some("acl:11")));
        assert!(may(Some("cid"), Publish, "own/cid/x%c").0, "a part of a level is itself");
        assert!(!may(Some("cid"), Publish, "any/thing").0);
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line() {
        let errors =
            parse("topic\nuser\ntopic a b\n topics x\npattern read a/#/b\n#topic\ntopic\tx\n", "acl").unwrap_err();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 7]);
        assert!(told[2].contains("`a` is no access") && told[4].contains("`a/#/b` is no topic filter"), "{told:?}");
        assert!(told[5].contains("`topic\\tx` is no word"), "{told:?}");
    }
}
