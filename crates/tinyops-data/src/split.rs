//! Which samples train, which choose, which test: whole groups, never parts of one.

use crate::dataset::Dataset;
use crate::finding::Report;
use crate::sample::Role;
use crate::spec::SplitSpec;

/// Indices into [`Dataset::samples`], each in one part at most, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Weights are fitted to these.
    pub train: Vec<usize>,
    /// Choices are made by these.
    pub validation: Vec<usize>,
    /// Looked at once, at the end.
    pub test: Vec<usize>,
}

impl Split {
    /// One part.
    pub fn part(&self, role: Role) -> &[usize] {
        match role {
            Role::Train => &self.train,
            Role::Validation => &self.validation,
            Role::Test => &self.test,
        }
    }
}

/// Splits a dataset, and reports empty parts, missing classes and leaks.
pub fn split(_dataset: &Dataset, _spec: &SplitSpec, _report: &mut Report) -> Split {
    todo!()
}

/// One split for each group, in which that group alone tests: leave one out.
pub fn leave_one_out(
    _dataset: &Dataset,
    _spec: &SplitSpec,
    _report: &mut Report,
) -> Vec<(String, Split)> {
    todo!()
}
