//! Files, variables and credentials that a configuration names.

use crate::problem::Span;
use std::path::PathBuf;

/// A file the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileUse {
    pub(crate) kind: FileKind,
    pub(crate) at: Span,
}

/// What it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A component, and the digest it must have.
    Plugin { path: PathBuf, digest: Option<String> },
    /// Certificates: anyone may read them.
    Certificates(PathBuf),
    /// A secret, a list of them or a private key: nobody else may read it.
    Private { what: &'static str, path: PathBuf },
    /// A variable that must be set.
    Env(String),
    /// A systemd credential.
    Credential(String),
}
