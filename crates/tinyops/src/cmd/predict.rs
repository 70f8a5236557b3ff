use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tinyops_data::{
    dataset::Dataset,
    finding::{Code, Report},
    ingest::{Listing, ingest, matching},
    spec::{DataSpec, Short, SourceSpec, Tail, WindowSpec},
    window::Windowing,
};
use tinyops_model::{Model, Task};
use tinyops_pipeline::{files_below, read_recording};
use tinyops_train::{Scores, Windows, predict};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    model_ref::{ModelRef, chosen, title},
    table::Table,
};

/// Say what a model makes of recordings, exactly as a device would
///
/// Runs the int8 model on all cores. How files are read comes from a source of the project, labels are not needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops predict field/2026-11 --model fan@production")]
pub(crate) struct Predict {
    /// Recordings, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Model and version, such as `fan@3` [default: the project's]
    #[arg(long)]
    model: Option<ModelRef>,
    /// Which `[[data.source]]` says how the files are read, from 0
    #[arg(long, default_value_t = 0)]
    source: usize,
    /// One line for each window, not for each recording
    #[arg(long)]
    windows: bool,
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

/// What a window is said to be.
#[derive(Clone, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
enum Answer {
    /// One of the labels.
    Class {
        class: String,
        confidence: f32,
        /// Whether the confidence is what the model asks for.
        is_sure: bool,
    },
    /// A quantity.
    Value { value: f32 },
    /// How strange it is.
    Anomaly { score: f32, is_alarm: bool },
}

impl Answer {
    /// Decides as the device does.
    fn of(model: &Model, scores: &Scores, index: usize) -> Self {
        let row = scores.row(index);
        match model.task {
            Task::Regress => Self::Value { value: row[0] },
            Task::Anomaly => Self::Anomaly {
                score: row[0],
                is_alarm: row[0] > model.decision.threshold,
            },
            Task::Classify => {
                let threshold = model.decision.threshold;
                let class = match row {
                    [_, second] if threshold > 0.0 => usize::from(*second >= threshold),
                    _ => scores.class(index),
                };
                let confidence = row[class].clamp(0.0, 1.0);
                Self::Class {
                    class: model.labels.get(class).cloned().unwrap_or_default(),
                    confidence,
                    is_sure: confidence >= model.decision.min_confidence,
                }
            }
        }
    }

    /// The word for people, and the number behind it.
    fn words(&self) -> (String, f32) {
        match self {
            Self::Class {
                class,
                confidence,
                is_sure,
            } => {
                let doubt = if *is_sure { "" } else { " (unsure)" };
                (format!("{class}{doubt}"), *confidence)
            }
            Self::Value { value } => ("value".to_owned(), *value),
            Self::Anomaly { score, is_alarm } => {
                let word = if *is_alarm { "ALARM" } else { "normal" };
                (word.to_owned(), *score)
            }
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Predict) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let row = chosen(context, &db, args.model.as_ref()).await?;
    let model = Model::decode(&artifacts.get(&row.digest).await?).map_err(|error| {
        Failure::environment(format!("{} does not read back", title(&row))).cause(&error)
    })?;
    let source = source(context, args)?;
    let mut recordings = Vec::new();
    for path in &args.paths {
        let mut dataset = read(context, &source, model.front_end.window_len, path)?;
        // Names as they were given, so that two folders do not mix.
        let root = if path.is_dir() {
            path.as_path()
        } else {
            path.parent().unwrap_or(Path::new(""))
        };
        for sample in &mut dataset.samples {
            sample.name = root.join(&sample.name).display().to_string();
        }
        recordings.extend(judge(&model, dataset)?);
    }
    let view = View {
        model: title(&row),
        labels: model.labels,
        recordings,
    };
    context.terminal.answer(&view, || text(&view, args.windows));
    Ok(())
}

/// How files are read; without a project file, by their extension.
fn source(context: &Context, args: &Predict) -> Result<SourceSpec, Failure> {
    if !context.root.join(tinyops_pipeline::FILE_NAME).exists() {
        return Ok(SourceSpec::default());
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
    Ok(source)
}

/// The recordings at a path, all of them sound.
fn read(
    context: &Context,
    source: &SourceSpec,
    window_len: u32,
    path: &Path,
) -> Result<Dataset, Failure> {
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
    if matching(0, &source, &files, &mut Report::new()).is_empty() {
        // Another layout than the project's: take every file that could be of its kind.
        source.files = any_place(&source.files);
    }
    let (mut dataset, mut report) = decode(&source, window_len, &root, &files);
    if report.of(Code::MissingColumn).next().is_some() {
        // Columns with the truth are for training.
        source.label_column = None;
        source.group_column = None;
        source.target_column = None;
        (dataset, report) = decode(&source, window_len, &root, &files);
    }
    if report.has_errors() {
        if !context.terminal.json {
            context.terminal.tell(&report);
        }
        return Err(
            Failure::question(format!("`{}` cannot be judged whole", path.display()))
                .because(
                    report
                        .findings
                        .first()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                )
                .hint("mend the files, or name those that are sound"),
        );
    }
    Ok(dataset)
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

fn judge(model: &Model, mut dataset: Dataset) -> Result<Vec<RecordingView>, Failure> {
    let front_end = &model.front_end;
    check(model, &dataset)?;
    let windowing = Windowing {
        len: front_end.window_len as usize,
        hop: front_end.window_len as usize,
        tail: Tail::Overlap,
        short: Short::Zeros,
        label_share: 0.0,
    };
    let all: Vec<usize> = (0..dataset.samples.len()).collect();
    let refused = |error: &(dyn std::error::Error + 'static)| Failure::of(Exit::Question, error);
    // Labels are another question.
    for sample in &mut dataset.samples {
        sample.label = tinyops_data::sample::Label::None;
    }
    let windows = Windows::cut(&dataset, &all, &windowing).map_err(|error| refused(&error))?;
    let scores = predict(model, &windows).map_err(|error| refused(&error))?;
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
            start_s: (rate_hz > 0.0).then(|| f64::from(origin.start) / rate_hz),
            answer: Answer::of(model, &scores, index),
        });
    }
    Ok(views)
}

/// A model judges only what is measured as its training data was.
fn check(model: &Model, dataset: &Dataset) -> Result<(), Failure> {
    let front_end = &model.front_end;
    let Some(first) = dataset.samples.first() else {
        return Err(Failure::question("there is no recording to judge"));
    };
    let channels = first.channels.len();
    if channels != usize::from(front_end.channel_count) {
        let names: Vec<&str> = first.channels.iter().map(|c| c.name.as_str()).collect();
        return Err(Failure::question(format!(
            "`{}` has {channels} channels ({}), the model takes {}",
            first.name,
            names.join(", "),
            front_end.channel_count
        ))
        .hint("`channels` of the source chooses columns"));
    }
    let rate_hz = first.rate_hz;
    if rate_hz > 0.0 && (rate_hz / front_end.rate_hz - 1.0).abs() > 0.02 {
        return Err(Failure::question(format!(
            "`{}` has {rate_hz} readings a second, the model takes {}",
            first.name, front_end.rate_hz
        ))
        .hint("`resample_hz` of the source brings it to the model's rate"));
    }
    Ok(())
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
