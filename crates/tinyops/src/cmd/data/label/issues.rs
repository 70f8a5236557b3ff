//! Labels that are likely wrong, and which class needs more recordings.

use serde::Serialize;
use tinyops_pipeline::{
    doubt::{ClassFigures, DoubtError, Doubts, doubts},
    labelling::{self, Decision, IssueList, LabellingError},
};
use tinyops_train::progress::Flow;

use super::{Desk, Said, tell};
use crate::{
    context::{Context, now},
    failure::{Exit, Failure},
    table::Table,
};

/// Rows that a person is shown; `--json` has them all.
const LISTED: usize = 30;

/// List the labels that are likely wrong, the least credible first
///
/// The project's own model is trained several times, each time without a part of the groups, and asked about that part;
/// confident learning says which labels cannot be. `accept` and `reject` take the numbers of this list.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data label issues --folds 5")]
pub(super) struct Issues {
    /// How many times it is trained
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=50))]
    folds: u16,
}

/// Take the likely class of an issue for its label
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data label accept 1 2 5 --why 'listened to them'")]
pub(super) struct Accept {
    /// Numbers of the last `tinyops data label issues`
    #[arg(required = true)]
    issues: Vec<usize>,
    #[command(flatten)]
    said: Said,
}

/// Say that the label of an issue is right: it is not listed again
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data label reject 3")]
pub(super) struct Reject {
    /// Numbers of the last `tinyops data label issues`
    #[arg(required = true)]
    issues: Vec<usize>,
    #[command(flatten)]
    said: Said,
}

/// Say of each class what is there, and which needs more recordings
///
/// The share that models tell right which have not seen a recording has an interval: the class whose lower end is
/// lowest is the one to record next.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data label balance")]
pub(super) struct Balance {
    /// How many times the model is trained
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=50))]
    folds: u16,
}

/// One class.
#[derive(Serialize)]
struct ClassView {
    class: String,
    recordings: usize,
    groups: usize,
    windows: usize,
    right: usize,
    recall_low: f64,
    recall_high: f64,
    newest_at_ms: Option<i64>,
}

fn judge(context: &Context, desk: &Desk, folds: u16) -> Result<Doubts, Failure> {
    let dataset = desk.dataset()?;
    let bar = context.terminal.bar("train", u64::from(folds));
    let mut tell = |done: usize, _: usize| {
        bar.at(done as u64);
        Flow::Continue
    };
    let kept = desk.history.kept();
    doubts(&desk.project, dataset, folds.into(), &kept, &mut tell).map_err(|error| {
        let failure = Failure::of(Exit::Question, &error);
        match error {
            DoubtError::TooFew { .. } => failure.hint("fewer `--folds` need fewer recordings"),
            _ => failure,
        }
    })
}

pub(super) fn find(context: &Context, args: &Issues) -> Result<(), Failure> {
    // What is decided while models train is newer than the list.
    let at = now();
    let desk = Desk::open(context)?;
    let found = judge(context, &desk, args.folds)?;
    let list = IssueList::of(found, at);
    list.keep(&context.root)?;
    let views = &list.issues;
    let mut table = Table::new(["issue", "recording", "readings", "label", "likely", "score"]);
    for view in views.iter().take(LISTED) {
        let readings = match view.is_whole {
            true => "all".to_owned(),
            false => format!("{}-{}", view.readings[0], view.readings[1]),
        };
        table.row([
            view.issue.to_string(),
            view.recording.clone(),
            readings,
            view.label.clone(),
            view.likely.clone(),
            format!("{:.3}", view.score),
        ]);
    }
    let view = serde_json::json!({
        "folds": list.folds, "windows": list.windows, "issues": views,
    });
    context.terminal.answer(&view, || {
        if views.is_empty() {
            return format!("  no label of {} windows is likely wrong\n", list.windows);
        }
        let more = views.len().saturating_sub(LISTED);
        let more = match more {
            0 => String::new(),
            more => format!("  and {more} more; `--json` has them all\n"),
        };
        table.text()
            + &more
            + "  look at them; `tinyops data label accept 1` takes the likely class, `reject 1` keeps the label\n"
    });
    Ok(())
}

pub(super) fn accept(context: &Context, args: &Accept) -> Result<(), Failure> {
    decide(context, &args.issues, Decision::Accept, &args.said)
}

pub(super) fn reject(context: &Context, args: &Reject) -> Result<(), Failure> {
    decide(context, &args.issues, Decision::Reject, &args.said)
}

fn decide(
    context: &Context,
    numbers: &[usize],
    decision: Decision,
    said: &Said,
) -> Result<(), Failure> {
    let desk = Desk::open(context)?;
    let list = IssueList::read(&context.root)?.ok_or(LabellingError::NoList)?;
    for number in numbers {
        desk.sample(&list.numbered(*number)?.recording)?;
    }
    let who = said.who();
    let added = labelling::decide(&context.root, list.at_ms, numbers, decision, &said.by(&who))?;
    tell(context, &added);
    Ok(())
}

pub(super) fn balance(context: &Context, args: &Balance) -> Result<(), Failure> {
    let desk = Desk::open(context)?;
    let found = judge(context, &desk, args.folds)?;
    let newest = desk.shelf.newest();
    let view = |figures: ClassFigures| ClassView {
        newest_at_ms: newest.get(&figures.class).copied(),
        class: figures.class,
        recordings: figures.recordings,
        groups: figures.groups,
        windows: figures.windows,
        right: figures.right,
        recall_low: figures.recall.low.into(),
        recall_high: figures.recall.high.into(),
    };
    let views: Vec<ClassView> = found.classes.into_iter().map(view).collect();
    let least = views
        .iter()
        .min_by(|a, b| a.recall_low.total_cmp(&b.recall_low))
        .map(|view| view.class.clone());
    let mut table = Table::new([
        "class",
        "recordings",
        "groups",
        "windows",
        "told right",
        "newest (UTC)",
    ]);
    for view in &views {
        let share = match view.windows {
            0 => "–".to_owned(),
            windows => format!(
                "{:.1} % ({:.1} to {:.1})",
                100.0 * view.right as f64 / windows as f64,
                100.0 * view.recall_low,
                100.0 * view.recall_high
            ),
        };
        let newest = view.newest_at_ms.map(tinyops_store::Timestamp);
        table.row([
            view.class.clone(),
            view.recordings.to_string(),
            view.groups.to_string(),
            view.windows.to_string(),
            share,
            newest.map_or("–".to_owned(), crate::context::moment),
        ]);
    }
    let document =
        serde_json::json!({ "folds": found.folds, "classes": views, "record_next": least });
    context.terminal.answer(&document, || {
        let next = least.as_deref().unwrap_or_default();
        table.text()
            + &format!("  record `{next}` next: what models tell of it is the least certain\n")
    });
    Ok(())
}
