//! Statistics of two samples.

use serde_json::Value;
use tinyops_fleet::two_sample::{
    Bins, Ordered, contingency, cramer_von_mises, doane_edges, energy, kolmogorov_smirnov,
    kullback_leibler, mahalanobis, mann_whitney, median_distance, mmd, sturges_edges, wasserstein,
};
use tinyops_sketch::distance::{
    self, Smoothing, hellinger, jensen_shannon, psi, shares_of, total_variation,
};

use super::{Near, Tally};

/// Statistics are held so near, p values so.
const NEAR: Near = Near::Part(1e-9);
const NEAR_P: Near = Near::Much(1e-6);
/// Above 140 values scipy's expansion of the law of one sample is itself off by up to 5e-6; ours lies nearer the truth.
const NEAR_EXPANSION: Near = Near::Much(5e-6);

pub(super) fn check(file_name: &str, file: &Value, tally: &mut Tally) {
    for case in file["cases"].as_array().into_iter().flatten() {
        let (a, b) = (numbers(&case["ref"]), numbers(&case["cur"]));
        let named = |what: &str| format!("{file_name}: {}: {what}", text(&case["name"]));
        if a.is_empty() || b.is_empty() {
            tally.check(
                || named("samples"),
                Some("`ref` or `cur` is empty".to_owned()),
            );
            continue;
        }
        for (count, key) in [(10, "bins10"), (16, "bins16")] {
            if case[key].is_object() {
                let named = |what: &str| named(&format!("{key}: {what}"));
                binned(
                    &named,
                    &Ordered::of(&a).edges(count),
                    (&a, &b),
                    &case[key],
                    tally,
                );
            }
        }
        let ks = kolmogorov_smirnov(&a, &b);
        let golden = &case["KS"];
        tally.number(
            || named("KS statistic"),
            ks.statistic,
            &golden["stat"],
            Near::Part(1e-12),
        );
        tally.number(
            || named("KS exact p"),
            ks.p_exact,
            &golden["p_exact"],
            NEAR_P,
        );
        tally.number(
            || named("KS asymptotic p"),
            ks.p_asymptotic,
            &golden["p_asymp"],
            NEAR_EXPANSION,
        );
        tally.number(
            || named("Wasserstein"),
            wasserstein(&a, &b),
            &case["wasserstein_1"],
            NEAR,
        );
        tally.number(
            || named("energy"),
            energy(&a, &b),
            &case["energy_distance"],
            NEAR,
        );
        let cvm = cramer_von_mises(&a, &b);
        tally.number(
            || named("CvM statistic"),
            cvm.statistic,
            &case["CvM"]["stat"],
            NEAR,
        );
        tally.number(|| named("CvM p"), cvm.p, &case["CvM"]["p_asymp"], NEAR_P);
        let mw = mann_whitney(&a, &b);
        tally.number(
            || named("Mann–Whitney U"),
            mw.u,
            &case["MannWhitney"]["U"],
            NEAR,
        );
        tally.number(
            || named("Mann–Whitney p"),
            mw.p,
            &case["MannWhitney"]["p"],
            NEAR_P,
        );
    }
    for set in file["multivariate"].as_array().into_iter().flatten() {
        let vectors = |list: &Value| -> Vec<Vec<f64>> {
            list.as_array().into_iter().flatten().map(numbers).collect()
        };
        let (x, y) = (vectors(&set["X"]), vectors(&set["Y"]));
        let named = |what: &str| format!("{file_name}: {}: {what}", text(&set["name"]));
        let bandwidth = median_distance(&x, &y);
        tally.number(
            || named("bandwidth"),
            bandwidth,
            &set["median_bandwidth"],
            NEAR,
        );
        let own = mmd(&x, &y, bandwidth);
        tally.number(
            || named("MMD² biased"),
            own.biased,
            &set["MMD2_biased_rbf"],
            NEAR,
        );
        tally.number(
            || named("MMD² unbiased"),
            own.unbiased,
            &set["MMD2_unbiased_rbf"],
            NEAR,
        );
        let golden = set.as_object().into_iter().flatten();
        let golden = golden.filter(|(key, _)| key.starts_with("mahalanobis"));
        let own = mahalanobis(&x, &y).unwrap_or_default();
        for (index, golden) in golden
            .flat_map(|(_, list)| list.as_array())
            .flatten()
            .enumerate()
        {
            let own = own.get(index).copied().unwrap_or(f64::NAN);
            tally.number(|| named(&format!("Mahalanobis {index}")), own, golden, NEAR);
        }
    }
}

