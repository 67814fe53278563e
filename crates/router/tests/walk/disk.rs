//! The simulated disk behind the spool's own door.

use std::io;
use std::sync::Arc;
use tidegate_spool::{File, Settings, Spool, Storage};
use tidegate_testkit::{SimDisk, SimFile};

pub(crate) struct Door(pub(crate) SimDisk);

struct Leaf(SimFile);

impl Storage for Door {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Leaf(self.0.create(name, reserve_bytes)?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Leaf(self.0.open(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl File for Leaf {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len())
    }
}

/// A spool without threads on this disk, with segments so small that a few messages fill one.
pub(crate) fn open(disk: &SimDisk) -> Result<Spool, tidegate_spool::OpenError> {
    let settings = Settings { segment_bytes: SEGMENT_BYTES, ..Settings::default() };
    Spool::open_stepwise(Arc::new(Door(disk.clone())), settings)
}

pub(crate) const SEGMENT_BYTES: u64 = 3 * 1024;
