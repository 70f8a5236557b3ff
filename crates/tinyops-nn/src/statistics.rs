//! Exact sufficient statistics of embeddings, for closed-form learning of a last layer.
//!
//! An embedding is `φ = q - zero_point`, integers in `-255..=255`. Kept are the count of each
//! class, the sum of `φ` of each class, and the upper triangle of `Σ φ φᵀ` over all classes.
//! Sums of integers do not depend on order, so merging is exact, and so is taking a part back.
//!
//! # Source
//! Fanì et al., "Accelerating heterogeneous federated learning with closed-form classifiers",
//! ICML 2024, for the idea that these statistics suffice.

use core::marker::PhantomData;

/// The greatest square of one value of an embedding, `255²`.
const SQUARE_MAX: i64 = 255 * 255;

/// The integer that one sum is kept in.
pub trait Cell: Copy + Default + Eq + sealed::Sealed {
    /// So many embeddings always fit.
    const COUNT_MAX: i64;
    /// The value as 64 bits.
    fn get(self) -> i64;
    /// Adds, modulo the width: what is added can always be taken back exactly.
    #[must_use]
    fn plus(self, other: i64) -> Self;
}

impl Cell for i32 {
    const COUNT_MAX: i64 = i32::MAX as i64 / SQUARE_MAX;
    fn get(self) -> i64 {
        i64::from(self)
    }
    fn plus(self, other: i64) -> i32 {
        self.wrapping_add(other as i32)
    }
}

impl Cell for i64 {
    const COUNT_MAX: i64 = i64::MAX / SQUARE_MAX;
    fn get(self) -> i64 {
        self
    }
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i32 {}
    impl Sealed for i64 {}
}

/// How many cells the statistics of so many classes and embedding values need.
///
/// Counts, then the sums of class 0, class 1 and so on, then the upper triangle row by row.
#[must_use]
pub const fn cell_count(class_count: usize, embedding_len: usize) -> usize {
    class_count + class_count * embedding_len + embedding_len * (embedding_len + 1) / 2
}

/// What went wrong with statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatisticsError {
    /// The memory does not have [`cell_count`] cells.
    CellCount,
    /// The embedding, or the other statistics, has another length or count of classes.
    Shape,
    /// There is no such class.
    Class,
    /// One more could overflow a sum; report and clear first.
    Full,
    /// There is nothing to take back.
    Empty,
}

impl core::fmt::Display for StatisticsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            StatisticsError::CellCount => "the memory has the wrong count of cells",
            StatisticsError::Shape => "the shapes of the statistics differ",
            StatisticsError::Class => "there is no such class",
            StatisticsError::Full => "one more could overflow a sum",
            StatisticsError::Empty => "there is nothing to take back",
        })
    }
}

impl core::error::Error for StatisticsError {}

/// Counts, class sums and Gram matrix over the caller's memory: `[i32; N]`, `&mut [i32]`, `Vec<i64>`.
///
/// A device keeps `i32` (up to 33,025 embeddings), whoever adds devices together keeps `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassStatistics<C, S> {
    class_count: usize,
    embedding_len: usize,
    cells: S,
    cell: PhantomData<C>,
}

impl<C: Cell, S: AsRef<[C]>> ClassStatistics<C, S> {
    /// Statistics over cells that hold some already; zeroed cells hold none.
    ///
    /// # Errors
    /// [`StatisticsError::CellCount`] unless there are [`cell_count`] cells.
    pub fn new(
        class_count: usize,
        embedding_len: usize,
        cells: S,
    ) -> Result<Self, StatisticsError> {
        if cells.as_ref().len() != cell_count(class_count, embedding_len) {
            return Err(StatisticsError::CellCount);
        }
        Ok(ClassStatistics {
            class_count,
            embedding_len,
            cells,
            cell: PhantomData,
        })
    }

    /// How many classes there are.
    #[must_use]
    pub fn class_count(&self) -> usize {
        self.class_count
    }

    /// How many values an embedding has.
    #[must_use]
    pub fn embedding_len(&self) -> usize {
        self.embedding_len
    }

    /// All cells, in the order of [`cell_count`].
    #[must_use]
    pub fn cells(&self) -> &[C] {
        self.cells.as_ref()
    }

    /// How many embeddings each class has.
    #[must_use]
    pub fn counts(&self) -> &[C] {
        &self.cells()[..self.class_count]
    }

    /// How many embeddings there are.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.counts()
            .iter()
            .fold(0, |total, count| total.saturating_add(count.get()))
    }

    /// `Σ φ` of one class.
    ///
    /// # Panics
    /// If there is no such class.
    #[must_use]
    pub fn class_sum(&self, class: usize) -> &[C] {
        &self.cells()[self.class_count + class * self.embedding_len..][..self.embedding_len]
    }

    /// `Σ φ_i φ_j` over all classes.
    ///
    /// # Panics
    /// If there is no such row or column.
    #[must_use]
    pub fn gram(&self, row: usize, column: usize) -> i64 {
        let (row, column) = (row.min(column), row.max(column));
        assert!(
            column < self.embedding_len,
            "the Gram matrix has no column {column}"
        );
        let before = row * self.embedding_len - row * row.saturating_sub(1) / 2;
        self.triangle()[before + column - row].get()
    }

    /// Whether some set of embeddings could have these sums, as far as bounds can tell.
    ///
    /// For statistics from outside: a device that lies within the bounds is not caught here.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        let total = self.total();
        let counts_are_sound =
            self.counts().iter().all(|count| count.get() >= 0) && total <= C::COUNT_MAX;
        let within =
            |value: &C, count: i64, most: i64| value.get().unsigned_abs() <= (count * most) as u64;
        counts_are_sound
            && (0..self.class_count).all(|class| {
                let count = self.counts()[class].get();
                self.class_sum(class)
                    .iter()
                    .all(|sum| within(sum, count, 255))
            })
            && self
                .triangle()
                .iter()
                .all(|sum| within(sum, total, SQUARE_MAX))
            && (0..self.embedding_len).all(|index| self.gram(index, index) >= 0)
    }

    fn triangle(&self) -> &[C] {
        &self.cells()[self.class_count * (1 + self.embedding_len)..]
    }
}