fn binned(
    named: &dyn Fn(&str) -> String,
    bins: &Bins,
    (a, b): (&[f64], &[f64]),
    golden: &Value,
    tally: &mut Tally,
) {
    let lists = [
        ("inner edges", "inner_edges", bins.edges().to_vec()),
        ("reference counts", "ref_counts", floats(&bins.counts(a))),
        ("current counts", "cur_counts", floats(&bins.counts(b))),
    ];
    for (what, key, own) in lists {
        let golden = numbers(&golden[key]);
        let pairs = own.iter().zip(&golden);
        let is_near = own.len() == golden.len() && pairs.clone().all(|(a, b)| NEAR.is_met(*a, *b));
        let differs = || format!("{own:?} instead of {golden:?}");
        tally.check(|| named(what), (!is_near).then(differs));
    }
    let (a, b) = (bins.counts(a), bins.counts(b));
    let shares = |smoothing| (shares(&a, smoothing), shares(&b, smoothing));
    let psi_with = |smoothing| {
        let (base, live) = shares(smoothing);
        psi(&base, &live)
    };
    let (base, live) = shares(Smoothing::None);
    let table = contingency(&a, &b);
    let js = jensen_shannon(&base, &live);
    let figures = [
        ("PSI_floor_1e-4", psi_with(Smoothing::Floor(1e-4)), NEAR),
        ("PSI_floor_1e-6", psi_with(Smoothing::Floor(1e-6)), NEAR),
        ("PSI_add_half", psi_with(Smoothing::AddHalf), NEAR),
        ("JS_distance_base2", js, NEAR),
        ("JS_distance_nat", js * std::f64::consts::LN_2.sqrt(), NEAR),
        ("hellinger", hellinger(&base, &live), NEAR),
        (
            "KS_binned",
            distance::kolmogorov_smirnov(&base, &live),
            NEAR,
        ),
        ("TV", total_variation(&base, &live), NEAR),
        ("chi2_stat", table.chi_squared, NEAR),
        ("chi2_p", table.p, NEAR_P),
        ("chi2_dof", table.freedom as f64, NEAR),
        ("G_stat", table.g, NEAR),
        ("G_p", table.g_p, NEAR_P),
    ];
    for (key, own, near) in figures {
        if !golden[key].is_null() {
            tally.number(|| named(key), own, &golden[key], near);
        }
    }
}

/// What evidently or nannyml make of the pairs of another file.
pub(super) fn check_library(
    file_name: &str,
    file: &Value,
    pairs: &Value,
    tally: &mut Tally,
) -> Result<(), String> {
    let pairs = pairs["cases"]
        .as_array()
        .ok_or("`two_sample.json` holds no `cases`")?;
    let is_nannyml = text(&file["about"]).starts_with("nannyml");
    for (name, golden) in file["values"].as_object().into_iter().flatten() {
        let named = |what: &str| format!("{file_name}: {name}: {what}");
        let Some(pair) = pairs.iter().find(|pair| text(&pair["name"]) == name) else {
            tally.check(
                || named("pair"),
                Some("`two_sample.json` has none".to_owned()),
            );
            continue;
        };
        let (a, b) = (numbers(&pair["ref"]), numbers(&pair["cur"]));
        let figures = match is_nannyml {
            true => nannyml(&a, &b).to_vec(),
            false => evidently(&a, &b).to_vec(),
        };
        for (key, golden) in golden.as_object().into_iter().flatten() {
            let own = figures.iter().find(|(known, _)| known == key);
            let near = if key.ends_with("_p") { NEAR_P } else { NEAR };
            match own {
                Some((_, own)) => tally.number(|| named(key), *own, golden, near),
                None => tally.check(|| named(key), Some("is not known".to_owned())),
            }
        }
    }
    Ok(())
}

