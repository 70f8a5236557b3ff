//! How much of its arena a plan really uses.

use tinyops_nn::Plan;

/// The bytes up to the last one that a run touches, measured: the arena is painted, filled with an
/// input, and looked at afterwards. A byte that keeps two different paints was not touched.
pub(crate) fn touched_bytes(plan: &Plan<'_>) -> u32 {
    let mut touched = 0;
    for paint in [0xA5, 0x5A] {
        let mut arena = vec![paint; plan.arena_bytes()];
        arena[plan.input().range()].fill(!paint);
        if plan.run(&mut arena).is_err() {
            return 0;
        }
        let last = arena.iter().rposition(|&byte| byte != paint);
        touched = touched.max(last.map_or(0, |last| last + 1));
        if touched == arena.len() {
            break;
        }
    }
    touched as u32
}
