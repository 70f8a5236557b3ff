//! What a model is worth on the test split, int8 and float side by side, and what the gates say to it.

use tinyops_store::{
    Artifacts, Digest, Json, Read,
    model::{self, Model, Stage},
};
use tinyops_train::interval::{Interval, UNITS_MIN};
use tinyops_train::slices::{SliceFigures, UNKNOWN};
use tinyops_train::{Comparison, Metric, Predictions, SliceChange};

use crate::{
    Gate, GateName, Project, RunError, StepName, background::background, bench::Bench,
    predicted::predictions_of, step::evaluate::asked,
};

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
    gates.extend(slice_gates(&judged.int8.slices, project));
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

/// One gate for each slice that can be judged, and one for each key of which some cannot.
fn slice_gates(slices: &[SliceFigures], project: &Project) -> Vec<Gate> {
    let mut gates = Vec::new();
    for key in &project.project.slices {
        let of_key: Vec<&SliceFigures> = slices.iter().filter(|slice| slice.key == *key).collect();
        if of_key.iter().all(|slice| slice.value == UNKNOWN) {
            let reason = format!("no recording of the test split says what its `{key}` is");
            gates.push(Gate::not_run(slice_name(key), reason));
            continue;
        }
        let min = project.gates.slice_windows_min as usize;
        let (judged, small): (Vec<_>, Vec<_>) =
            of_key.into_iter().partition(|slice| slice.windows >= min);
        gates.extend(judged.into_iter().map(|slice| slice_gate(slice, project)));
        if !small.is_empty() {
            let named: Vec<String> = small
                .iter()
                .take(NAMED_MAX)
                .map(|slice| format!("{} ({})", slice.value, slice.windows))
                .collect();
            let more = if small.len() > NAMED_MAX { ", …" } else { "" };
            let reason = format!(
                "not judged, of fewer than {min} windows: {}{more}",
                named.join(", ")
            );
            gates.push(Gate::not_run(slice_name(key), reason));
        }
    }
    gates
}

/// Slices too small to be judged that a reason names.
const NAMED_MAX: usize = 5;

fn slice_name(slice: &str) -> GateName {
    GateName::Slice {
        slice: slice.to_owned(),
    }
}

/// A slice blocks when it lies behind by more than is allowed, and its interval leaves no doubt that it lies behind.
fn slice_gate(slice: &SliceFigures, project: &Project) -> Gate {
    let metric = project.project.metric;
    let allowed = project.gates.slice_gap_max;
    let name = slice_name(&format!("{}={}", slice.key, slice.value));
    let counts = counted(slice.windows, "window");
    let (Some(value), Some(whole)) = (slice.metric, slice.whole) else {
        let reason = format!("its {counts} give no {}: not judged", slice.figure);
        return Gate::not_run(name, reason);
    };
    let figure = match slice.figure == metric.word() {
        true => String::new(),
        false => format!("{} ", slice.figure),
    };
    let told = format!(
        "{figure}{value:.4}{} on {counts} of {}, {whole:.4} on all",
        within(slice.interval),
        counted(slice.recordings, "recording")
    );
    let (value, whole) = (f64::from(value), f64::from(whole));
    let loss = metric.loss(value, whole);
    if !loss.is_finite() {
        return Gate::new(name, false, format!("{told}: no figure to hold"));
    }
    let is_behind = loss > allowed;
    match slice.interval {
        _ if !is_behind => Gate::new(name, true, format!("{told}, {allowed} behind allowed")),
        None => {
            let reason = format!(
                "{told}, more than {allowed} behind, but {}: not judged",
                doubt()
            );
            Gate::not_run(name, reason)
        }
        Some(interval) if metric.loss(best(metric, interval), whole) > 0.0 => {
            Gate::new(name, false, format!("{told}, {allowed} behind allowed"))
        }
        Some(_) => {
            let reason =
                format!("{told}, more than {allowed} behind, but that may be chance: not judged");
            Gate::not_run(name, reason)
        }
    }
}

/// The end of an interval that is best for the model.
fn best(metric: Metric, interval: Interval) -> f64 {
    match metric {
        Metric::Rmse => interval.low.into(),
        Metric::Accuracy | Metric::MacroF1 | Metric::Auc => interval.high.into(),
    }
}

