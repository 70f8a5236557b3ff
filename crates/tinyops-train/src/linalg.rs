//! Small dense linear algebra in `f64`: symmetric positive definite systems by Cholesky.

/// The lower triangle `L` of `L · Lᵀ = a`, or nothing where `a` is not positive definite.
///
/// # Shapes
/// `a` is `[d, d]`, row by row; only its lower triangle is read.
pub(crate) fn cholesky(a: &[f64], d: usize) -> Option<Vec<f64>> {
    let mut lower = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| lower[i * d + k] * lower[j * d + k]).sum();
            let rest = a[i * d + j] - dot;
            if i == j {
                if rest <= 0.0 || !rest.is_finite() {
                    return None;
                }
                lower[i * d + i] = rest.sqrt();
            } else {
                lower[i * d + j] = rest / lower[j * d + j];
            }
        }
    }
    Some(lower)
}

/// Solves `L · x = b` in place.
pub(crate) fn forward(lower: &[f64], d: usize, b: &mut [f64]) {
    for i in 0..d {
        let dot: f64 = (0..i).map(|k| lower[i * d + k] * b[k]).sum();
        b[i] = (b[i] - dot) / lower[i * d + i];
    }
}

/// Solves `L · Lᵀ · x = b` in place.
pub(crate) fn solve(lower: &[f64], d: usize, b: &mut [f64]) {
    forward(lower, d, b);
    for i in (0..d).rev() {
        let dot: f64 = (i + 1..d).map(|k| lower[k * d + i] * b[k]).sum();
        b[i] = (b[i] - dot) / lower[i * d + i];
    }
}

/// The eigenvectors of a symmetric matrix with the `count` largest eigenvalues, largest first, row by row.
///
/// # Source
/// Jacobi's rotations, cyclic: Golub and Van Loan, "Matrix computations", section 8.5.
pub(crate) fn principal(a: &[f64], d: usize, count: usize) -> Vec<f64> {
    const SWEEPS: usize = 60;
    let mut a = a.to_vec();
    let mut vectors = vec![0.0; d * d];
    (0..d).for_each(|i| vectors[i * d + i] = 1.0);
    let scale: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..d * d)
            .filter(|at| at / d != at % d)
            .map(|at| a[at] * a[at])
            .sum();
        if off <= 1e-24 * scale {
            break;
        }
        for p in 0..d {
            for q in p + 1..d {
                let apq = a[p * d + q];
                if apq == 0.0 {
                    continue;
                }
                let theta = (a[q * d + q] - a[p * d + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let t = if theta == 0.0 { 1.0 } else { t };
                let cosine = 1.0 / (t * t + 1.0).sqrt();
                let sine = t * cosine;
                for k in 0..d {
                    let (x, y) = (a[k * d + p], a[k * d + q]);
                    a[k * d + p] = cosine * x - sine * y;
                    a[k * d + q] = sine * x + cosine * y;
                }
                for k in 0..d {
                    let (x, y) = (a[p * d + k], a[q * d + k]);
                    a[p * d + k] = cosine * x - sine * y;
                    a[q * d + k] = sine * x + cosine * y;
                }
                for k in 0..d {
                    let (x, y) = (vectors[p * d + k], vectors[q * d + k]);
                    vectors[p * d + k] = cosine * x - sine * y;
                    vectors[q * d + k] = sine * x + cosine * y;
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&i, &j| a[j * d + j].total_cmp(&a[i * d + i]));
    order
        .into_iter()
        .take(count)
        .flat_map(|i| vectors[i * d..][..d].to_vec())
        .collect()
}

/// The inverse of a positive definite matrix.
pub(crate) fn inverse(a: &[f64], d: usize) -> Option<Vec<f64>> {
    let lower = cholesky(a, d)?;
    let mut inverse = vec![0.0; d * d];
    let mut column = vec![0.0; d];
    for j in 0..d {
        column.fill(0.0);
        column[j] = 1.0;
        solve(&lower, d, &mut column);
        for i in 0..d {
            inverse[i * d + j] = column[i];
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_vectors_are_those_of_the_largest_eigenvalues() {
        // Eigenvalues 1, 4 and 9 along a rotated frame.
        let frame: [[f64; 3]; 3] = [[2.0, 1.0, 2.0], [-2.0, 2.0, 1.0], [1.0, 2.0, -2.0]];
        let frame = frame.map(|row| row.map(|x| x / 3.0));
        let a: Vec<f64> = (0..9)
            .map(|at| {
                let of = |k: usize, value: f64| value * frame[k][at / 3] * frame[k][at % 3];
                of(0, 4.0) + of(1, 1.0) + of(2, 9.0)
            })
            .collect();
        let found = principal(&a, 3, 2);
        for (row, expected) in found.chunks_exact(3).zip([frame[2], frame[0]]) {
            let dot: f64 = row.iter().zip(expected).map(|(x, y)| x * y).sum();
            assert!((dot.abs() - 1.0).abs() < 1e-9, "{row:?} {expected:?}");
        }
    }

    #[test]
    fn an_inverse_undoes_its_matrix() {
        let a = [4.0, 1.0, 0.5, 1.0, 3.0, -0.2, 0.5, -0.2, 2.0];
        let b = inverse(&a, 3).unwrap();
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|k| a[i * 3 + k] * b[k * 3 + j]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
        assert_eq!(
            inverse(&[1.0, 2.0, 2.0, 1.0], 2),
            None,
            "not positive definite"
        );
    }
}
