//! A file of the simulated disk.

use super::{ChangeKind, EIO, SimDisk, Verdict, What};
use std::io::{self};

/// A file of a [`SimDisk`], by whatever name.
#[derive(Debug, Clone)]
pub struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) inode: usize,
}

impl SimFile {
    /// Reads up to `buffer.len()` bytes; 0 only at the end.
    ///
    /// # Errors
    /// A planted one.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.disk.lock();
        inner.read()?;
        let cache = &inner.inodes[self.inode].cache;
        let rest = cache.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    /// Writes some of the bytes, and says how many.
    ///
    /// # Errors
    /// A planted one.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.disk.lock();
        let name = inner.name_of(self.inode);
        let grows = offset as usize + bytes.len() > inner.inodes[self.inode].cache.len();
        let half = bytes.len().div_ceil(2);
        let (count, outcome) = match inner.begin(What::Write, &name, grows) {
            Verdict::Go => (bytes.len(), Ok(bytes.len())),
            Verdict::Half => (half, Ok(half)),
            Verdict::HalfThenFull => {
                inner.full_once = true;
                (half, Ok(half))
            }
            // How far a write got that failed is nobody's knowledge.
            Verdict::Fail(error) if error.raw_os_error() == Some(EIO) && !inner.is_off => (half, Err(error)),
            Verdict::Fail(error) => (0, Err(error)),
        };
        if count > 0 {
            inner.inodes[self.inode].change(ChangeKind::Write(offset as usize, bytes[..count].to_vec()));
        }
        outcome
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// A planted one.
    pub fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let name = inner.name_of(self.inode);
        let was_off = inner.is_off;
        let verdict = inner.begin(What::Sync, &name, false);
        let inode = &mut inner.inodes[self.inode];
        if let Verdict::Fail(error) = verdict {
            if was_off {
                return Err(error);
            }
            inode.pending.iter_mut().for_each(|change| change.is_doomed = true);
            return Err(error);
        }
        let (doomed, good): (Vec<_>, Vec<_>) =
            std::mem::take(&mut inode.pending).into_iter().partition(|change| change.is_doomed);
        good.iter().for_each(|change| change.kind.apply(&mut inode.durable));
        inode.pending = doomed;
        Ok(())
    }

    /// Cuts the file off, or makes it longer with zeros.
    ///
    /// # Errors
    /// A planted one.
    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let name = inner.name_of(self.inode);
        let grows = bytes as usize > inner.inodes[self.inode].cache.len();
        if let Verdict::Fail(error) = inner.begin(What::SetLen, &name, grows) {
            return Err(error);
        }
        inner.inodes[self.inode].change(ChangeKind::SetLen(bytes as usize));
        Ok(())
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> u64 {
        self.disk.lock().inodes[self.inode].cache.len() as u64
    }

    /// True without a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
