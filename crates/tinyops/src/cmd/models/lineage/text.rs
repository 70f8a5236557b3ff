//! The trace as a tree: from what a device carries down to the files.

use std::fmt::Write as _;

use tinyops_store::Timestamp;

use super::trace::{CapsuleView, DatasetView, RunView, View};
use crate::context::moment;

/// Devices and recordings that are listed without `--all`.
const LISTED: usize = 8;

pub(super) fn text(view: &View, all: bool) -> String {
    let limit = if all { usize::MAX } else { LISTED };
    let model = &view.model;
    let mut out = String::new();
    for capsule in &view.capsules {
        capsule_text(&mut out, capsule, limit);
    }
    if view.capsules.is_empty() {
        out += "no capsule is signed yet, so no device carries it\n";
    }
    let _ = writeln!(
        out,
        "└ model {}@{} ({})\n  │ digest     {}\n  │ registered {} UTC",
        model.name,
        model.version,
        model.stage,
        model.digest,
        moment(Timestamp(model.created_at_ms)),
    );
    if let Some(parent) = model.parent {
        let is_tuned = view.run.as_ref().is_some_and(|run| run.kind == "tune");
        let parent = format!("{}@{parent}", model.name);
        let descent = match is_tuned {
            true => format!("tuned from {parent}"),
            false => format!("head of    {parent}, solved anew"),
        };
        let _ = writeln!(
            out,
            "  │ {descent} (`tinyops models lineage {parent}` goes on)"
        );
    }
    if let Some(statistics) = &view.statistics {
        let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let _ = writeln!(
            out,
            "  │ from sums  {} ({} labelled windows of {} devices; no raw window left one)",
            statistics.digest,
            count(statistics.window_count),
            count(statistics.device_count),
        );
    }
    match &view.run {
        Some(run) => run_text(&mut out, run),
        None => out += "  └ imported: no run made it\n",
    }
    if let Some(dataset) = &view.dataset {
        dataset_text(&mut out, dataset, limit);
    }
    if !view.others.is_empty() {
        let _ = writeln!(
            out,
            "\nAlso made with `{}`: {}",
            view.asked,
            view.others.join(", ")
        );
    }
    out
}

fn capsule_text(out: &mut String, capsule: &CapsuleView, limit: usize) {
    let _ = writeln!(
        out,
        "model id {} in reports\n  capsule  {} for {}, {} bytes, sequence {}, signed {} UTC",
        capsule.model_id,
        capsule.digest,
        capsule.board,
        capsule.bytes,
        capsule.sequence,
        moment(Timestamp(capsule.signed_at_ms)),
    );
    let _ = writeln!(out, "  payload  {}", capsule.payload);
    let _ = writeln!(out, "  devices  {} report with it", capsule.devices.len());
    for device in capsule.devices.iter().take(limit) {
        let _ = writeln!(out, "    {} ({})", device.device, device.cohort);
    }
    more(out, "    ", capsule.devices.len(), limit);
}

fn run_text(out: &mut String, run: &RunView) {
    let seconds = run
        .seconds
        .map_or_else(String::new, |seconds| format!(" in {seconds:.1} s"));
    let _ = writeln!(
        out,
        "  └ run {} ({}), {}{seconds}, begun {} UTC\n    │ code       {}\n    │ settings   {}, seed {}",
        run.run,
        run.kind,
        run.state,
        moment(Timestamp(run.started_at_ms)),
        run.code,
        run.settings,
        run.seed,
    );
    for step in &run.steps {
        let origin = if step.done_in_run == run.run {
            String::new()
        } else {
            format!(" (done in run {})", step.done_in_run)
        };
        let _ = writeln!(
            out,
            "    │ {:<10} {:>6.2} s  {}{origin}",
            step.step, step.seconds, step.summary
        );
    }
}

fn dataset_text(out: &mut String, dataset: &DatasetView, limit: usize) {
    let _ = writeln!(
        out,
        "    └ dataset {}\n      {} recordings below {}: {} train, {} validation, {} test",
        dataset.digest,
        dataset.recordings.len(),
        dataset.sources.join(", "),
        dataset.train,
        dataset.validation,
        dataset.test,
    );
    for recording in dataset.recordings.iter().take(limit) {
        let _ = writeln!(
            out,
            "        {:<10} {}  {}, group {}, {} readings, {}",
            recording.part.unwrap_or("left out"),
            recording.name,
            recording.label,
            recording.group,
            recording.readings,
            &recording.content[..12],
        );
    }
    more(out, "        ", dataset.recordings.len(), limit);
}

fn more(out: &mut String, indent: &str, count: usize, limit: usize) {
    if count > limit {
        let _ = writeln!(
            out,
            "{indent}… and {} more (`--all` lists them)",
            count - limit
        );
    }
}
