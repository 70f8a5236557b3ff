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

/// Solves `L · Lᵀ · x = b` in place.
pub(crate) fn solve(lower: &[f64], d: usize, b: &mut [f64]) {
    for i in 0..d {
        let dot: f64 = (0..i).map(|k| lower[i * d + k] * b[k]).sum();
        b[i] = (b[i] - dot) / lower[i * d + i];
    }
    for i in (0..d).rev() {
        let dot: f64 = (i + 1..d).map(|k| lower[k * d + i] * b[k]).sum();
        b[i] = (b[i] - dot) / lower[i * d + i];
    }
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
