//! A disk in memory that forgets, tears, fills up and fails, as a real one may.
//!
//! What was written is seen by every reader at once, as through the page cache, and is durable only after
//! [`SimFile::sync`]; a name only after [`SimDisk::sync_dir`]. [`SimDisk::crash`] makes the disk that a power loss leaves
//! behind: of everything that was not synced any part may be there. Faults are planted before the operation that shall
//! meet them, by its number; numbers count what changes the disk, from 0.

mod crash;
mod file;

pub use file::SimFile;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the system says when a device fails.
const EIO: i32 = 5;

/// One thing that was done to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Which.
    pub what: What,
    /// The file it was about, by the name it had then; for a rename the new one, empty for the folder.
    pub file: String,
    /// It was done without an error.
    pub is_done: bool,
}

/// What changes a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A file was created or emptied.
    Create,
    /// Bytes were written.
    Write,
    /// A file was cut off or made longer.
    SetLen,
    /// A file was made durable.
    Sync,
    /// A file got another name.
    Rename,
    /// A file was taken away.
    Remove,
    /// The names were made durable.
    SyncDir,
}

/// What goes wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device fails, once. A sync that fails loses what it was to make durable for good, although it can still be
    /// read until the power is lost.
    Io,
    /// There is no room, once. A write gets half of its bytes down first.
    Full,
    /// From here on there is no room, until [`SimDisk::fill`] is told otherwise.
    FullForGood,
    /// A write takes half of its bytes. No error.
    Short,
    /// It is done, and nothing after it.
    PowerOff,
}

/// A folder of files. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Clone, Default)]
struct Inner {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    inodes: Vec<Inode>,
    journal: Vec<Operation>,
    faults: BTreeMap<u64, Fault>,
    reads: u64,
    read_fault: Option<u64>,
    is_full: bool,
    full_once: bool,
    is_off: bool,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(String, usize),
    Move(String, String, usize),
    Gone(String, usize),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    cache: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    kind: ChangeKind,
    /// A sync of it has failed: it will never be durable.
    is_doomed: bool,
}

#[derive(Debug, Clone)]
enum ChangeKind {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

/// Whether an operation goes on, and how.
enum Verdict {
    Go,
    Half,
    HalfThenFull,
    Fail(io::Error),
}

impl SimDisk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of all files, in order.
    ///
    /// # Errors
    /// A planted one.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let mut inner = self.lock();
        inner.read()?;
        Ok(inner.names.keys().cloned().collect())
    }

    /// A new file of so many zeros; an old one of that name is emptied first.
    ///
    /// # Errors
    /// A planted one.
    pub fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<SimFile> {
        let mut inner = self.lock();
        if let Verdict::Fail(error) = inner.begin(What::Create, name, true) {
            return Err(error);
        }
        let inode = match inner.names.get(name).copied() {
            Some(inode) => inode,
            None => {
                inner.inodes.push(Inode::default());
                let inode = inner.inodes.len() - 1;
                inner.names.insert(name.to_owned(), inode);
                inner.pending_names.push(NameChange::Set(name.to_owned(), inode));
                inode
            }
        };
        inner.inodes[inode].change(ChangeKind::SetLen(0));
        if reserve_bytes > 0 {
            inner.inodes[inode].change(ChangeKind::SetLen(reserve_bytes as usize));
        }
        Ok(SimFile { disk: self.clone(), inode })
    }

    /// A file that is there.
    ///
    /// # Errors
    /// It is not, or a planted one.
    pub fn open(&self, name: &str) -> io::Result<SimFile> {
        let mut inner = self.lock();
        inner.read()?;
        let inode = inner.names.get(name).copied().ok_or(ErrorKind::NotFound)?;
        Ok(SimFile { disk: self.clone(), inode })
    }

    /// Gives a file another name; one that had it is gone.
    ///
    /// # Errors
    /// It is not there, or a planted one.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if let Verdict::Fail(error) = inner.begin(What::Rename, to, true) {
            return Err(error);
        }
        let inode = inner.names.remove(from).ok_or(ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), inode);
        inner.pending_names.push(NameChange::Move(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    /// Takes a file away.
    ///
    /// # Errors
    /// It is not there, or a planted one.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if let Verdict::Fail(error) = inner.begin(What::Remove, name, false) {
            return Err(error);
        }
        let inode = inner.names.remove(name).ok_or(ErrorKind::NotFound)?;
        inner.pending_names.push(NameChange::Gone(name.to_owned(), inode));
        Ok(())
    }

    /// Makes names durable.
    ///
    /// # Errors
    /// A planted one.
    pub fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let was_off = inner.is_off;
        if let Verdict::Fail(error) = inner.begin(What::SyncDir, "", false) {
            if !was_off {
                // What it was to make durable never will be.
                inner.pending_names.clear();
            }
            return Err(error);
        }
        inner.durable_names = inner.names.clone();
        inner.pending_names.clear();
        Ok(())
    }

    /// What was done from the operation with this number on.
    pub fn journal(&self, from: u64) -> Vec<Operation> {
        self.lock().journal.get(from as usize..).unwrap_or_default().to_vec()
    }

    /// How much was done so far: the number of the next operation.
    pub fn operations(&self) -> u64 {
        self.lock().journal.len() as u64
    }

    /// Plants a fault at the operation with this number.
    pub fn fail(&self, operation: u64, fault: Fault) {
        self.lock().faults.insert(operation, fault);
    }

    /// Lets the read fail that comes after so many others: [`list`](Self::list), [`open`](Self::open) and
    /// [`SimFile::read_at`] count, from now on.
    pub fn fail_read(&self, after: u64) {
        let mut inner = self.lock();
        inner.read_fault = Some(inner.reads + after);
    }

    /// True after the power was cut by [`Fault::PowerOff`].
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// No room for anything that is longer than what is there, or room again.
    pub fn fill(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// A disk with the same files, as another process sees them after this one was killed: all that was written is there,
    /// and what was not synced still is not durable. No faults are planted in it.
    pub fn killed(&self) -> Self {
        let inner = self.lock().clone();
        let healed = Inner {
            journal: Vec::new(),
            faults: BTreeMap::new(),
            read_fault: None,
            is_full: false,
            full_once: false,
            is_off: false,
            ..inner
        };
        Self(Arc::new(Mutex::new(healed)))
    }

    /// What a file holds; empty if it is not there. Counts for nothing.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let inner = self.lock();
        inner.names.get(name).map_or_else(Vec::new, |inode| inner.inodes[*inode].cache.clone())
    }

    /// The names of all files and how long they are, in bytes. Counts for nothing.
    pub fn files(&self) -> Vec<(String, u64)> {
        let inner = self.lock();
        inner.names.iter().map(|(name, inode)| (name.clone(), inner.inodes[*inode].cache.len() as u64)).collect()
    }

    /// Puts a file there, durable. Counts for nothing.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.inodes.push(Inode { cache: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() });
        let inode = inner.inodes.len() - 1;
        inner.names.insert(name.to_owned(), inode);
        inner.durable_names.insert(name.to_owned(), inode);
    }

    /// Turns one bit of a file over, for good.
    pub fn flip(&self, name: &str, bit: u64) {
        let mut inner = self.lock();
        let Some(inode) = inner.names.get(name).copied() else { return };
        let Inode { cache, durable, .. } = &mut inner.inodes[inode];
        for bytes in [cache, durable] {
            if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }
}

