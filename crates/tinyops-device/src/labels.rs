//! Labels that come late: the newest embeddings wait for them, and their sums wait for the server.

use tinyops_nn::statistics::{ClassStatistics, cell_count};
use tinyops_sketch::CLASSES_MAX;
use tinyops_wire::downlink::Label;
use tinyops_wire::frame::Flags;

use crate::agent::{Agent, Pending};
use crate::flash::Flash;
use crate::memory::{Lent, Memory};
use crate::settings::Privacy;

/// Shape of what is kept for a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) class_count: usize,
    /// Width of the embedding; 0 for a model without one.
    pub(crate) width: usize,
    pub(crate) zero_point: i8,
}

impl Shape {
    pub(crate) fn cells(self) -> usize {
        if self.width == 0 {
            0
        } else {
            cell_count(self.class_count, self.width)
        }
    }
}

/// The newest windows, each as its predicted class and its embedding, in memory lent for the step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ring {
    /// Entries in it.
    len: usize,
    /// Index of the entry that comes next.
    next: usize,
}

/// What the model had said of windows that a label has judged: its own head, whatever head of the device's own has answered,
/// for an outcome is about what was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) class: u8,
    pub(crate) counts: [u16; CLASSES_MAX],
}

impl Ring {
    pub(crate) fn push(&mut self, memory: &mut [u8], predicted: u8, embedding: &[u8]) {
        let entry_bytes = 1 + embedding.len();
        let capacity = memory.len() / entry_bytes;
        if capacity == 0 {
            return;
        }
        let entry = &mut memory[self.next * entry_bytes..][..entry_bytes];
        entry[0] = predicted;
        entry[1..].copy_from_slice(embedding);
        self.next = (self.next + 1) % capacity;
        self.len = (self.len + 1).min(capacity);
    }

    /// Judges the newest windows: their predictions are counted, their embeddings added to the
    /// statistics if there is memory for those, and they leave the ring, for one label is all they get. `keep` is told
    /// each embedding.
    pub(crate) fn judge(
        &mut self,
        memory: &[u8],
        cells: &mut [i32],
        shape: Shape,
        label: Label,
        mut keep: impl FnMut(&[u8]),
    ) -> Option<Judged> {
        let entry_bytes = 1 + shape.width;
        let capacity = memory.len() / entry_bytes;
        if usize::from(label.class) >= shape.class_count || capacity == 0 {
            return None;
        }
        let cells = cells
            .get_mut(..shape.cells())
            .filter(|cells| !cells.is_empty());
        let mut statistics = cells
            .and_then(|cells| ClassStatistics::new(shape.class_count, shape.width, cells).ok());
        let mut judged = Judged {
            class: label.class,
            counts: [0; CLASSES_MAX],
        };
        let count = usize::from(label.windows_back).min(self.len);
        self.next = (self.next + capacity - count) % capacity;
        self.len -= count;
        // Oldest first: who keeps but some keeps the newest.
        for index in 0..count {
            let at = (self.next + index) % capacity;
            let entry = &memory[at * entry_bytes..][..entry_bytes];
            if let Some(counted) = judged.counts.get_mut(usize::from(entry[0])) {
                *counted = counted.saturating_add(1);
            }
            keep(&entry[1..]);
            if let Some(statistics) = &mut statistics {
                // Full sums stay as they are until the server has fetched them.
                let _ = statistics.add(usize::from(label.class), &entry[1..], shape.zero_point);
            }
        }
        (count > 0).then_some(judged)
    }
}

/// Forgets the newest windows and the sums of labelled ones, and with them whatever of these is being told, or waits for
/// that: what is left of an answer would be of other sums, and a label of other windows.
pub(crate) fn forget_sums(ring: &mut Ring, statistics: &mut [i32], pending: &mut Pending) {
    *ring = Ring::default();
    statistics.fill(0);
    (pending.statistics, pending.masked, pending.label) = (None, None, None);
}

impl<F: Flash, M: Memory> Agent<F, M> {
    pub(crate) fn label(&mut self, label: Label) {
        if self.pending.statistics.is_some() || self.pending.masked.is_some() {
            self.pending.label = Some(label);
            return;
        }
        let Some(running) = &self.running else {
            return;
        };
        let Lent {
            ring,
            statistics,
            labelled,
            ..
        } = self.memory.lend();
        let shape = running.labels;
        let (own, adapting) = (&mut self.own, &self.adapting);
        let is_known = usize::from(label.class) < shape.class_count;
        let keeps = is_known && own.begin_label(adapting.mark(), adapting.is_learning());
        let judged = self
            .ring
            .judge(ring, statistics, shape, label, |embedding| {
                if keeps {
                    own.keep(labelled, label.class, embedding);
                }
            });
        if let Some(judged) = judged {
            self.monitor.flags = self.monitor.flags.with(Flags::LABELLED);
            if let Some(shadow) = &mut self.shadow {
                let windows = judged.counts.iter().map(|&count| usize::from(count)).sum();
                shadow.judge(label, windows);
            }
            // What was true and what the model had said is a diary: under masks it stays.
            if let Privacy::Plain = self.config.privacy {
                self.pending.outcome = Some(judged);
            }
            self.try_own_head();
        }
    }

    /// As [`forget_sums`] does.
    pub(crate) fn forget_sums(&mut self) {
        let statistics = self.memory.lend().statistics;
        forget_sums(&mut self.ring, statistics, &mut self.pending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_tells_its_windows_oldest_first() {
        let (mut ring, mut memory) = (Ring::default(), [0; 2 * 5]);
        (1..=8).for_each(|window| ring.push(&mut memory, 0, &[window]));
        let shape = Shape {
            class_count: 2,
            width: 1,
            zero_point: 0,
        };
        let label = |windows_back| Label {
            class: 1,
            windows_back,
        };
        for (windows_back, told) in [(2, [7, 8].as_slice()), (9, &[4, 5, 6]), (1, &[])] {
            let (mut kept, mut count) = ([0; 8], 0);
            ring.judge(&memory, &mut [], shape, label(windows_back), |embedding| {
                kept[count] = embedding[0];
                count += 1;
            });
            assert_eq!(&kept[..count], told);
        }
    }
}
