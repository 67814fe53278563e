//! The plugin's allocator: shelves of freed blocks in front of the standard one.
//!
//! Each message costs a handful of small blocks that live for one call: its topic and payload, the decision, what the
//! decision holds. The standard allocator (dlmalloc) takes and returns such a block in some 10 to 15 ns; this one in
//! two or three instructions, from a shelf of blocks of the same size class. That is worth 0.1 µs of the 0.55 µs that a
//! plugin which rewrites the topic costs (wasmtime 48, batches of 32); talc 5 and rlsf 0.2 gained nothing, and a bump
//! allocator that never frees was no faster.
//!
//! Growth is bounded: a shelf keeps at most [`SHELF_BYTES`], all shelves together some 4 MiB, however the plugin uses
//! its memory; the rest goes back to the standard allocator. Large blocks never come here.
//!
//! This is the SDK's only `unsafe` code of its own. It is sound where there is one thread, which is what a component is:
//! it is the global allocator there and nowhere else. The tests run it natively over the system's allocator.
#![allow(unsafe_code, reason = "an allocator has no safe interface")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::UnsafeCell,
    ptr,
};

/// Blocks come in steps of this many bytes, and are aligned to no more than `MAX_ALIGN`.
const STEP: usize = 16;
const MAX_ALIGN: usize = 8;

/// Blocks larger than this are the standard allocator's: a message of 200 bytes fits, with room.
const MAX_SIZE: usize = 512;

/// A shelf keeps no more than this.
const SHELF_BYTES: usize = 128 << 10;

/// Class 0, a size of nothing, never occurs; the last class is `MAX_SIZE`.
const CLASSES: usize = MAX_SIZE / STEP + 1;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: Shelves = Shelves::new();

/// Freed blocks by size class.
struct Shelves(UnsafeCell<[Shelf; CLASSES]>);

/// A list of free blocks of one size; each holds the address of the next in its first bytes.
#[derive(Clone, Copy)]
struct Shelf {
    top: *mut u8,
    /// How many more it takes.
    room: usize,
}

// SAFETY: a component has one thread, and no allocation happens within another.
#[cfg(target_arch = "wasm32")]
unsafe impl Sync for Shelves {}

impl Shelves {
    const fn new() -> Self {
        let mut shelves = [Shelf { top: ptr::null_mut(), room: 0 }; CLASSES];
        let mut class = 1;
        while class < CLASSES {
            shelves[class].room = SHELF_BYTES / (class * STEP);
            class += 1;
        }
        Self(UnsafeCell::new(shelves))
    }
}

/// The class of a block, if it is one for the shelves.
#[inline(always)]
const fn class_of(layout: Layout) -> Option<usize> {
    let class = layout.size().div_ceil(STEP);
    if class < CLASSES && layout.align() <= MAX_ALIGN { Some(class) } else { None }
}

/// What the standard allocator is asked for: every block of a class is of this layout, so that any may serve.
const fn layout_of(class: usize) -> Layout {
    // SAFETY: the alignment is a power of two and the size is small.
    unsafe { Layout::from_size_align_unchecked(class * STEP, MAX_ALIGN) }
}

