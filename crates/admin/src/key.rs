//! The key of the owner: whoever may read in the gateway's own folder may operate the gateway, as he could anyhow.
//!
//! It is made anew at each start, and lies in `data_dir` for the gateway's user only. The commands of `tidegate` show it by
//! themselves, so that `tidegate parked replay` needs no configuration.

use crate::apply::hex;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tidegate_gateway::make_key;

/// In `data_dir`.
const FILE: &str = "admin.key";

/// Makes the key of a gateway that starts; `None` if it cannot be kept.
pub(crate) fn make(data_dir: &Path) -> Option<String> {
    let told = |error: &io::Error| {
        let file = data_dir.join(FILE);
        let words = "commands such as `tidegate parked replay` need a token of [admin]: no key can be made or kept";
        tracing::warn!(%error, file = %file.display(), "{words}");
    };
    let made = make_key(&data_dir.join(FILE), |key| hex(key).into_bytes());
    made.inspect_err(told).ok().map(|key| hex(&key))
}

/// Beside it: where the gateway listens, for a configuration that leaves the port open.
const ADDRESS_FILE: &str = "admin.address";

/// Says where the gateway listens.
pub(crate) fn tell_address(data_dir: &Path, addr: SocketAddr) {
    if let Err(error) = std::fs::write(data_dir.join(ADDRESS_FILE), addr.to_string()) {
        tracing::warn!(%error, "commands such as `tidegate status` will not find the admin listener");
    }
}

/// Where the gateway that runs with this folder listens, if its configuration leaves the port open.
pub fn told_address(data_dir: &Path) -> Option<SocketAddr> {
    std::fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}

/// The key of the gateway that runs with this folder; `None` if there is none, or it may not be read.
pub fn owner_key(data_dir: &Path) -> Option<String> {
    let key = std::fs::read_to_string(data_dir.join(FILE)).ok()?;
    Some(key.trim().to_owned())
}
