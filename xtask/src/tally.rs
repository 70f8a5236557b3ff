//! What a comparison with reference outputs came to.

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Figures, lists or operations compared.
    pub(crate) checked: usize,
    /// One line for each that differs: file, what it is, what is wrong.
    pub(crate) differences: Vec<String>,
}
