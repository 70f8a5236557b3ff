//! Chances under the laws that the statistics follow when nothing differs.

/// Chance that a standard normal variable lies above `value`.
pub(super) fn normal_above(value: f64) -> f64 {
    0.5 * libm::erfc(value / std::f64::consts::SQRT_2)
}

/// Chance that a χ² variable of `freedom` degrees lies above `value`.
///
/// # Source
/// The regularised incomplete gamma function, by its series below the peak and by Lentz's continued fraction above:
/// Press, Teukolsky, Vetterling and Flannery, 2007, "Numerical recipes", section 6.2.
pub(crate) fn chi_squared_above(value: f64, freedom: f64) -> f64 {
    let (a, x) = (freedom / 2.0, value / 2.0);
    if freedom <= 0.0 || x <= 0.0 {
        return 1.0;
    }
    let scale = (a * x.ln() - x - libm::lgamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return 1.0 - sum * scale;
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1e300, 1.0 / b);
    let mut fraction = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        let step = c * d;
        fraction *= step;
        if (step - 1.0).abs() < 1e-16 {
            break;
        }
    }
    scale * fraction
}

/// Values above which the law of Smirnov is not summed term by term.
const LARGE: u32 = 10_000;

/// Chance that the two-sided one-sample Kolmogorov–Smirnov statistic of `count` values is `statistic` or more.
///
/// # Source
/// Marsaglia, Tsang and Wang, 2003, "Evaluating Kolmogorov's distribution", up to 140 values, and above the expansion of Pelz
/// and Good, 1976, "Approximating the lower tail-areas of the Kolmogorov–Smirnov one-sample statistic", to about 1e-6;
/// in the tail twice the one-sided law of Smirnov, 1944, which leaves out only what both sides exceed at once.
pub(super) fn kolmogorov_above(count: u32, statistic: f64) -> f64 {
    if statistic <= 0.0 {
        return 1.0;
    }
    if statistic >= 1.0 {
        return 0.0;
    }
    let tail = 2.0
        * match count > LARGE {
            // Its limit, with the first correction: below 1e-10 the logarithm of the chance is right to a percent.
            true => {
                let n = f64::from(count).sqrt();
                (-2.0 * (n * statistic + 1.0 / (6.0 * n)).powi(2)).exp()
            }
            false => smirnov_above(count, statistic),
        };
    if tail < 1e-4 {
        return tail;
    }
    match count > 140 {
        true => 1.0 - pelz_good_below(count, statistic),
        false => 1.0 - kolmogorov_below(count, statistic),
    }
}

fn pelz_good_below(count: u32, statistic: f64) -> f64 {
    let n = f64::from(count);
    let z = n.sqrt() * statistic;
    let z2 = z * z;
    let (z4, z6) = (z2 * z2, z2 * z2 * z2);
    let (mut parts, mut k) = ([0.0; 4], 0.0);
    loop {
        // At the halves and at the whole numbers, each on both sides.
        let (half, whole) = ((k + 0.5) * std::f64::consts::PI, k * std::f64::consts::PI);
        let (a, b) = (half * half, whole * whole);
        let (of_half, of_whole) = (2.0 * (-a / (2.0 * z2)).exp(), 2.0 * (-b / (2.0 * z2)).exp());
        parts[0] += of_half / z;
        parts[1] += of_half * (a - z2) / (6.0 * z4);
        let second = 6.0 * z6 + 2.0 * z4 + a * (2.0 * z4 - 5.0 * z2) + a * a * (1.0 - 2.0 * z2);
        parts[2] += of_half * second / (72.0 * z6 * z) - of_whole * b / (36.0 * z2 * z);
        let third = a * a * a * (5.0 - 30.0 * z2)
            + a * a * (212.0 * z4 - 60.0 * z2)
            + a * (135.0 * z4 - 96.0 * z6)
            - 30.0 * z6
            - 90.0 * z4 * z4;
        parts[3] +=
            of_half * third / (6480.0 * z6 * z4) + of_whole * (3.0 * b * z2 - b * b) / (108.0 * z6);
        if of_half < 1e-18 {
            break;
        }
        k += 1.0;
    }
    let [p0, p1, p2, p3] = parts;
    let sum = p0 + p1 / n.sqrt() + p2 / n + p3 / (n * n.sqrt());
    (sum * (std::f64::consts::PI / 2.0).sqrt()).clamp(0.0, 1.0)
}

/// Chance that the one-sided statistic is `statistic` or more.
fn smirnov_above(count: u32, statistic: f64) -> f64 {
    let n = f64::from(count);
    let ln_choose =
        |j: f64| libm::lgamma(n + 1.0) - libm::lgamma(j + 1.0) - libm::lgamma(n - j + 1.0);
    let last = (n * (1.0 - statistic)).floor() as u32;
    let terms = (0..=last).map(|j| {
        let j = f64::from(j);
        let (up, rest) = (statistic + j / n, 1.0 - statistic - j / n);
        if rest <= 0.0 {
            // All of the rest to the power of zero is one; to a greater power nothing.
            return if j == n { up.powf(j - 1.0) } else { 0.0 };
        }
        (ln_choose(j) + (j - 1.0) * up.ln() + (n - j) * rest.ln()).exp()
    });
    (statistic * terms.sum::<f64>()).min(1.0)
}

