//! What a power loss leaves of a disk: of everything that was not synced any part may be there.

use super::{ChangeKind, Inner, Inode, NameChange, SimDisk};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What a disk writes in one piece, in bytes.
const SECTOR: usize = 512;

impl SimDisk {
    /// One of the disks that a power loss may leave, by number: 0 loses all that was not synced, 1 keeps all of it, each
    /// other one loses, keeps, tears and reorders by chance.
    pub fn crash(&self, choice: u64) -> Self {
        let inner = self.lock();
        let mut dice = Dice(choice.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // Some crashes lose little, some much.
        let keep = match choice {
            0 => 0,
            1 => 100,
            _ => [8, 50, 92][dice.below(3)],
        };
        let mut names = inner.durable_names.clone();
        for change in &inner.pending_names {
            if dice.below(100) >= keep {
                continue;
            }
            match change {
                NameChange::Set(name, inode) => {
                    names.insert(name.clone(), *inode);
                }
                NameChange::Move(from, to, inode) => {
                    if names.get(from) == Some(inode) {
                        names.remove(from);
                    }
                    names.insert(to.clone(), *inode);
                }
                NameChange::Gone(name, inode) => {
                    if names.get(name) == Some(inode) {
                        names.remove(name);
                    }
                }
            }
        }
        let mut left = Inner::default();
        let mut places = BTreeMap::new();
        for (name, inode) in names {
            let place = *places.entry(inode).or_insert_with(|| {
                let bytes = inner.inodes[inode].after_crash(keep, &mut dice);
                left.inodes.push(Inode { cache: bytes.clone(), durable: bytes, pending: Vec::new() });
                left.inodes.len() - 1
            });
            left.names.insert(name, place);
        }
        left.durable_names = left.names.clone();
        Self(Arc::new(Mutex::new(left)))
    }
}

impl Inode {
    fn after_crash(&self, keep: usize, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in self.pending.iter().filter(|change| !change.is_doomed) {
            let is_torn = (1..100).contains(&keep) && dice.below(100) < 35;
            match &change.kind {
                ChangeKind::Write(offset, data) if is_torn => {
                    if dice.below(2) == 0 {
                        let length = dice.below(data.len() + 1);
                        ChangeKind::Write(*offset, data[..length].to_vec()).apply(&mut bytes);
                        continue;
                    }
                    // Whole sectors of the file, in any selection.
                    let mut from = 0;
                    while from < data.len() {
                        let to = (from + SECTOR - (offset + from) % SECTOR).min(data.len());
                        if dice.below(2) == 0 {
                            ChangeKind::Write(offset + from, data[from..to].to_vec()).apply(&mut bytes);
                        }
                        from = to;
                    }
                }
                kind if dice.below(100) < keep => kind.apply(&mut bytes),
                _ => {}
            }
        }
        bytes
    }
}

/// Chance that is the same every time (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }
}
