//! Anomaly scores: distance to clusters, distance to a distribution, error of a reconstruction.
//!
//! ```text
//! magic "TDST" · version u16 · kind u8 · 0 u8 · feature_count u32 · centre_count u32
//! kind 0, k-means:      centre_count × (feature_count centre f32, radius f32)
//! kind 1, Mahalanobis:  feature_count mean f32, then the upper triangle of the inverse
//!                       covariance, row by row, f32 (centre_count is 1)
//! ```
//! Sums run in the order of memory, so that every machine gets the same bits.

use crate::arena::Arena;
use crate::executor::RunError;
use crate::plan::Plan;

/// The first four bytes of a distance.
pub const MAGIC: [u8; 4] = *b"TDST";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;

/// A distance over features, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Distance<'a> {
    kind: DistanceKind,
    feature_count: usize,
    numbers: &'a [[u8; 4]],
}

/// What the features are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistanceKind {
    /// Centres with their radii.
    KMeans,
    /// A mean and the inverse of its covariance.
    Mahalanobis,
}

/// The bytes are no distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DistanceError;

impl core::fmt::Display for DistanceError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not a distance of a known version, or cut short")
    }
}

impl core::error::Error for DistanceError {}

impl<'a> Distance<'a> {
    /// Checks and borrows a distance. Bytes after its end are ignored.
    ///
    /// # Errors
    /// [`DistanceError`].
    pub fn load(bytes: &'a [u8]) -> Result<Distance<'a>, DistanceError> {
        let (header, numbers) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(DistanceError)?;
        let kind = match header[6] {
            0 => DistanceKind::KMeans,
            1 => DistanceKind::Mahalanobis,
            _ => return Err(DistanceError),
        };
        let word = |at: usize| u64::from(crate::record::read_u32(header, at));
        let (features, centres) = (word(8), word(12));
        let sound = header[..4] == MAGIC
            && header[4..6] == VERSION.to_le_bytes()
            && header[7] == 0
            && features > 0;
        let count = match kind {
            DistanceKind::KMeans if centres > 0 => centres.checked_mul(features + 1),
            DistanceKind::Mahalanobis if centres == 1 => features
                .checked_mul(features + 1)
                .map(|twice| features + twice / 2),
            _ => None,
        };
        let numbers = numbers.as_chunks().0;
        let count = count
            .and_then(|count| usize::try_from(count).ok())
            .filter(|_| sound)
            .ok_or(DistanceError)?;
        let numbers = numbers.get(..count).ok_or(DistanceError)?;
        Ok(Distance {
            kind,
            feature_count: features as usize,
            numbers,
        })
    }

    /// What it measures against.
    #[must_use]
    pub fn kind(&self) -> DistanceKind {
        self.kind
    }

    /// How many features it takes.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// How strange the features are; greater is stranger.
    ///
    /// k-means: `min_k(|x - c_k| - r_k)`. Mahalanobis: `sqrt((x - μ)ᵀ Σ⁻¹ (x - μ))`.
    ///
    /// # Panics
    /// If there are not [`Distance::feature_count`] features.
    #[must_use]
    pub fn score(&self, features: &[f32]) -> f32 {
        assert_eq!(
            features.len(),
            self.feature_count,
            "a distance takes its own count of features"
        );
        match self.kind {
            DistanceKind::KMeans => self.k_means(features),
            DistanceKind::Mahalanobis => self.mahalanobis(features),
        }
    }

    fn k_means(&self, features: &[f32]) -> f32 {
        let clusters = self.numbers.chunks_exact(self.feature_count + 1);
        clusters.fold(f32::INFINITY, |least, cluster| {
            let (radius, centre) = cluster.split_last().expect("a cluster has a radius");
            let square = features
                .iter()
                .zip(centre)
                .fold(0.0, |sum, (&feature, &centre)| {
                    let difference = feature - f32::from_le_bytes(centre);
                    sum + difference * difference
                });
            least.min(libm::sqrtf(square) - f32::from_le_bytes(*radius))
        })
    }

    fn mahalanobis(&self, features: &[f32]) -> f32 {
        let (mean, mut triangle) = self.numbers.split_at(self.feature_count);
        let centred = |index: usize| features[index] - f32::from_le_bytes(mean[index]);
        let mut sum = 0.0;
        for row in 0..self.feature_count {
            let (line, rest) = triangle.split_at(self.feature_count - row);
            // The matrix is symmetric: what stands right of the diagonal counts twice.
            let products = line.iter().enumerate().map(|(offset, &weight)| {
                let product = f32::from_le_bytes(weight) * centred(row + offset);
                if offset == 0 { product } else { 2.0 * product }
            });
            sum += centred(row) * products.fold(0.0, |sum, product| sum + product);
            triangle = rest;
        }
        libm::sqrtf(sum.max(0.0))
    }
}

/// Writes a k-means distance, piece by piece, to `write`.
///
/// # Shapes
/// `centres` holds one centre after another, each as long as the features; one radius for each.
pub fn encode_k_means(centres: &[f32], radii: &[f32], mut write: impl FnMut(&[u8])) {
    let feature_count = centres.len() / radii.len().max(1);
    write_header(0, feature_count, radii.len(), &mut write);
    for (centre, radius) in centres.chunks_exact(feature_count.max(1)).zip(radii) {
        centre
            .iter()
            .chain([radius])
            .for_each(|number| write(&number.to_le_bytes()));
    }
}

/// Writes a Mahalanobis distance, piece by piece, to `write`.
///
/// # Shapes
/// `inverse_covariance` is the upper triangle, row by row.
pub fn encode_mahalanobis(mean: &[f32], inverse_covariance: &[f32], mut write: impl FnMut(&[u8])) {
    write_header(1, mean.len(), 1, &mut write);
    mean.iter()
        .chain(inverse_covariance)
        .for_each(|number| write(&number.to_le_bytes()));
}

/// The mean squared difference between a network's output and its input, both in real numbers.
///
/// For a plan that keeps its input ([`Plan::input_is_kept`]), after a run.
///
/// # Errors
/// [`RunError`] if the arena is too small.
pub fn reconstruction_error<A: Arena + ?Sized>(
    plan: &Plan<'_>,
    arena: &A,
) -> Result<f32, RunError> {
    let (input, output) = (plan.input(), plan.output());
    let before = input.values(arena.bytes(plan, input.range())?);
    let pairs = before.zip(output.values(arena.bytes(plan, output.range())?));
    let sum = pairs.fold(0.0, |sum, (before, after)| {
        let difference = output.real(after) - input.real(before);
        sum + difference * difference
    });
    Ok(sum / input.len.min(output.len) as f32)
}

fn write_header(
    kind: u8,
    feature_count: usize,
    centre_count: usize,
    write: &mut impl FnMut(&[u8]),
) {
    write(&MAGIC);
    write(&VERSION.to_le_bytes());
    write(&[kind, 0]);
    write(&(feature_count as u32).to_le_bytes());
    write(&(centre_count as u32).to_le_bytes());
}