impl<C: Cell, S: AsRef<[C]> + AsMut<[C]>> ClassStatistics<C, S> {
    /// Adds one embedding: int8 values as the bytes they are in the arena.
    ///
    /// # Errors
    /// [`StatisticsError::Class`], [`StatisticsError::Shape`] or [`StatisticsError::Full`]; then
    /// nothing has changed.
    pub fn add(
        &mut self,
        class: usize,
        embedding: &[u8],
        zero_point: i8,
    ) -> Result<(), StatisticsError> {
        self.check_embedding(class, embedding)?;
        if self.total() >= C::COUNT_MAX {
            return Err(StatisticsError::Full);
        }
        self.accumulate(class, embedding, zero_point, 1);
        Ok(())
    }

    /// Takes one embedding back, exactly.
    ///
    /// # Errors
    /// As [`ClassStatistics::add`], and [`StatisticsError::Empty`] if the class has none.
    pub fn subtract(
        &mut self,
        class: usize,
        embedding: &[u8],
        zero_point: i8,
    ) -> Result<(), StatisticsError> {
        self.check_embedding(class, embedding)?;
        if self.counts()[class].get() <= 0 {
            return Err(StatisticsError::Empty);
        }
        self.accumulate(class, embedding, zero_point, -1);
        Ok(())
    }

    /// Adds other statistics, in any order.
    ///
    /// # Errors
    /// [`StatisticsError::Shape`] or [`StatisticsError::Full`]; then nothing has changed.
    pub fn merge<D: Cell, T: AsRef<[D]>>(
        &mut self,
        other: &ClassStatistics<D, T>,
    ) -> Result<(), StatisticsError> {
        self.check_shape(other)?;
        if self.total().saturating_add(other.total()) > C::COUNT_MAX {
            return Err(StatisticsError::Full);
        }
        for (cell, other) in self.cells.as_mut().iter_mut().zip(other.cells()) {
            *cell = cell.plus(other.get());
        }
        Ok(())
    }

    /// Takes other statistics back, exactly: as if they had never been merged.
    ///
    /// # Errors
    /// [`StatisticsError::Shape`], or [`StatisticsError::Empty`] if a class has fewer.
    pub fn unmerge<D: Cell, T: AsRef<[D]>>(
        &mut self,
        other: &ClassStatistics<D, T>,
    ) -> Result<(), StatisticsError> {
        self.check_shape(other)?;
        let mut counts = self.counts().iter().zip(other.counts());
        if counts.any(|(count, other)| count.get() < other.get()) {
            return Err(StatisticsError::Empty);
        }
        for (cell, other) in self.cells.as_mut().iter_mut().zip(other.cells()) {
            *cell = cell.plus(other.get().wrapping_neg());
        }
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.cells.as_mut().fill(C::default());
    }

    fn accumulate(&mut self, class: usize, embedding: &[u8], zero_point: i8, sign: i64) {
        let (class_count, len) = (self.class_count, self.embedding_len);
        let (counts, rest) = self.cells.as_mut().split_at_mut(class_count);
        let (sums, mut triangle) = rest.split_at_mut(class_count * len);
        counts[class] = counts[class].plus(sign);
        let phi = |byte: u8| i64::from(byte as i8) - i64::from(zero_point);
        for (sum, &byte) in sums[class * len..].iter_mut().zip(embedding) {
            *sum = sum.plus(sign * phi(byte));
        }
        for (row, &byte) in embedding.iter().enumerate() {
            let (products, rest) = triangle.split_at_mut(len - row);
            let left = sign * phi(byte);
            // Most values of a rectified embedding are 0.
            if left != 0 {
                for (product, &byte) in products.iter_mut().zip(&embedding[row..]) {
                    *product = product.plus(left * phi(byte));
                }
            }
            triangle = rest;
        }
    }

    fn check_embedding(&self, class: usize, embedding: &[u8]) -> Result<(), StatisticsError> {
        if class >= self.class_count {
            return Err(StatisticsError::Class);
        }
        if embedding.len() != self.embedding_len {
            return Err(StatisticsError::Shape);
        }
        Ok(())
    }

    fn check_shape<D: Cell, T: AsRef<[D]>>(
        &self,
        other: &ClassStatistics<D, T>,
    ) -> Result<(), StatisticsError> {
        let same =
            self.class_count == other.class_count() && self.embedding_len == other.embedding_len();
        if same {
            Ok(())
        } else {
            Err(StatisticsError::Shape)
        }
    }
}
