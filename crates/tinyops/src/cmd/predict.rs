mod judge;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;
use serde::Serialize;
use tinyops_data::{
    dataset::Dataset,
    finding::{Code, Report, Severity},
    ingest::{Listing, ingest, matching},
    sample::Label,
    spec::{DataSpec, Format, Short, SourceSpec, Tail, WindowSpec},
    window::Windowing,
};
use tinyops_nn::Isa;
use tinyops_pipeline::{files_below, read_recording};
use tinyops_train::{Windows, progress::Flow};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    table::Table,
};
use judge::{Answer, Judge};

/// Recordings that one thread reads and judges at a time: memory for no more is needed.
const BATCH: usize = 16;

/// Say what a model makes of recordings, exactly as a device would
///
/// Runs the int8 model on all cores. How files are read comes from a source of the project, labels are not needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tinyops predict field/2026-11 --model fan@production
  tinyops predict digits/ --model lenet.tflite --lines --windows")]
pub(crate) struct Predict {
    /// Recordings, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Model and version, such as `fan@3`, or a file: a .tflite network, a model or a plan [default: the project's]
    #[arg(long)]
    model: Option<String>,
    /// Which `[[data.source]]` says how the files are read, from 0
    #[arg(long, default_value_t = 0)]
    source: usize,
    /// Read one window from each line of a file
    #[arg(long)]
    lines: bool,
    /// One line for each window, not for each recording
    #[arg(long)]
    windows: bool,
    /// Instructions to compute with, all of which say the same: portable, avx2, avx-vnni, avx-512, neon [default: the
    /// fastest that this machine has]
    #[arg(long, value_name = "NAME", value_parser = instructions)]
    instructions: Option<Isa>,
}

fn instructions(name: &str) -> Result<Isa, String> {
    let isa = Isa::from_name(name).ok_or("no such instructions")?;
    isa.is_available()
        .then_some(isa)
        .ok_or_else(|| "this machine has not got them".to_owned())
}

/// `tinyops predict --json`
#[derive(Serialize)]
struct View {
    model: String,
    labels: Vec<String>,
    recordings: Vec<RecordingView>,
}

#[derive(Serialize)]
struct RecordingView {
    name: String,
    windows: Vec<WindowView>,
}

#[derive(Serialize)]
struct WindowView {
    /// Its first reading, from 0.
    start: u32,
    /// When that was, in seconds from the start of the recording; none for pictures.
    start_s: Option<f64>,
    #[serde(flatten)]
    answer: Answer,
}

pub(crate) async fn run(context: &Context, args: &Predict) -> Result<(), Failure> {
    let mut judge = Judge::find(context, args.model.as_deref()).await?;
    if let Some(isa) = args.instructions {
        judge.predictor = judge.predictor.with_instructions(isa);
    }
    if args.lines {
        judge.predictor = judge.predictor.with_flat_windows();
    }
    let mut source = source(context, args)?;
    if judge.is_timeless() {
        // Nothing asks for the rate, but recordings have one.
        source.rate_hz = source.rate_hz.or(Some(1.0));
    }
    let mut recordings = Vec::new();
    for path in &args.paths {
        let batches = batches(&source, path)?;
        let total = batches.iter().map(|batch| batch.count as u64).sum();
        let bar = context.terminal.bar("predict", total);
        let done = AtomicU64::new(0);
        let judged: Vec<Result<Vec<RecordingView>, Refusal>> = batches
            .par_iter()
            .map(|batch| {
                let views = judge_batch(&judge, batch, path);
                let count = batch.count as u64;
                bar.at(done.fetch_add(count, Ordering::Relaxed) + count);
                views
            })
            .collect();
        drop(bar);
        recordings.extend(together(context, path, judged)?);
    }
    let view = View {
        model: judge.title,
        labels: judge.labels,
        recordings,
    };
    context.terminal.answer(&view, || text(&view, args.windows));
    Ok(())
}

/// Recordings that are read and judged at once.
struct Batch {
    source: SourceSpec,
    root: PathBuf,
    files: Vec<String>,
    count: usize,
}

