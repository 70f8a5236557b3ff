//! The ops behind the embedding, run alone: what the head of a plan says of an embedding that was kept.

use super::Plan;
use crate::arena::Arena;
use crate::executor::RunError;
use crate::record::NONE;

impl Plan<'_> {
    /// Runs what comes behind the embedding over one that was kept, `q` as the bytes that it was in the arena; the output
    /// then lies at [`Plan::output`], as after a whole run of its window. Answers whether it did: a plan without an
    /// embedding, or whose later ops read anything else that a window makes, cannot.
    ///
    /// # Errors
    /// [`RunError`] if the arena is too small; it is then untouched.
    pub fn run_head<A: Arena + ?Sized>(
        &self,
        embedding: &[u8],
        arena: &mut A,
    ) -> Result<bool, RunError> {
        let (Some(tensor), Some(first)) = (self.embedding(), self.head_op()) else {
            return Ok(false);
        };
        if tensor.len != embedding.len() {
            return Ok(false);
        }
        arena
            .bytes_mut(self, tensor.range())?
            .copy_from_slice(embedding);
        arena.run_from(self, first)?;
        Ok(true)
    }

    /// The first op that reads the embedding, if no later one reads what was made before it.
    fn head_op(&self) -> Option<usize> {
        let embedding = self.header.embedding;
        let ops = || (0..self.op_count()).filter_map(|index| self.op(index));
        let first = ops().position(|op| op.inputs.contains(&embedding))?;
        let is_of_head = |id: u16, before: usize| {
            id == NONE
                || id == embedding
                || ops().take(before).skip(first).any(|made| made.output == id)
        };
        let alone = ops().enumerate().skip(first).all(|(index, op)| {
            let inputs = op.inputs.iter();
            inputs.into_iter().all(|&id| is_of_head(id, index))
        });
        (embedding != NONE && alone).then_some(first)
    }
}
