//! What a plugin remembered when a version of its state was left: `data_dir/versions/*.state`, one for each plugin and version.

use super::kept::save;
use crate::data_path::wall_ms;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What their names end with.
pub(super) const ENDING: &str = "state";

/// The folder that they are in.
#[derive(Debug, Clone)]
pub(crate) struct States(PathBuf);

/// A state, as it was.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Left {
    plugin: String,
    /// What the plugin said of it; one that says nothing has a version too.
    version: Option<String>,
    /// When it was left, in milliseconds since the epoch.
    pub(crate) at_ms: u64,
    pub(crate) state: BTreeMap<String, Vec<u8>>,
}

impl States {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Keeps what a version has left; of one version only the last. Slow: does I/O.
    pub(crate) fn keep(
        &self,
        plugin: &str,
        version: Option<&str>,
        state: BTreeMap<String, Vec<u8>>,
    ) -> Result<(), String> {
        let left = Left { plugin: plugin.to_owned(), version: version.map(str::to_owned), at_ms: wall_ms(), state };
        let bytes = postcard::to_allocvec(&left).map_err(|error| error.to_string())?;
        save(&self.file(plugin, version), &bytes).map_err(|error| error.to_string())
    }

    /// What a version has left last, if that is kept. Slow: does I/O.
    pub(crate) fn read(&self, plugin: &str, version: Option<&str>) -> Option<Left> {
        let file = self.file(plugin, version);
        let read =
            std::fs::read(&file).map_err(|error| (error.kind() != io::ErrorKind::NotFound).then(|| error.to_string()));
        let left = read.and_then(|bytes| postcard::from_bytes::<Left>(&bytes).map_err(|error| Some(error.to_string())));
        match left {
            Ok(left) => Some(left),
            Err(None) => None,
            Err(Some(error)) => {
                tracing::warn!(file = %file.display(), error, "what an earlier version remembered cannot be read");
                None
            }
        }
    }

    fn file(&self, plugin: &str, version: Option<&str>) -> PathBuf {
        let digest = Sha256::digest(version.unwrap_or_default());
        let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.join(format!("{plugin}.{digest}.{ENDING}"))
    }
}

/// Whose a file of the folder is, if it is a state.
pub(super) fn plugin_of(file: &Path) -> Option<&str> {
    let stem = file.file_name()?.to_str()?.strip_suffix(ENDING)?.strip_suffix('.')?;
    stem.rsplit_once('.').map(|(plugin, _)| plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_as_its_version_has_left_it_last() {
        let dir = tempfile::tempdir().unwrap();
        let states = States::new(dir.path());
        let state = |value: u8| BTreeMap::from([("k".to_owned(), vec![value; 300])]);
        assert_eq!(states.read("rule", None), None);
        states.keep("rule", None, state(1)).unwrap();
        states.keep("rule", Some("2"), state(2)).unwrap();
        states.keep("rule", Some("2"), state(3)).unwrap();
        states.keep("other", Some("2"), state(4)).unwrap();
        let found = |plugin, version| states.read(plugin, version).map(|left| left.state);
        assert_eq!((found("rule", None), found("rule", Some("2"))), (Some(state(1)), Some(state(3))));
        assert_eq!((found("other", Some("2")), found("other", None)), (Some(state(4)), None));
        let file = states.file("rule", None);
        assert_eq!((plugin_of(&file), plugin_of(Path::new("/a/b.wasm"))), (Some("rule"), None));
        std::fs::write(&file, "cut").unwrap();
        assert_eq!(states.read("rule", None), None);
    }
}