/// Why a batch was not judged.
enum Refusal {
    Unsound(Report),
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// All answers in order, or everything that is wrong with the files.
fn together(
    context: &Context,
    path: &Path,
    judged: Vec<Result<Vec<RecordingView>, Refusal>>,
) -> Result<Vec<RecordingView>, Failure> {
    let mut views = Vec::new();
    let mut unsound: Option<Report> = None;
    for batch in judged {
        match batch {
            Ok(batch) => views.extend(batch),
            Err(Refusal::Failed(failure)) => return Err(failure),
            Err(Refusal::Unsound(report)) => match &mut unsound {
                Some(all) => all.append(report),
                None => unsound = Some(report),
            },
        }
    }
    let Some(report) = unsound else {
        return Ok(views);
    };
    if !context.terminal.json {
        context.terminal.tell(&report);
    }
    let first = report.findings.first().map(ToString::to_string);
    Err(
        Failure::question(format!("`{}` cannot be judged whole", path.display()))
            .because(first.unwrap_or_default())
            .hint("mend the files, or name those that are sound"),
    )
}

/// How files are read; without a project file, by their extension.
fn source(context: &Context, args: &Predict) -> Result<SourceSpec, Failure> {
    let lines = |mut source: SourceSpec| {
        if args.lines {
            source.format = Format::Lines;
        }
        source
    };
    if !context.root.join(tinyops_pipeline::FILE_NAME).exists() {
        return Ok(lines(SourceSpec::default()));
    }
    let sources = context.project()?.data.source;
    let count = sources.len();
    let mut source = sources.into_iter().nth(args.source).ok_or_else(|| {
        Failure::question(format!("the project has no source {}", args.source))
            .hint(format!("it has {count}, counted from 0"))
    })?;
    // What belongs to the project's own files and sides, not to how a file is read.
    source.label = None;
    source.label_file = None;
    source.group = None;
    source.group_file = None;
    source.role = None;
    source.cut = None;
    source.files_max = None;
    source.exclude = Vec::new();
    Ok(lines(source))
}

/// The recordings at a path, in batches.
fn batches(source: &SourceSpec, path: &Path) -> Result<Vec<Batch>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::question(format!("cannot read `{}`", path.display()))
            .cause(&error)
            .hint("give recordings, or folders of them")
    };
    let is_folder = fs::metadata(path).map_err(unreadable)?.is_dir();
    let (root, files) = if is_folder {
        let files = files_below(path).map_err(unreadable)?;
        let files = files.into_iter().map(|(path, _)| path).collect();
        (path.to_path_buf(), files)
    } else {
        let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let name = path.file_name().unwrap_or_default();
        (root, vec![name.to_string_lossy().into_owned()])
    };
    let mut source = source.clone();
    source.root = root.display().to_string();
    let mut jobs = matching(0, &source, &files, &mut Report::new());
    if jobs.is_empty() {
        // Another layout than the project's: take every file that could be of its kind.
        source.files = any_place(&source.files);
        jobs = matching(0, &source, &files, &mut Report::new());
    }
    if jobs.is_empty() {
        return Err(Failure::question(format!(
            "`{}` holds no recording of the project's kind",
            path.display()
        )));
    }
    let jobs: Vec<Vec<String>> = jobs
        .into_iter()
        .map(|job| job.files.into_iter().map(|(_, file)| file).collect())
        .collect();
    let taken: BTreeSet<&String> = jobs.iter().flatten().collect();
    // Side files belong to every batch.
    let others: Vec<String> = files
        .iter()
        .filter(|file| !taken.contains(file))
        .cloned()
        .collect();
    let batch = |jobs: &[Vec<String>]| Batch {
        source: source.clone(),
        root: root.clone(),
        files: jobs.iter().flatten().chain(&others).cloned().collect(),
        count: jobs.len(),
    };
    Ok(jobs.chunks(BATCH).map(batch).collect())
}

fn judge_batch(judge: &Judge, batch: &Batch, path: &Path) -> Result<Vec<RecordingView>, Refusal> {
    let Batch {
        source,
        root,
        files,
        ..
    } = batch;
    let window_len = judge.predictor.front_end().window_len;
    let (mut dataset, mut report) = decode(source, window_len, root, files);
    if report.of(Code::MissingColumn).next().is_some() {
        // Columns with the truth are for training.
        let mut source = source.clone();
        source.label_column = None;
        source.group_column = None;
        source.target_column = None;
        (dataset, report) = decode(&source, window_len, root, files);
    }
    // A pattern may match nothing in this batch.
    let errors = report.findings.iter();
    if errors
        .filter(|finding| finding.severity == Severity::Error)
        .any(|finding| finding.code != Code::NoFile)
    {
        return Err(Refusal::Unsound(report));
    }
    // Names as they were given, so that two folders do not mix.
    let shown = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new(""))
    };
    for sample in &mut dataset.samples {
        sample.name = shown.join(&sample.name).display().to_string();
    }
    Ok(views(judge, dataset)?)
}

