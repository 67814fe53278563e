//! Rendezvous hashing (Thaler and Ravishankar, 1998; weighted as by Mosharaf et al.): of several with a weight each, the one
//! that a key belongs to. Another weight of one moves keys to or from that one only.

/// Of members with a share, the one with the best score for a key.
#[inline]
pub(crate) fn best<T>(members: impl Iterator<Item = (T, u64, f64)> + Clone, key: u64) -> Option<T> {
    let with_share = members.filter(|(.., share)| *share > 0.0);
    let mut first_two = with_share.clone();
    let first = first_two.next()?;
    if first_two.next().is_none() {
        return Some(first.0);
    }
    let scored = with_share.map(|(broker, seed, share)| (broker, score(seed, key) / share));
    scored.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(broker, _)| broker)
}

/// Exponentially distributed: the least of several, each divided by a weight, is each one's as often as its weight says.
fn score(seed: u64, key: u64) -> f64 {
    /// So many bits a float holds exactly.
    const BITS: u32 = 53;
    let hash = mix(seed ^ mix(key));
    let even = ((hash >> (u64::BITS - BITS)) + 1) as f64 / (1u64 << BITS) as f64;
    -even.ln()
}

/// What a key of a message is for sets: FNV-1a (Fowler, Noll and Vo). The same in every version and on every machine, for what
/// waits in the log is filed by it.
#[inline]
pub(crate) fn key_hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads what differs in any bit over all of them: the end of SplitMix64 (Steele, Lea and Flood, 2014).
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_the_same_member_for_ever() {
        assert_eq!(key_hash("a"), 0xaf63_dc4c_8601_ec8c); // as in the FNV test suite
        let members = [("a", 1.0), ("b", 1.0), ("c", 2.0)];
        let scored = members.into_iter().map(|(name, weight)| (name, key_hash(name), weight));
        let owner = |n: u32| best(scored.clone(), key_hash(&format!("dev/{n}/temp")));
        let owners: Vec<_> = (0..8).filter_map(owner).collect();
        assert_eq!(owners, ["a", "a", "a", "a", "c", "b", "c", "c"]);
    }
}
