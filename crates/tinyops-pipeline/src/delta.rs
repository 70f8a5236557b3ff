//! Deltas between capsules, for the server: what a plan means is known to the compiler, which makes them.

/// Makes what makes the capsule `new` out of the capsule `old` (`docs/formats/delta.md`); `None` if one of them is too
/// large to be a capsule.
#[must_use]
pub fn delta(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    tinyops_compile::delta(old, new).ok()
}
