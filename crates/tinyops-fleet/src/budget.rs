//! What a spent budget comes to: from zero-concentrated differential privacy, which adds up, to ε at a δ, which people
//! compare.

/// The chance that ε leaves out, as shown on pages: one in a million.
pub const DELTA: f64 = 1e-6;

/// The ε of `rho` at `delta`: no less than what any accountant may find, and what a Rényi accountant does.
///
/// 0 for a budget of 0; infinite for a `delta` of 0.
///
/// # Source
/// Canonne, Kamath and Steinke, 2020, "The discrete Gaussian for differential privacy", proposition 12: the least over
/// α > 1 of `α ρ + ln(1 / (α δ)) / (α - 1) + ln(1 - 1 / α)`.
pub fn epsilon(rho: f64, delta: f64) -> f64 {
    if rho <= 0.0 {
        return 0.0;
    }
    let at = |ln_excess: f64| {
        let excess = ln_excess.exp();
        let alpha = 1.0 + excess;
        alpha * rho - (alpha * delta).ln() / excess + (excess / alpha).ln()
    };
    // The function has one valley over the logarithm of α - 1.
    let (mut low, mut high) = (-12.0_f64, 20.0_f64);
    for _ in 0..200 {
        let third = (high - low) / 3.0;
        if at(low + third) < at(high - third) {
            high -= third;
        } else {
            low += third;
        }
    }
    at(f64::midpoint(low, high)).max(0.0)
}

/// Millionths of ρ as ε at [`DELTA`].
pub fn epsilon_of_micro(micro_rho: i64) -> f64 {
    let micro_rho = u32::try_from(micro_rho.max(0)).unwrap_or(u32::MAX);
    epsilon(f64::from(micro_rho) * 1e-6, DELTA)
}

/// What a device says is left of its budget, in words: the class of a report's flags.
pub fn class_word(class: u32) -> &'static str {
    match class {
        0 => "not said",
        1 => "nothing",
        2 => "less than half",
        _ => "half or more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normal::normal_share;

    /// ε of the Gaussian mechanism composed exactly, below which no accountant may go: Balle and Wang, 2018,
    /// "Improving the Gaussian mechanism for differential privacy", theorem 8.
    fn exact(releases: f64, noise: f64) -> f64 {
        let mu = releases.sqrt() / noise;
        let delta_at = |eps: f64| {
            normal_share(mu / 2.0 - eps / mu) - eps.exp() * normal_share(-mu / 2.0 - eps / mu)
        };
        let (mut low, mut high) = (0.0, 200.0);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if delta_at(middle) > DELTA {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// The Rényi references of dp-accounting in `private-monitoring.md`, section 3.3 and goal 14.
    #[test]
    fn epsilons_are_those_of_the_references() {
        for (noise, releases, reference) in [
            (20.0, 1.0, 0.21),
            (20.0, 30.0, 1.26),
            (20.0, 365.0, 5.0),
            (5.0, 1.0, 0.90),
            (5.0, 30.0, 5.79),
            (5.0, 365.0, 26.2),
            (10.0, 30.0, 2.7),
            (40.0, 30.0, 0.60),
        ] {
            let rho = releases / (2.0 * noise * noise);
            let ours = epsilon(rho, DELTA);
            assert!(
                ours <= reference * 1.2 && ours >= exact(releases, noise),
                "{noise} {releases}: {ours} {} {reference}",
                exact(releases, noise)
            );
        }
        assert_eq!(epsilon(0.0, DELTA), 0.0);
        // PLD values that the references give.
        assert!(epsilon(30.0 / 800.0, DELTA) >= 1.17);
        assert!(epsilon(30.0 / 50.0, DELTA) >= 5.42);
    }
}