impl Inner {
    /// Counts an operation and looks for what goes wrong with it.
    fn begin(&mut self, what: What, file: &str, takes_room: bool) -> Verdict {
        let number = self.journal.len() as u64;
        let fault = self.faults.get(&number).copied().filter(|_| !self.is_off);
        let verdict = match fault {
            _ if self.is_off => Verdict::Fail(io::Error::from_raw_os_error(EIO)),
            Some(Fault::Io) => Verdict::Fail(io::Error::from_raw_os_error(EIO)),
            Some(Fault::Short) if what == What::Write => Verdict::Half,
            Some(Fault::Full) if what == What::Write => Verdict::HalfThenFull,
            Some(Fault::Full) if takes_room => Verdict::Fail(ErrorKind::StorageFull.into()),
            _ if takes_room && std::mem::take(&mut self.full_once) => Verdict::Fail(ErrorKind::StorageFull.into()),
            _ if takes_room && self.is_full => Verdict::Fail(ErrorKind::StorageFull.into()),
            Some(Fault::FullForGood) if takes_room => Verdict::Fail(ErrorKind::StorageFull.into()),
            _ => Verdict::Go,
        };
        self.is_off |= fault == Some(Fault::PowerOff);
        self.is_full |= fault == Some(Fault::FullForGood);
        let is_done = !matches!(verdict, Verdict::Fail(_));
        self.journal.push(Operation { what, file: file.to_owned(), is_done });
        verdict
    }

    fn read(&mut self) -> io::Result<()> {
        let number = self.reads;
        self.reads += 1;
        if self.is_off || self.read_fault == Some(number) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    fn name_of(&self, inode: usize) -> String {
        let found = self.names.iter().find(|(_, at)| **at == inode);
        found.map_or_else(String::new, |(name, _)| name.clone())
    }
}

impl Inode {
    fn change(&mut self, kind: ChangeKind) {
        kind.apply(&mut self.cache);
        self.pending.push(Change { kind, is_doomed: false });
    }
}

impl ChangeKind {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if !data.is_empty() && bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if !data.is_empty() {
                    bytes[*offset..end].copy_from_slice(data);
                }
            }
            Self::SetLen(length) => bytes.resize(*length, 0),
        }
    }
}