fn within(interval: Option<Interval>) -> String {
    interval.map_or_else(String::new, |interval| {
        format!(" ({:.4}–{:.4})", interval.low, interval.high)
    })
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The gates that hold each slice against the version in production; none where there is none, or it is the same model.
pub(crate) async fn against_production(
    bench: &Bench<'_>,
    model: &Digest,
    predictions: &Digest,
) -> Result<Vec<Gate>, RunError> {
    let workshop = bench.workshop;
    let project = &workshop.project;
    if !project.gates.slice_production || project.project.slices.is_empty() {
        return Ok(Vec::new());
    }
    let name = &project.project.name;
    let Some(production) = model::in_stage(&workshop.db, name, Stage::Production).await? else {
        return Ok(Vec::new());
    };
    if production.digest == *model {
        return Ok(Vec::new());
    }
    let title = format!("{name}@{}", production.version);
    let Some(before) = predictions_of(&workshop.db, &workshop.artifacts, &production).await? else {
        return Ok(not_kept(project, &title, &title));
    };
    let now = Predictions::decode(&bench.bytes(predictions).await?)?;
    held_against(now, before, project, title).await
}

/// The gates that hold each slice of a registered version against another; none where the project asks for none.
///
/// # Errors
/// [`RunError::Store`], [`RunError::Codec`], [`RunError::Panicked`].
pub async fn slices_against(
    on: &impl Read,
    artifacts: &Artifacts,
    (now, before): (&Model, &Model),
    project: &Project,
) -> Result<Vec<Gate>, RunError> {
    if !project.gates.slice_production
        || project.project.slices.is_empty()
        || now.digest == before.digest
    {
        return Ok(Vec::new());
    }
    let title = |of: &Model| format!("{}@{}", of.name, of.version);
    let kept = |of: &Model| not_kept(project, &title(of), &title(before));
    let Some(own) = predictions_of(on, artifacts, now).await? else {
        return Ok(kept(now));
    };
    let Some(theirs) = predictions_of(on, artifacts, before).await? else {
        return Ok(kept(before));
    };
    held_against(own, theirs, project, title(before)).await
}

fn not_kept(project: &Project, of: &str, production: &str) -> Vec<Gate> {
    let gate = GateName::SliceChange {
        slice: project.project.slices.join(", "),
        production: production.to_owned(),
    };
    let reason = format!("what {of} said of each test window was not kept: not comparable");
    vec![Gate::not_run(gate, reason)]
}

/// Draws, which takes its time, where nobody waits for it.
async fn held_against(
    now: Predictions,
    before: Predictions,
    project: &Project,
    production: String,
) -> Result<Vec<Gate>, RunError> {
    let project = project.clone();
    let gates = background(move || change_gates(&now, &before, &project, &production)).await;
    gates.ok_or(RunError::Panicked {
        step: StepName::Evaluate,
    })
}

fn change_gates(
    now: &Predictions,
    before: &Predictions,
    project: &Project,
    production: &str,
) -> Vec<Gate> {
    let asked = asked(project);
    let changes = now.against(before, &project.train.costs, asked);
    let gate = |slice: String| GateName::SliceChange {
        slice,
        production: production.to_owned(),
    };
    if changes.is_empty() {
        let reason = format!("no test window is one of {production} as well: not comparable");
        return vec![Gate::not_run(
            gate(project.project.slices.join(", ")),
            reason,
        )];
    }
    let min = asked.slice_windows_min;
    let (judged, small): (Vec<_>, Vec<_>) =
        changes.iter().partition(|change| change.windows >= min);
    let mut gates: Vec<Gate> = judged
        .into_iter()
        .map(|change| change_gate(change, project, gate(slice_of(change))))
        .collect();
    if !small.is_empty() {
        let count = counted(small.len(), "slice");
        let reason =
            format!("not judged, of fewer than {min} windows that both were tested on: {count}");
        gates.push(Gate::not_run(
            gate(project.project.slices.join(", ")),
            reason,
        ));
    }
    gates
}

fn slice_of(change: &SliceChange) -> String {
    format!("{}={}", change.key, change.value)
}

/// A slice blocks when it loses more than is allowed, and the interval of the loss leaves no doubt that it loses.
fn change_gate(change: &SliceChange, project: &Project, name: GateName) -> Gate {
    let metric = project.project.metric;
    let allowed = project.gates.slice_loss_max;
    let counts = counted(change.windows, "window");
    let Some([now, before]) = change.figures else {
        let reason = format!("{counts} give no {}: not judged", metric.word());
        return Gate::not_run(name, reason);
    };
    let loss = match change.interval {
        Some(interval) => format!("{:.4}{}", change.loss, within(Some(interval))),
        None => format!("{:.4}", change.loss),
    };
    let told = format!(
        "{now:.4}, before {before:.4} on the same {counts}: {loss} worse, {allowed} allowed"
    );
    if !change.loss.is_finite() {
        return Gate::new(name, false, format!("{told}: no figure to hold"));
    }
    let is_behind = f64::from(change.loss) > allowed;
    match change.interval {
        _ if !is_behind => Gate::new(name, true, told),
        Some(interval) if interval.low > 0.0 => Gate::new(name, false, told),
        Some(_) => Gate::not_run(name, format!("{told}, but that may be chance: not judged")),
        None => Gate::not_run(name, format!("{told}, but {}: not judged", doubt())),
    }
}

/// Why there is no interval, and with it no saying whether something is chance.
fn doubt() -> String {
    format!(
        "fewer than {UNITS_MIN} recordings or groups, or so few of a class that many draws of them have no figure, do not tell \
         whether by chance"
    )
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

    fn project(text: &str) -> Project {
        Project::parse(text, std::path::Path::new("tinyops.toml")).unwrap()
    }

    fn slice(
        value: &str,
        windows: usize,
        metric: f32,
        interval: Option<(f32, f32)>,
    ) -> SliceFigures {
        SliceFigures {
            key: "group".to_owned(),
            value: value.to_owned(),
            windows,
            recordings: 6,
            figure: "macro_f1".to_owned(),
            metric: Some(metric),
            interval: interval.map(|(low, high)| Interval { low, high }),
            whole: Some(0.9),
        }
    }

    #[track_caller]
    fn check_slice(slice: SliceFigures, expected: crate::Verdict, why: &str) {
        let project = project(
            "[project]\nmetric = \"macro_f1\"\nslices = [\"group\"]\n[gates]\nslice_gap_max = 0.1\n",
        );
        let gates = slice_gates(&[slice], &project);
        let [gate] = &gates[..] else {
            panic!("one gate, not {gates:?}")
        };
        assert_eq!(gate.verdict, expected, "{}", gate.reason);
        assert!(gate.reason.contains(why), "{}", gate.reason);
    }

    #[test]
    fn a_slice_blocks_where_it_lies_behind_and_that_is_no_chance() {
        use crate::Verdict::{Fail, NotRun, Pass};
        let behind = slice("a", 100, 0.7, Some((0.6, 0.8)));
        check_slice(
            behind,
            Fail,
            "0.7000 (0.6000–0.8000) on 100 windows of 6 recordings, 0.9000 on all, 0.1 behind allowed",
        );
        let doubtful = slice("a", 100, 0.7, Some((0.4, 0.92)));
        check_slice(doubtful, NotRun, "may be chance: not judged");
        check_slice(
            slice("a", 100, 0.7, None),
            NotRun,
            "fewer than 5 recordings",
        );
        check_slice(
            slice("a", 100, 0.85, Some((0.8, 0.89))),
            Pass,
            "0.1 behind allowed",
        );
        check_slice(
            slice("a", 19, 0.1, Some((0.0, 0.2))),
            NotRun,
            "fewer than 20 windows: a (19)",
        );
        check_slice(
            slice(UNKNOWN, 100, 0.9, None),
            NotRun,
            "no recording of the test split says",
        );
        let empty = SliceFigures {
            metric: None,
            ..slice("a", 100, 0.0, None)
        };
        check_slice(empty, NotRun, "give no macro_f1");
        check_slice(slice("a", 100, f32::NAN, None), Fail, "no figure to hold");
    }

    #[track_caller]
    fn check_change(loss: f32, interval: Option<(f32, f32)>, expected: crate::Verdict) {
        let change = SliceChange {
            key: "group".to_owned(),
            value: "a".to_owned(),
            windows: 50,
            figures: Some([0.9 - loss, 0.9]),
            loss,
            interval: interval.map(|(low, high)| Interval { low, high }),
        };
        let name = GateName::SliceChange {
            slice: slice_of(&change),
            production: "fan@2".to_owned(),
        };
        assert_eq!(name.to_string(), "slice group=a against fan@2");
        let gate = change_gate(&change, &project("[project]\n"), name);
        assert_eq!(gate.verdict, expected, "{}", gate.reason);
    }

    #[test]
    fn a_slice_blocks_where_it_loses_against_production() {
        use crate::Verdict::{Fail, NotRun, Pass};
        check_change(f32::NAN, None, Fail);
        check_change(0.2, Some((0.1, 0.3)), Fail);
        check_change(0.2, Some((-0.1, 0.5)), NotRun);
        check_change(0.2, None, NotRun);
        check_change(0.04, Some((0.01, 0.07)), Pass);
        check_change(-0.3, Some((-0.5, -0.1)), Pass);
    }

    #[test]
    fn a_loss_is_told_as_loss_and_a_gain_as_gain() {
        check_reason(0.0022, "loses 0.0022");
        check_reason(-0.0022, "gains 0.0022");
        check_reason(-0.000_01, "loses 0.0000");
    }
}
