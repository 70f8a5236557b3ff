//! The discrete cosine transform.

use crate::real::Real;
use crate::taper::cosine;

/// Which of the cosine transforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DctKind {
    /// `y[k] = 2 Σ_t x[t] cos(π k (2t + 1) / 2n)`.
    Two,
    /// `y[k] = x[0] + 2 Σ_{t>0} x[t] cos(π t (2k + 1) / 2n)`.
    Three,
}

/// Factors of a cosine transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DctNorm {
    /// As written at [`DctKind`].
    Plain,
    /// Rows of length 1, so that type 3 undoes type 2.
    Orthonormal,
}

/// Transforms `input` into the first `output.len()` coefficients, without a table.
///
/// # Source
/// Ahmed, Natarajan and Rao, 1974, "Discrete cosine transform"; factors as in SciPy.
pub fn dct<T: Real>(kind: DctKind, norm: DctNorm, input: &[T], output: &mut [T]) {
    let n = input.len();
    for (k, y) in output.iter_mut().enumerate() {
        let mut sum = 0.0;
        for (t, x) in input.iter().enumerate() {
            let turns = match kind {
                DctKind::Two => k * (2 * t + 1),
                DctKind::Three => t * (2 * k + 1),
            };
            let cosine =
                libm::cos(core::f64::consts::TAU * (turns % (4 * n)) as f64 / (4 * n) as f64);
            sum += x.double()
                * cosine
                * factor(kind, norm, if kind == DctKind::Two { k } else { t }, n);
        }
        *y = T::of(sum);
    }
}

fn factor(kind: DctKind, norm: DctNorm, row: usize, n: usize) -> f64 {
    match (norm, row) {
        (DctNorm::Plain, 0) if kind == DctKind::Three => 1.0,
        (DctNorm::Plain, _) => 2.0,
        (DctNorm::Orthonormal, 0) => libm::sqrt(1.0 / n as f64),
        (DctNorm::Orthonormal, _) => libm::sqrt(2.0 / n as f64),
    }
}

/// Fills `table` with `cos(π j / 2n)`, `j` from 0 to `n`, for [`ortho_from_table`].
///
/// # Shapes
/// `table` holds `n + 1` numbers.
pub(crate) fn fill_table(table: &mut [f32]) {
    let n = table.len() - 1;
    for (j, entry) in table.iter_mut().enumerate() {
        *entry = cosine(j, 4 * n);
    }
}

/// The orthonormal type 2 of `input` (`n` numbers), its first `output.len()` coefficients.
pub(crate) fn ortho_from_table(table: &[f32], input: &[f32], output: &mut [f32]) {
    let n = input.len();
    let (first, others) = (libm::sqrtf(1.0 / n as f32), libm::sqrtf(2.0 / n as f32));
    for (k, y) in output.iter_mut().enumerate() {
        let (mut sum, mut turns) = (0.0, k);
        for x in input {
            // A whole turn is 4n steps; the table holds the first quarter.
            let cosine = match turns {
                t if t <= n => table[t],
                t if t <= 2 * n => -table[2 * n - t],
                t if t <= 3 * n => -table[t - 2 * n],
                t => table[4 * n - t],
            };
            sum += x * cosine;
            turns += 2 * k;
            if turns >= 4 * n {
                turns -= 4 * n;
            }
        }
        *y = sum * if k == 0 { first } else { others };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_gives_the_same() {
        for n in [1, 2, 13, 32, 40] {
            let input: Vec<f32> = (0..n).map(|t| (t * t % 7) as f32 - 2.0).collect();
            let (mut expected, mut found) = (vec![0.0; n], vec![0.0; n]);
            dct(DctKind::Two, DctNorm::Orthonormal, &input, &mut expected);
            let mut table = vec![0.0; n + 1];
            fill_table(&mut table);
            ortho_from_table(&table, &input, &mut found);
            for (a, b) in expected.iter().zip(&found) {
                assert!((a - b).abs() < 1e-5, "{n}: {a} {b}");
            }
        }
    }

    #[test]
    fn type_three_undoes_type_two() {
        let input = [1.0, -2.0, 0.5, 4.0, 3.0];
        let (mut there, mut back) = ([0.0; 5], [0.0; 5]);
        dct(DctKind::Two, DctNorm::Orthonormal, &input, &mut there);
        dct(DctKind::Three, DctNorm::Orthonormal, &there, &mut back);
        for (a, b) in input.iter().zip(&back) {
            assert!((a - b).abs() < 1e-12);
        }
    }
}
