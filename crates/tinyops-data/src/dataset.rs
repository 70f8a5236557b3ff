//! Samples that belong together, at a version.

use crate::manifest::Manifest;
use crate::sample::Sample;

/// Samples in the order of their names, and their classes in the order of the model's outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// Sorted by name; names are unique.
    pub samples: Vec<Sample>,
    /// The classes.
    pub classes: Vec<String>,
}

impl Dataset {
    /// Index of a class in [`Dataset::classes`].
    pub fn class_index(&self, class: &str) -> Option<usize> {
        self.classes.iter().position(|known| known == class)
    }

    /// The rate that the samples share; of the first if they differ, 0 if there are none.
    pub fn rate_hz(&self) -> f32 {
        self.samples.first().map_or(0.0, |sample| sample.rate_hz)
    }

    /// The groups, sorted.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = self
            .samples
            .iter()
            .map(|sample| sample.group.as_str())
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The list that names this version.
    pub fn manifest(&self) -> Manifest {
        Manifest::of(self)
    }

    /// Samples of each class, in the order of the classes; a sample with segments counts for each class in it.
    pub fn class_counts(&self) -> Vec<usize> {
        let holds =
            |sample: &&Sample, class: &str| sample.label.classes().any(|known| known == class);
        let count = |class: &String| {
            self.samples
                .iter()
                .filter(|sample| holds(sample, class))
                .count()
        };
        self.classes.iter().map(count).collect()
    }
}
