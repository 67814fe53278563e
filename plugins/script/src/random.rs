//! In place of a source of random numbers, which a component has not: hashing is seeded with the same number each time. What is
//! hashed are names of functions and types, and keys of a script within its bounds.

use getrandom::Error;

#[allow(clippy::unnecessary_wraps, reason = "the signature is the crate's")]
fn the_same(to: &mut [u8]) -> Result<(), Error> {
    to.fill(0x5a);
    Ok(())
}

getrandom::register_custom_getrandom!(the_same);
