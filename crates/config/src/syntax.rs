//! Text that is not TOML: one problem a mistake, at the place where the mistake is.
//!
//! A parser that goes on behind a bracket that is never closed takes all that follows for what stands in it, and finds
//! a problem in every line. So the bracket is looked for first, and what is reported behind it is left out.

use crate::problem::Span;
use crate::sources::Source;
use crate::tree::Context;
use toml::de::DeTable;

/// The tree of a text, if it is TOML, with spans in that text. What could be recovered of other text would give problems that are none.
pub(crate) fn tree<'i>(context: &Context<'_>, source: &'i Source) -> Option<DeTable<'i>> {
    let (text, start) = (source.text.as_str(), source.start);
    let in_all = |span: Span| span.start + start..span.end + start;
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(root.into_inner());
    }
    let unclosed = unclosed(text);
    let is_before = |at: &Span| unclosed.as_ref().is_none_or(|open| at.start < open.at);
    for error in errors.iter().filter(|error| is_before(&error.span().unwrap_or(0..0))) {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let hint = hint(&message);
        context.error(&in_all(error.span().unwrap_or(0..0)), format!("this is not TOML: {message}"), hint);
    }
    if let Some(Unclosed { at, bracket, noticed }) = unclosed {
        let close = if bracket == b'[' { ']' } else { '}' };
        let end = match noticed {
            Some(noticed) => format!("before line {}", source.position(noticed + start).0),
            None => "before the file ends".to_owned(),
        };
        let what = format!("this is not TOML: the `{}` here is not closed {end}", char::from(bracket));
        context.error(&in_all(at..at + 1), what, format!("add `{close}`"));
    }
    None
}

/// What to do about the mistakes that people make.
fn hint(message: &str) -> &'static str {
    const HINTS: [(&str, &str); 7] = [
        ("must be quoted", "put it in double quotes"),
        ("duplicate", "keep one of the two"),
        ("unclosed", "close it"),
        ("invalid basic string", "close the quotes on the same line"),
        ("recurs", "nest less deeply"),
        ("escape", "write backslashes twice"),
        ("key with no value", "write `key = value`"),
    ];
    let hint = HINTS.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| *hint);
    hint.unwrap_or("write `key = value` lines below `[section]` lines")
}

/// A bracket of a value that nothing closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unclosed {
    /// Where it opens, in bytes.
    at: usize,
    /// `[` or `{`.
    bracket: u8,
    /// Where the line begins that shows it, because it cannot stand inside of the bracket; `None`: the end of the text.
    noticed: Option<usize>,
}

/// The first bracket that is still open where a line begins that stands in none: a header, or in a list `key = `.
fn unclosed(text: &str) -> Option<Unclosed> {
    let mut open: Vec<(usize, u8)> = Vec::new();
    let mut at = 0;
    let mut line = 0;
    while at < text.len() {
        if at == line {
            let rest = &text[line..];
            match open.last() {
                None if rest.trim_start_matches([' ', '\t']).starts_with('[') => {
                    // A header: its brackets are not those of a value, and the parser tells of them.
                    at += rest.find('\n').map_or(rest.len(), |end| end + 1);
                    line = at;
                    continue;
                }
                Some(&(from, bracket)) if is_header(rest) || (bracket == b'[' && is_assignment(rest)) => {
                    return Some(Unclosed { at: from, bracket, noticed: Some(line) });
                }
                _ => {}
            }
        }
        let rest = &text.as_bytes()[at..];
        at += match rest[0] {
            b'#' => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            b'"' | b'\'' => string_len(rest),
            bracket @ (b'[' | b'{') => {
                open.push((at, bracket));
                1
            }
            close @ (b']' | b'}') => {
                let bracket = if close == b']' { b'[' } else { b'{' };
                // One that closes something else closes nothing: the parser tells of it.
                if open.last().is_some_and(|(_, last)| *last == bracket) {
                    open.pop();
                }
                1
            }
            b'\n' => {
                line = at + 1;
                1
            }
            _ => 1,
        };
        // The loop looks at whole characters only where they can matter: at the beginnings of lines.
    }
    open.last().map(|(at, bracket)| Unclosed { at: *at, bracket: *bracket, noticed: None })
}

/// How long the string is that begins here, its quotes included; one that is not closed on its line ends with it.
fn string_len(bytes: &[u8]) -> usize {
    let quote = bytes[0];
    let is_long = bytes.starts_with(&[quote; 3]);
    let mut at = if is_long { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' => at += 2,
            b'\n' if !is_long => return at,
            _ if is_long && bytes[at..].starts_with(&[quote; 3]) => return at + 3,
            byte if !is_long && byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `[name]` or `[[name]]`, alone on its line.
fn is_header(text: &str) -> bool {
    let line = first_line(text);
    let Some(inner) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    let inner = inner.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(inner);
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-. \"'".contains(c);
    inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && inner.chars().all(is_part)
}

/// `key = ...`.
fn is_assignment(text: &str) -> bool {
    let line = first_line(text);
    let Some((key, _)) = line.split_once('=') else { return false };
    let key = key.trim_end();
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Without blanks around it and without a comment.
fn first_line(text: &str) -> &str {
    let line = text.split('\n').next().unwrap_or_default();
    line.split('#').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(usize, u8, Option<usize>)> {
        unclosed(text).map(|open| (open.at, open.bracket, open.noticed))
    }

    #[test]
    fn the_bracket_that_is_not_closed_is_found_and_no_other() {
        assert_eq!(found("a = [\"x\"\nb = 1\n"), Some((4, b'[', Some(9))));
        assert_eq!(found("a = [\n  [1, 2],\n  3\n[section]\n"), Some((4, b'[', Some(20))));
        assert_eq!(found("a = [\n  [1, 2,\n  3]\n[section]\n"), Some((4, b'[', Some(20))));
        assert_eq!(found("a = { b = [1 }\nc = 2\n"), Some((10, b'[', Some(15))));
        assert_eq!(found("a = { b = 1\n[section] # there\n"), Some((4, b'{', Some(12))));
        assert_eq!(found("a = { b = 1,\n c = 2"), Some((4, b'{', None)));
        assert_eq!(found("é = 1\na = [\n'é'"), Some((11, b'[', None)));
    }

    #[test]
    fn brackets_in_strings_comments_and_headers_are_none() {
        for text in [
            "a = \"[\" # {\nb = '{'\n",
            "[a]\n[[b]]\n[c # not closed, as the parser says\nd = 1\n",
            "a = \"\"\"\n[b]\n[ \"\"\"\nc = '''{'''\n",
            "a = [\n  [\"x\"],\n  # b = 1\n  \"b = 1\",\n]\n",
            "a = { b = [\"\\\"[\"] }\n",
            "a = 1 ]\n",
            "a = [1,\n2]\n[b]\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
