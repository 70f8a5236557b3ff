//! What a model is worth on the test split, int8 and float side by side, and what the gates say to it.

use tinyops_store::Json;
use tinyops_train::{Comparison, Evaluation};

use crate::{Gate, GateName, Metric, Project};

impl Metric {
    /// This metric's value in an evaluation, if the task has one.
    #[must_use]
    pub fn of(self, evaluation: &Evaluation) -> Option<f64> {
        evaluation.metric_named(self.word()).map(f64::from)
    }

    /// A value as one of which more is better.
    pub(crate) fn goodness(self, value: f64) -> f64 {
        match self {
            Self::Rmse => -value,
            Self::Accuracy | Self::MacroF1 | Self::Auc => value,
        }
    }

    /// How much worse `value` is than `reference`; negative when it is better.
    pub(crate) fn loss(self, value: f64, reference: f64) -> f64 {
        match self {
            Self::Rmse => value - reference,
            Self::Accuracy | Self::MacroF1 | Self::Auc => reference - value,
        }
    }
}

/// The gates of metric, slices and quantization.
pub(crate) fn gates(judged: &Comparison, project: &Project) -> Vec<Gate> {
    let metric = project.project.metric;
    let threshold = project.project.threshold;
    let word = metric.word();
    let Some(value) = metric.of(&judged.int8) else {
        let reason = format!("the test split gives no {word}");
        return vec![Gate::new(GateName::Metric, false, reason)];
    };
    let sign = if metric == Metric::Rmse {
        "at most"
    } else {
        "at least"
    };
    let mut gates = vec![Gate::new(
        GateName::Metric,
        metric.reaches(value, threshold),
        format!("int8 {word} {value:.4}, {sign} {threshold} asked"),
    )];
    if let Some(float) = judged.float.as_ref().and_then(|float| metric.of(float)) {
        let loss = metric.loss(value, float);
        let allowed = project.gates.quantization_loss_max;
        gates.push(Gate::new(
            GateName::Quantization,
            loss <= allowed,
            quantization_reason(loss, float, allowed),
        ));
    }
    gates.extend(slice_gates(judged, project, value));
    gates
}

fn quantization_reason(loss: f64, float: f64, allowed: f64) -> String {
    // Negative zero and what rounds to it are no gain.
    let change = if loss <= -0.000_05 {
        format!("gains {:.4}", -loss)
    } else {
        format!("loses {:.4}", loss.max(0.0))
    };
    format!("int8 {change} against float {float:.4}, {allowed} allowed")
}

fn slice_gates(judged: &Comparison, project: &Project, whole: f64) -> Vec<Gate> {
    let metric = project.project.metric;
    let settings = &project.gates;
    let slices = judged.int8.slices.iter().filter(|slice| {
        project.project.slices.contains(&slice.key)
            && slice.windows >= settings.slice_windows_min as usize
    });
    slices
        .filter_map(|slice| {
            let value = f64::from(slice.metric?);
            let gap = metric.loss(value, whole);
            let name = GateName::Slice {
                slice: format!("{}={}", slice.key, slice.value),
            };
            let reason = format!(
                "{value:.4} on {} windows, {:.4} on all, {} behind allowed",
                slice.windows, whole, settings.slice_gap_max
            );
            Some(Gate::new(name, gap <= settings.slice_gap_max, reason))
        })
        .collect()
}

/// The figures that records keep.
pub(crate) fn figures(judged: &Comparison) -> Json {
    let int8 = &judged.int8;
    let float = judged.float.as_ref();
    serde_json::json!({
        "windows": int8.windows,
        "accuracy": int8.accuracy,
        "macro_f1": int8.macro_f1,
        "auc": int8.roc.as_ref().map(|roc| roc.auc),
        "rmse": int8.rmse,
        "expected_cost": int8.operation.as_ref().map(|at| at.expected_cost),
        "float_accuracy": float.and_then(|float| float.accuracy),
        "float_macro_f1": float.and_then(|float| float.macro_f1),
        "float_auc": float.and_then(|float| Some(float.roc.as_ref()?.auc)),
        "float_rmse": float.and_then(|float| float.rmse),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_reason(loss: f64, expected: &str) {
        let reason = quantization_reason(loss, 0.95, 0.01);
        assert_eq!(
            reason,
            format!("int8 {expected} against float 0.9500, 0.01 allowed")
        );
    }

    #[test]
    fn a_loss_is_told_as_loss_and_a_gain_as_gain() {
        check_reason(0.0022, "loses 0.0022");
        check_reason(-0.0022, "gains 0.0022");
        check_reason(-0.000_01, "loses 0.0000");
    }
}