fn kolmogorov_below(count: u32, statistic: f64) -> f64 {
    let n = f64::from(count);
    let k = (n * statistic) as usize + 1;
    let m = 2 * k - 1;
    let h = k as f64 - n * statistic;
    let mut matrix = vec![0.0; m * m];
    for i in 0..m {
        for j in 0..m {
            matrix[i * m + j] = if i + 1 >= j { 1.0 } else { 0.0 };
        }
    }
    for i in 0..m {
        matrix[i * m] -= h.powi(i as i32 + 1);
        matrix[(m - 1) * m + i] -= h.powi((m - i) as i32);
    }
    matrix[(m - 1) * m] += (2.0 * h - 1.0).max(0.0).powi(m as i32);
    for i in 0..m {
        for j in 0..m {
            for g in 1..=(i + 1).saturating_sub(j) {
                matrix[i * m + j] /= g as f64;
            }
        }
    }
    let (power, mut exponent) = matrix_power(&matrix, m, count);
    let mut share = power[(k - 1) * m + k - 1];
    for i in 1..=count {
        share *= f64::from(i) / n;
        if share < 1e-140 {
            share *= 1e140;
            exponent -= 140;
        }
    }
    share * 10_f64.powi(exponent)
}

/// A matrix to a power, and the power of ten that it is to be multiplied with.
fn matrix_power(matrix: &[f64], m: usize, power: u32) -> (Vec<f64>, i32) {
    if power == 1 {
        return (matrix.to_vec(), 0);
    }
    let (half, exponent) = matrix_power(matrix, m, power / 2);
    let mut result = product(&half, &half, m);
    let mut exponent = 2 * exponent;
    if power % 2 == 1 {
        result = product(matrix, &result, m);
    }
    if result[(m / 2) * m + m / 2] > 1e140 {
        result.iter_mut().for_each(|value| *value *= 1e-140);
        exponent += 140;
    }
    (result, exponent)
}

fn product(a: &[f64], b: &[f64], m: usize) -> Vec<f64> {
    let mut result = vec![0.0; m * m];
    for (row, out) in a.chunks_exact(m).zip(result.chunks_exact_mut(m)) {
        for (&factor, other) in row.iter().zip(b.chunks_exact(m)) {
            out.iter_mut()
                .zip(other)
                .for_each(|(out, other)| *out += factor * other);
        }
    }
    result
}

/// Chance that the limit of the Cramér–von Mises statistic is `statistic` or less.
///
/// # Source
/// Csörgő and Faraway, 1996, "The exact and asymptotic distributions of Cramér–von Mises statistics", formula 1.2.
pub(super) fn cramer_von_mises_below(statistic: f64) -> f64 {
    let mut sum = 0.0;
    for k in 0..200 {
        let k = f64::from(k);
        let ln_gammas = libm::lgamma(k + 0.5) - libm::lgamma(k + 1.0);
        let scale = ln_gammas.exp() / (std::f64::consts::PI.powf(1.5) * statistic.sqrt());
        let y = 4.0 * k + 1.0;
        let q = y * y / (16.0 * statistic);
        let term = scale * y.sqrt() * scaled_bessel_k_quarter(q, -2.0 * q);
        sum += term;
        if term < 1e-15 {
            break;
        }
    }
    sum.min(1.0)
}

/// `K` of order ¼ at `z`, times `exp(z + ln_scale)`.
///
/// # Source
/// The integral of `exp(-z cosh t) cosh(t / 4)`, by the trapezoidal rule, which converges faster than any power:
/// Trefethen and Weideman, 2014, "The exponentially convergent trapezoidal rule".
fn scaled_bessel_k_quarter(z: f64, ln_scale: f64) -> f64 {
    const STEP: f64 = 1.0 / 64.0;
    let mut sum = 0.5;
    for i in 1..4096 {
        let t = f64::from(i) * STEP;
        // cosh(t) - 1 without cancellation.
        let lift = 2.0 * (t / 2.0).sinh().powi(2);
        let term = (-z * lift).exp() * (t / 4.0).cosh();
        sum += term;
        if term < 1e-18 {
            break;
        }
    }
    sum * STEP * ln_scale.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_sum_where_one_takes_over_from_the_other() {
        let n = f64::from(LARGE).sqrt();
        for (z, within) in [
            (0.6, 1e-5),
            (1.0, 1e-5),
            (2.2, 1e-2),
            (2.5, 1e-2),
            (3.5, 3e-2),
        ] {
            let (below, above) = (
                kolmogorov_above(LARGE, z / n),
                kolmogorov_above(LARGE + 1, z / (n * n + 1.0).sqrt()),
            );
            assert!((above / below - 1.0).abs() < within, "{z}: {below} {above}");
        }
    }
}
