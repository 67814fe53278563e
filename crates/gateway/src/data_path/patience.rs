//! Whether it pays to wait for plugins before the data path's thread sleeps.

/// After a wait that brought no verdict, this many flushes do not wait at all; after the next such wait twice as many,
/// and so on up to the maximum. A wait that brought one starts over.
const VAIN_MIN: u32 = 8;
const VAIN_MAX: u32 = 1024;

/// Whether waiting for plugins has paid lately. A slow plugin costs the data path one short wait in a thousand batches.
#[derive(Debug, Default)]
pub(super) struct Patience {
    pass_over: u32,
    next: u32,
}

impl Patience {
    pub(super) fn admits(&mut self) -> bool {
        let admits = self.pass_over == 0;
        self.pass_over = self.pass_over.saturating_sub(1);
        admits
    }

    pub(super) fn learn(&mut self, came: bool) {
        if came {
            self.next = VAIN_MIN;
        } else {
            self.pass_over = self.next.max(VAIN_MIN);
            self.next = (self.pass_over * 2).min(VAIN_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_in_vain_become_rare_and_one_that_pays_makes_them_common_again() {
        let mut patience = Patience::default();
        let mut waits = 0;
        for _ in 0..10_000 {
            if patience.admits() {
                waits += 1;
                patience.learn(false);
            }
        }
        assert!(waits < 20, "{waits}");
        while !patience.admits() {}
        patience.learn(true);
        assert!(patience.admits());
    }
}
