//! Lists what `tidegate plugin new` writes: every file of `templates`, and the SDK's source for plugins in Rust.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let mut list = String::from("pub(crate) static FILES: &[(&str, &str, &str)] = &[\n");
    for entry in std::fs::read_dir("templates")? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        add(&mut list, &name, &folder, "")?;
    }
    add(&mut list, "sdk", Path::new("../sdk/src"), "sdk/src/")?;
    list.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    std::fs::write(out.join("files.rs"), list)
}

/// Every file below this folder but the SDK's own tests: its template, its path within it, and its text.
fn add(list: &mut String, template: &str, folder: &Path, below: &str) -> std::io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            add(list, template, &path, &format!("{below}{name}/"))?;
        } else if template != "sdk" || name != "tests.rs" {
            let path = path.canonicalize()?;
            let _ = writeln!(list, "({template:?}, \"{below}{name}\", include_str!({path:?})),");
        }
    }
    Ok(())
}
