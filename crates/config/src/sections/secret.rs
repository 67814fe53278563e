//! Reads where a secret is.

use crate::secret::Secret;
use crate::tree::{FileKind, Value};
use toml::de::DeValue;

/// `{ file = ... }`, `{ env = ... }` or `{ credential = ... }`. A message never repeats what is written; `what` is what the
/// secret is called.
pub(crate) fn read_secret(value: &Value<'_, '_, '_, '_>, what: &'static str) -> Option<Secret> {
    const HINT: &str = "use { file = \"...\" }, { env = \"...\" } or { credential = \"...\" }";
    if !matches!(value.value, DeValue::Table(_)) {
        value.error(format!("{what}s are not written in this file"), HINT);
        return None;
    }
    let mut section = value.section("password = { file = \"home.pass\" }")?;
    let file = section.path("file");
    let env = section.text("env");
    let credential = section.text("credential");
    let named = ["file", "env", "credential"].into_iter().filter(|key| section.has(key)).count();
    let context = section.context;
    section.finish();
    if named != 1 {
        value.error(format!("a {what} has one place where it is"), HINT);
        return None;
    }
    if let Some(path) = file {
        context.uses_file(FileKind::Private { what, path: path.value.clone() }, &path.at);
        return Some(Secret::File(path.value));
    }
    if let Some(name) = env {
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            context.error(
                &name.at,
                "no environment variable can be called so",
                "write its name, such as \"HOME_PASS\"",
            );
            return None;
        }
        context.uses_file(FileKind::Env(name.value.to_owned()), &name.at);
        return Some(Secret::Env(name.value.to_owned()));
    }
    let name = credential?;
    // It becomes a file name below systemd's directory, and nothing outside of it.
    if name.value.is_empty() || name.value.contains(['/', ':', '\0']) || name.value.starts_with('.') {
        context.error(&name.at, "no systemd credential can be called so", "write the name in `LoadCredential=<name>:`");
        return None;
    }
    context.uses_file(FileKind::Credential(name.value.to_owned()), &name.at);
    Some(Secret::Credential(name.value.to_owned()))
}