/// Evidently 0.7: Sturges' bins over both samples, or a bin for each value where there are few.
fn evidently(a: &[f64], b: &[f64]) -> [(&'static str, f64); 6] {
    /// Different values of the reference up to which each has a bin.
    const FEW: usize = 20;
    let both = [a, b].concat();
    let values = distinct(&both);
    let bins = match distinct(a).len() > FEW {
        true => sturges_edges(&both),
        // Each value begins a bin; nothing lies below the first.
        false => Bins::open(values[1..].to_vec()),
    };
    let (counts_a, counts_b) = (bins.counts(a), bins.counts(b));
    let (base, live) = (
        shares(&counts_a, Smoothing::None),
        shares(&counts_b, Smoothing::None),
    );
    let (full_base, full_live) = (filled(&base), filled(&live));
    // Its Hellinger distance has bins by the different values.
    let bins = sturges_edges(&values);
    let density = |sample: &[f64]| {
        let counts = bins.counts(sample);
        let within = counts.iter().sum::<u64>() as f64;
        counts
            .iter()
            .map(|&count| count as f64 / within)
            .collect::<Vec<_>>()
    };
    let affinity: f64 = density(a)
        .iter()
        .zip(density(b))
        .map(|(a, b)| (a * b).sqrt())
        .sum();
    let mean = a.iter().sum::<f64>() / a.len() as f64;
    let deviation = (a.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / a.len() as f64).sqrt();
    [
        ("psi", psi(&full_base, &full_live)),
        (
            "jensenshannon",
            jensen_shannon(&base, &live) * std::f64::consts::LN_2.sqrt(),
        ),
        ("kl_div", kullback_leibler(&full_base, &full_live)),
        ("hellinger", (1.0 - affinity.clamp(0.0, 1.0)).sqrt()),
        ("wasserstein_norm", wasserstein(a, b) / deviation.max(1e-3)),
        ("ks_p", kolmogorov_smirnov(a, b).p_exact),
    ]
}

/// Shares in which none is 0.
fn filled(shares: &[f64]) -> Vec<f64> {
    let least = shares
        .iter()
        .copied()
        .filter(|share| *share > 0.0)
        .fold(1.0, f64::min);
    let lifted = if least <= 1e-4 { least / 1e6 } else { 1e-4 };
    let fill = |share: &f64| if *share == 0.0 { lifted } else { *share };
    shares.iter().map(fill).collect()
}

/// Nannyml 0.13: Doane's bins over the reference, and one for what lies outside.
fn nannyml(a: &[f64], b: &[f64]) -> [(&'static str, f64); 4] {
    let bins = doane_edges(a);
    let shares = |sample: &[f64]| {
        let counts = bins.counts(sample);
        let inside = counts.iter().sum::<u64>();
        let mut shares = floats(&counts);
        shares.push((sample.len() as u64 - inside) as f64);
        shares
            .iter_mut()
            .for_each(|share| *share /= sample.len() as f64);
        shares
    };
    let (base, live) = (shares(a), shares(b));
    [
        ("jensen_shannon", jensen_shannon(&base, &live)),
        ("hellinger", hellinger(&base, &live)),
        ("kolmogorov_smirnov", kolmogorov_smirnov(a, b).statistic),
        ("wasserstein", wasserstein(a, b)),
    ]
}

fn distinct(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

fn shares(counts: &[u64], smoothing: Smoothing) -> Vec<f64> {
    let mut shares = vec![0.0; counts.len()];
    shares_of(counts, smoothing, &mut shares);
    shares
}

fn floats(counts: &[u64]) -> Vec<f64> {
    counts.iter().map(|&count| count as f64).collect()
}

fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_f64).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