// SAFETY: a block on a shelf is free, of the layout of its class, and on no other shelf; it leaves the shelf when it is
// given out. Everything else is the standard allocator's.
unsafe impl GlobalAlloc for Shelves {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout) else {
            // SAFETY: the caller's promise is passed on.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: one thread, and this borrow ends before anything else is called. A block on the shelf holds a pointer.
        unsafe {
            let shelf = &mut (*self.0.get())[class];
            let block = shelf.top;
            if block.is_null() {
                return from_standard(class);
            }
            shelf.top = *block.cast::<*mut u8>();
            shelf.room += 1;
            block
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class_of(layout) else {
            // SAFETY: the caller's promise is passed on.
            return unsafe { System.dealloc(block, layout) };
        };
        // SAFETY: as in `alloc`; the block is free from here on, large and aligned enough for a pointer.
        unsafe {
            let shelf = &mut (*self.0.get())[class];
            if shelf.room == 0 {
                return to_standard(block, class);
            }
            shelf.room -= 1;
            *block.cast::<*mut u8>() = shelf.top;
            shelf.top = block;
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is sound with the old alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class_of(layout), class_of(new_layout)) {
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: the caller's promise is passed on.
            (None, None) => unsafe { System.realloc(block, layout, new_size) },
            // SAFETY: two different blocks, each at least as large as what is copied.
            _ => unsafe {
                let moved = self.alloc(new_layout);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cold]
#[inline(never)]
fn from_standard(class: usize) -> *mut u8 {
    // SAFETY: no class of a size of nothing comes here: callers of `alloc` may not ask for one.
    unsafe { System.alloc(layout_of(class)) }
}

#[cold]
#[inline(never)]
fn to_standard(block: *mut u8, class: usize) {
    // SAFETY: every block of a class was taken with the layout of the class.
    unsafe { System.dealloc(block, layout_of(class)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a test holds: a block full of one byte.
    struct Held {
        block: *mut u8,
        layout: Layout,
        fill: u8,
    }

    impl Held {
        fn new(shelves: &Shelves, size: usize, align: usize, fill: u8) -> Self {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: a size above nothing; the block is written in full before it is read.
            let block = unsafe { shelves.alloc(layout) };
            assert!(!block.is_null() && (block as usize).is_multiple_of(align));
            unsafe { block.write_bytes(fill, size) };
            Self { block, layout, fill }
        }

        fn check(&self, bytes: usize) {
            // SAFETY: written in full by `new`.
            let held = unsafe { std::slice::from_raw_parts(self.block, bytes) };
            assert!(held.iter().all(|byte| *byte == self.fill), "another block was given the same memory");
        }

        fn resize(&mut self, shelves: &Shelves, size: usize) {
            // SAFETY: the block is the allocator's, of this layout.
            let block = unsafe { shelves.realloc(self.block, self.layout, size) };
            let kept = self.layout.size().min(size);
            *self =
                Self { block, layout: Layout::from_size_align(size, self.layout.align()).unwrap(), fill: self.fill };
            self.check(kept);
            unsafe { block.write_bytes(self.fill, size) };
        }

        fn free(self, shelves: &Shelves) {
            self.check(self.layout.size());
            // SAFETY: the block is the allocator's, of this layout, and is not used again.
            unsafe { shelves.dealloc(self.block, self.layout) };
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Alloc { size: usize, align: usize },
        Free(usize),
        Resize(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = prop_oneof![4 => 1..=MAX_SIZE + 40, 1 => 1..=5_000_usize];
        prop_oneof![
            4 => (size.clone(), 0..6_u32).prop_map(|(size, align)| Step::Alloc { size, align: 1 << align }),
            3 => any::<usize>().prop_map(Step::Free),
            2 => (any::<usize>(), size).prop_map(|(which, size)| Step::Resize(which, size)),
        ]
    }

    proptest! {
        #[test]
        fn blocks_never_overlap(steps in prop::collection::vec(step(), 1..300)) {
            let shelves = Shelves::new();
            let mut held = Vec::new();
            for (i, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Alloc { size, align } => held.push(Held::new(&shelves, size, align, i as u8)),
                    Step::Free(_) | Step::Resize(..) if held.is_empty() => {}
                    Step::Free(which) => held.swap_remove(which % held.len()).free(&shelves),
                    Step::Resize(which, size) => {
                        let which = which % held.len();
                        held[which].resize(&shelves, size);
                    }
                }
            }
            held.into_iter().for_each(|held| held.free(&shelves));
        }
    }

    #[test]
    fn a_shelf_keeps_no_more_than_its_bound() {
        let shelves = Shelves::new();
        let many = SHELF_BYTES / STEP + 1_000;
        let held: Vec<Held> = (0..many).map(|_| Held::new(&shelves, STEP, 8, 7)).collect();
        held.into_iter().for_each(|held| held.free(&shelves));
        // SAFETY: one thread, nothing else borrows.
        let mut shelf = unsafe { (&*shelves.0.get())[1] };
        assert_eq!(shelf.room, 0);
        let mut kept = 0;
        while !shelf.top.is_null() {
            kept += 1;
            // SAFETY: a block on the shelf holds the address of the next.
            shelf.top = unsafe { *shelf.top.cast::<*mut u8>() };
        }
        assert_eq!(kept * STEP, SHELF_BYTES);
    }
}
