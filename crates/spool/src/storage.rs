//! The only door to the disk. Everything durable goes through it, so that tests can stand a disk behind it that forgets,
//! tears and fails.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One folder with files in it, none in folders below.
///
/// What is promised: bytes are durable once [`File::sync`] has returned, a name is durable once
/// [`sync_dir`](Storage::sync_dir) has. Nothing else is: writes may reach the disk in any order, in part or never.
pub trait Storage: Send + Sync {
    /// The names of all files, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new, empty file, with room for so many bytes set aside where the file system can; an old one of that name is
    /// emptied.
    ///
    /// # Errors
    /// What the system says; [`ErrorKind::StorageFull`] if there is no room.
    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Arc<dyn File>>;

    /// A file that is there.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name; one that had it is gone.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file away.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable: those created, renamed and removed before.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One file of a [`Storage`].
pub trait File: Send + Sync {
    /// Reads up to `buffer.len()` bytes; 0 only at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the bytes, and says how many.
    ///
    /// # Errors
    /// What the system says; [`ErrorKind::StorageFull`] if there is no room.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// What the system says. After an error nobody knows what is durable: do not call it again.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file off, or makes it longer with zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// The first place at or behind this one where something may have been written; the length where there is none. All
    /// between are zeros that need not be read.
    ///
    /// # Errors
    /// What the system says.
    fn written_from(&self, offset: u64) -> io::Result<u64> {
        Ok(offset)
    }

    /// How long it is, in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// True without a byte.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Writes all of it.
pub(crate) fn write_all(file: &dyn File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(ErrorKind::StorageFull.into()),
            Ok(count) => {
                offset += count as u64;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; returns how much that was.
pub(crate) fn read_full(file: &dyn File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(offset + filled as u64, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The name of the file that is locked while the folder is in use.
const LOCK: &str = "lock";

/// A folder on a real disk, locked for as long as this lives.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    handle: fs::File,
    _lock: fs::File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it.
    #[error("{} is in use by another process: stop that gateway first", .0.display())]
    InUse(PathBuf),
    /// It is not there.
    #[error("there is no spool in {}", .0.display())]
    Missing(PathBuf),
    /// Anything else.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Disk {
    /// Locks the folder; makes it, readable by nobody else, if it is not there.
    ///
    /// # Errors
    /// Another process has it locked, or it cannot be made or opened.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let folder = folder.into();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| DiskError::Io { path: folder.clone(), source: error })?;
        if let Some(parent) = folder.parent()
            && let Ok(parent) = fs::File::open(parent)
        {
            // The folder's own name is durable, too; a parent that cannot be synced is not ours.
            let _ = parent.sync_all();
        }
        Self::lock(folder)
    }

    /// Locks a folder that must be there.
    ///
    /// # Errors
    /// Another process has it locked, it is not there or cannot be opened.
    pub fn open_existing(folder: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let folder = folder.into();
        if !folder.join(LOCK).exists() {
            return Err(DiskError::Missing(folder));
        }
        Self::lock(folder)
    }

    fn lock(folder: PathBuf) -> Result<Self, DiskError> {
        let io = |source| DiskError::Io { path: folder.clone(), source };
        let handle = fs::File::open(&folder).map_err(io)?;
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK));
        let lock = lock.map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, handle, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(DiskError::InUse(folder)),
            Err(fs::TryLockError::Error(error)) => Err(DiskError::Io { path: folder, source: error }),
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && name != LOCK
                && entry.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Arc<dyn File>> {
        let path = self.folder.join(name);
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        if reserve_bytes > 0 {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, reserve_bytes) {
                Ok(()) => {}
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {}
                Err(error) => {
                    let _ = fs::remove_file(&path);
                    return Err(error.into());
                }
            }
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(fs::OpenOptions::new().read(true).write(true).open(self.folder.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl File for fs::File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn written_from(&self, offset: u64) -> io::Result<u64> {
        use rustix::io::Errno;
        match rustix::fs::seek(self, rustix::fs::SeekFrom::Data(offset)) {
            Ok(place) => Ok(place),
            Err(Errno::NXIO) => File::len(self),
            // Not every file system knows.
            Err(_) => Ok(offset),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
