//! The normal distribution, and what else can be read as one.

/// The value below which a standard normal variable falls with probability `share`.
///
/// # Source
/// Acklam, 2003, "An algorithm for computing the inverse normal cumulative distribution function"; relative
/// error below 1.15e-9.
pub(crate) fn normal_quantile(share: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 5] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] = [
        7.784695709041462e-3,
        3.224671290700398e-1,
        2.445134137142996,
        3.754408661907416,
    ];
    let polynomial =
        |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |share: f64| {
        let x = (-2.0 * share.ln()).sqrt();
        polynomial(&C, x) / (polynomial(&D, x) * x + 1.0)
    };
    match share {
        share if share <= 0.0 => f64::NEG_INFINITY,
        share if share >= 1.0 => f64::INFINITY,
        share if share < 0.02425 => tail(share),
        share if share > 1.0 - 0.02425 => -tail(1.0 - share),
        share => {
            let x = share - 0.5;
            polynomial(&A, x * x) * x / (polynomial(&B, x * x) * x * x + 1.0)
        }
    }
}

/// The probability that a standard normal variable falls below `value`.
///
/// # Source
/// Abramowitz and Stegun, 1964, 26.2.17; error below 7.5e-8.
pub(crate) fn normal_share(value: f64) -> f64 {
    const B: [f64; 5] = [
        1.330274429,
        -1.821255978,
        1.781477937,
        -0.356563782,
        0.319381530,
    ];
    let t = 1.0 / (1.0 + 0.2316419 * value.abs());
    let density = (-value * value / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let above = density * t * B.iter().fold(0.0, |sum, b| sum * t + b);
    if value < 0.0 { above } else { 1.0 - above }
}

/// The standard normal value that is as extreme as `student` is under Student's law with `freedom` degrees.
///
/// # Source
/// Wallace, 1959, "Bounds on normal approximations to Student's and the chi-square distributions".
pub(crate) fn normal_of_student(student: f64, freedom: f64) -> f64 {
    let size = (freedom * (student * student / freedom).ln_1p()).sqrt();
    (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0) * size.copysign(student)
}

/// The standard normal value that is as extreme as a sum of `freedom` squares, each over a variance that was
/// itself estimated with `noise_freedom` degrees.
///
/// # Source
/// Wilson and Hilferty, 1931, "The distribution of chi-square", after shrinking the sum as Wallace does.
pub(crate) fn normal_of_chi_square(square: f64, freedom: f64, noise_freedom: f64) -> f64 {
    let ratio = (8.0 * noise_freedom + 1.0) / (8.0 * noise_freedom + 3.0);
    let square = ratio * ratio * noise_freedom * (square / noise_freedom).ln_1p();
    let spread = 2.0 / (9.0 * freedom);
    ((square / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_quantiles_are_inverse() {
        for share in [0.001, 0.02, 0.3, 0.5, 0.77, 0.999] {
            assert!((normal_share(normal_quantile(share)) - share).abs() < 1e-6);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (share, expected) in [
            (0.5, 0.0),
            (0.975, 1.959_964),
            (0.999, 3.090_232),
            (1e-6, -4.753_424),
        ] {
            assert!((normal_quantile(share) - expected).abs() < 1e-5, "{share}");
        }
    }

    #[test]
    fn other_laws_are_as_extreme_as_the_tables_say() {
        // 99.9 % of Student's law with 13 degrees lies below 3.852; of chi-square with 4, below 18.467.
        assert!((normal_of_student(3.852, 13.0) - 3.09).abs() < 0.02);
        assert!((normal_of_chi_square(18.467, 4.0, 1e9) - 3.09).abs() < 0.05);
    }
}