fn decode(
    source: &SourceSpec,
    window_len: u32,
    root: &Path,
    files: &[String],
) -> (Dataset, Report) {
    let spec = DataSpec {
        source: vec![source.clone()],
        window: WindowSpec {
            len: Some(window_len),
            short: Short::Zeros,
            ..WindowSpec::default()
        },
        ..DataSpec::default()
    };
    let listing = Listing {
        files: files.to_vec(),
    };
    let mut report = Report::new();
    let mut read = |_: usize, path: &str| read_recording(&root.join(path));
    let dataset = ingest(&spec, &[listing], &mut read, &mut report);
    (dataset, report)
}

/// Patterns that match the same kinds of files in any folder.
fn any_place(patterns: &[String]) -> Vec<String> {
    let mut kinds: Vec<String> = patterns
        .iter()
        .filter_map(|pattern| pattern.rsplit('/').next()?.split_once('.'))
        .map(|(_, kind)| format!("**/*.{kind}"))
        .collect();
    kinds.sort();
    kinds.dedup();
    if kinds.is_empty() {
        kinds.push("**/*".to_owned());
    }
    kinds
}

fn views(judge: &Judge, mut dataset: Dataset) -> Result<Vec<RecordingView>, Failure> {
    judge.check(&dataset)?;
    let window_len = judge.predictor.front_end().window_len as usize;
    let windowing = Windowing {
        len: window_len,
        hop: window_len,
        tail: Tail::Overlap,
        short: Short::Zeros,
        label_share: 0.0,
    };
    let all: Vec<usize> = (0..dataset.samples.len()).collect();
    let refused = |error: &(dyn std::error::Error + 'static)| Failure::of(Exit::Question, error);
    // Labels are another question.
    for sample in &mut dataset.samples {
        sample.label = Label::None;
    }
    let windows = Windows::cut(&dataset, &all, &windowing).map_err(|error| refused(&error))?;
    let scores = judge
        .predictor
        .predict(&windows, &mut |_| Flow::Continue)
        .map_err(|error| refused(&error))?;
    let mut views: Vec<RecordingView> = windows
        .recordings
        .iter()
        .map(|recording| RecordingView {
            name: recording.name.clone(),
            windows: Vec::new(),
        })
        .collect();
    let rate_hz = f64::from(windows.rate_hz);
    for (index, origin) in windows.origins.iter().enumerate() {
        views[origin.recording as usize].windows.push(WindowView {
            start: origin.start,
            start_s: (rate_hz > 0.0 && !judge.is_timeless())
                .then(|| f64::from(origin.start) / rate_hz),
            answer: judge.answer(&scores, index),
        });
    }
    Ok(views)
}

fn text(view: &View, every_window: bool) -> String {
    if every_window {
        let mut table = Table::new(["recording", "start", "answer", "score"]);
        for recording in &view.recordings {
            for window in &recording.windows {
                let (word, number) = window.answer.words();
                let start = match window.start_s {
                    Some(seconds) => format!("{seconds:.2} s"),
                    None => window.start.to_string(),
                };
                table.row([recording.name.clone(), start, word, format!("{number:.4}")]);
            }
        }
        return format!("{}\n{}", view.model, table.text());
    }
    let mut table = Table::new(["recording", "windows", "answer", "of them", "mean score"]);
    for recording in &view.recordings {
        let words: Vec<(String, f32)> =
            recording.windows.iter().map(|w| w.answer.words()).collect();
        let count = |word: &str| words.iter().filter(|(other, _)| other == word).count();
        // The first of those that are most often said.
        let most = words.iter().rev().max_by_key(|(word, _)| count(word));
        let Some((word, _)) = most else { continue };
        let said = words.iter().filter(|(other, _)| other == word);
        let sum: f32 = said.map(|(_, number)| number).sum();
        table.row([
            recording.name.clone(),
            words.len().to_string(),
            word.clone(),
            count(word).to_string(),
            format!("{:.4}", sum / count(word) as f32),
        ]);
    }
    format!("{}\n{}", view.model, table.text())
}
