//! `tinyops data label`: labels of recordings, their history, and which are likely wrong.

mod issues;

use serde::Serialize;
use tinyops_data::{
    dataset::Dataset,
    finding::Severity,
    history::{Act, Entry, FILE_NAME, History, range},
    sample::Sample,
};
use tinyops_pipeline::{
    Project, Shelf,
    labelling::{self, LabellingError},
};

use crate::{
    cmd::run::run_failure,
    context::{Context, now},
    failure::{Exit, Failure},
    table::Table,
};

/// Label recordings, see who labelled what and why, and find labels that are likely wrong
///
/// What is said is a line of `labels.tsv` in the project's folder, and holds over what path, column and side file say.
/// Labels of what devices see now are another matter: `tinyops labels`.
#[derive(Debug, clap::Args)]
pub(super) struct Label {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Set(Set),
    Range(RangeArgs),
    Rule(Rule),
    Undo(Undo),
    Log(Log),
    Issues(issues::Issues),
    Accept(issues::Accept),
    Reject(issues::Reject),
    Balance(issues::Balance),
}

/// Who says it, and why.
#[derive(Debug, clap::Args)]
struct Said {
    /// Why, for the history
    #[arg(long, default_value = "")]
    why: String,
    /// Who says it [default: the user of this machine]
    #[arg(long)]
    who: Option<String>,
}

impl Said {
    fn who(&self) -> String {
        let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        let who = self.who.clone().or_else(user);
        who.unwrap_or_else(|| "unknown".to_owned())
    }

    fn by<'a>(&'a self, who: &'a str) -> labelling::Said<'a> {
        labelling::Said {
            who,
            why: &self.why,
            at: now(),
        }
    }
}

/// Say what class whole recordings are of
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops data label set m3/worn/07.csv --label healthy --why 'bearing was new'"
)]
struct Set {
    /// Their names, as `tinyops data show` lists them
    #[arg(required = true)]
    recordings: Vec<String>,
    /// The class; empty takes the label away
    #[arg(long)]
    label: String,
    #[command(flatten)]
    said: Said,
}

/// Say what class a part of a recording is of
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops data label range walk/07.csv --from 1.5 --to 4 --label stairs"
)]
struct RangeArgs {
    /// Its name, as `tinyops data show` lists it
    recording: String,
    /// Seconds from its start
    #[arg(
        long,
        required_unless_present = "readings",
        conflicts_with = "readings"
    )]
    from: Option<f64>,
    /// Seconds from its start; its end without it
    #[arg(long, conflicts_with = "readings")]
    to: Option<f64>,
    /// Readings in place of seconds, counted from 0, the last not included, such as `150-400`
    #[arg(long, value_parser = readings)]
    readings: Option<std::ops::Range<usize>>,
    /// The class; empty takes the label away
    #[arg(long)]
    label: String,
    #[command(flatten)]
    said: Said,
}

/// Say what class all recordings are of that fit, those that come later, too
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops data label rule 'name=m3/*/2026-11-*' --label worn --why 'found on Friday'"
)]
struct Rule {
    /// `name`, `group`, `label` or the name of metadata, `=`, and a pattern as in `files`
    #[arg(value_name = "FIELD=PATTERN", value_parser = rule)]
    rule: (String, String),
    /// The class; empty takes the label away
    #[arg(long)]
    label: String,
    #[command(flatten)]
    said: Said,
}

/// Take an entry of the history back
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data label undo 3fa91c02")]
struct Undo {
    /// Its id, as `tinyops data label log` lists it
    id: String,
    #[command(flatten)]
    said: Said,
}

/// List who labelled what, when and why, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data label log m3/worn/07.csv")]
struct Log {
    /// Of one recording [default: of all]
    recording: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

fn readings(text: &str) -> Result<std::ops::Range<usize>, String> {
    range(text).ok_or_else(|| "readings are FROM-TO, such as 150-400".to_owned())
}

fn rule(text: &str) -> Result<(String, String), String> {
    let (field, pattern) = text
        .split_once('=')
        .ok_or("a rule is FIELD=PATTERN, such as `group=m3`")?;
    tinyops_data::pattern::Pattern::new(pattern).map_err(|error| error.to_string())?;
    Ok((field.to_owned(), pattern.to_owned()))
}

pub(super) fn run(context: &Context, args: &Label) -> Result<(), Failure> {
    match &args.verb {
        Verb::Set(args) => set(context, args),
        Verb::Range(args) => set_range(context, args),
        Verb::Rule(args) => {
            let (field, pattern) = args.rule.clone();
            let label = args.label.clone();
            let act = Act::Rule {
                field,
                pattern,
                label,
            };
            let desk = Desk::open(context)?;
            desk.check_class(context, &args.label);
            desk.add(context, vec![act], &args.said)
        }
        Verb::Undo(args) => undo(context, args),
        Verb::Log(args) => log(context, args),
        Verb::Issues(args) => issues::find(context, args),
        Verb::Accept(args) => issues::accept(context, args),
        Verb::Reject(args) => issues::reject(context, args),
        Verb::Balance(args) => issues::balance(context, args),
    }
}

/// The recordings as a run would read them, and what was said of their labels.
struct Desk {
    project: Project,
    shelf: Shelf,
    history: History,
}

impl Desk {
    fn open(context: &Context) -> Result<Self, Failure> {
        let project = context.project()?;
        let history = labelling::history(&context.root)?;
        let shelf = Shelf::list(&context.root, &project.data)
            .map_err(|error| run_failure(context, error))?;
        Ok(Self {
            project,
            shelf,
            history,
        })
    }

    /// The recordings; with errors among them nothing is said of labels.
    fn dataset(&self) -> Result<&Dataset, Failure> {
        let (dataset, report) = self.shelf.decoded();
        if report.has_errors() {
            let count = report.count(Severity::Error);
            return Err(
                Failure::question(format!("the recordings have {count} errors"))
                    .hint("`tinyops data validate` lists them"),
            );
        }
        Ok(dataset)
    }

    fn sample(&self, name: &str) -> Result<&Sample, Failure> {
        let samples = &self.shelf.decoded().0.samples;
        let found = samples.iter().find(|sample| sample.name == name);
        found.ok_or_else(|| {
            let failure = Failure::question(format!("no recording is called `{name}`"));
            let same = samples.iter().find(|sample| sample.name.ends_with(name));
            match same {
                Some(same) => failure.hint(format!("there is `{}`", same.name)),
                None => failure
                    .hint("`tinyops data status`, then `tinyops data show`, lists their names"),
            }
        })
    }

    /// A class that the project does not have yet is told of: it may be a slip.
    fn check_class(&self, context: &Context, label: &str) {
        let classes = &self.shelf.decoded().0.classes;
        if !label.is_empty() && !classes.iter().any(|class| class == label) {
            let known = classes.join(", ");
            context
                .terminal
                .note(format!("`{label}` is a new class; there were {known}"));
        }
    }

    fn add(&self, context: &Context, acts: Vec<Act>, said: &Said) -> Result<(), Failure> {
        let who = said.who();
        let added = labelling::say(&context.root, acts, &said.by(&who))?;
        tell(context, &added);
        Ok(())
    }
}

/// Says what the history was told.
fn tell(context: &Context, added: &[Entry]) {
    let views: Vec<EntryView> = added.iter().map(EntryView::of).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "added": views }), || {
            let mut text = String::new();
            for view in &views {
                text += &format!("  {} {}\n", view.id, view.text());
            }
            text + &format!("  {FILE_NAME} has it; the next run trains with it\n")
        });
}

impl From<LabellingError> for Failure {
    fn from(error: LabellingError) -> Self {
        match &error {
            LabellingError::History(why) => Failure::of(Exit::Question, why)
                .because(format!("`{FILE_NAME}`, the history of labels"))
                .hint("mend the line, or take it out"),
            LabellingError::NoList => Failure::of(Exit::Question, &error)
                .hint("`tinyops data label issues` looks for them"),
            LabellingError::NoIssue { .. } | LabellingError::OtherList => {
                Failure::of(Exit::Question, &error)
                    .hint("`tinyops data label issues` lists them anew")
            }
            LabellingError::Decided { .. } => Failure::of(Exit::No, &error).hint(
                "nothing was said: `tinyops data label log` shows the entry, `tinyops data label undo` takes it back",
            ),
            _ => Failure::of(Exit::Environment, &error),
        }
    }
}

/// One entry of the history.
#[derive(Serialize)]
struct EntryView {
    id: String,
    at: String,
    who: String,
    act: &'static str,
    recording: Option<String>,
    readings: Option<[usize; 2]>,
    rule: Option<String>,
    label: Option<String>,
    undone: Option<String>,
    why: String,
    in_force: bool,
}

impl EntryView {
    fn of(entry: &Entry) -> Self {
        let mut view = Self {
            id: entry.id(),
            at: entry.at.clone(),
            who: entry.who.clone(),
            act: "undo",
            recording: None,
            readings: None,
            rule: None,
            label: None,
            undone: None,
            why: entry.why.clone(),
            in_force: true,
        };
        match entry.act.clone() {
            Act::Set { recording, label } => {
                view.act = "set";
                (view.recording, view.label) = (Some(recording), Some(label));
            }
            Act::Range {
                recording,
                readings,
                label,
            } => {
                view.act = "range";
                view.readings = Some([readings.start, readings.end]);
                (view.recording, view.label) = (Some(recording), Some(label));
            }
            Act::Rule {
                field,
                pattern,
                label,
            } => {
                view.act = "rule";
                (view.rule, view.label) = (Some(format!("{field}={pattern}")), Some(label));
            }
            Act::Keep { recording, label } => {
                view.act = "keep";
                (view.recording, view.label) = (Some(recording), Some(label));
            }
            Act::Undo { id } => view.undone = Some(id),
        }
        view
    }

    fn text(&self) -> String {
        let what = match (&self.recording, &self.rule, &self.undone) {
            (Some(recording), _, _) => match self.readings {
                Some([from, to]) => format!("{recording} readings {from}-{to}"),
                None => recording.clone(),
            },
            (_, Some(rule), _) => rule.clone(),
            (_, _, id) => return format!("takes {} back", id.as_deref().unwrap_or_default()),
        };
        match (self.act, self.label.as_deref()) {
            ("keep", label) => format!("{what} is {} indeed", label.unwrap_or_default()),
            (_, Some("") | None) => format!("{what} has no label"),
            (_, Some(label)) => format!("{what} is {label}"),
        }
    }
}

fn set(context: &Context, args: &Set) -> Result<(), Failure> {
    let desk = Desk::open(context)?;
    let mut acts = Vec::new();
    for recording in &args.recordings {
        desk.sample(recording)?;
        acts.push(Act::Set {
            recording: recording.clone(),
            label: args.label.clone(),
        });
    }
    desk.check_class(context, &args.label);
    desk.add(context, acts, &args.said)
}

fn set_range(context: &Context, args: &RangeArgs) -> Result<(), Failure> {
    let desk = Desk::open(context)?;
    let sample = desk.sample(&args.recording)?;
    let len = sample.len();
    let readings = match (&args.readings, args.from) {
        (Some(readings), _) => readings.clone(),
        (None, from) => {
            let rate_hz = f64::from(sample.rate_hz);
            let place = |seconds: f64| (seconds * rate_hz).round().max(0.0) as usize;
            place(from.unwrap_or(0.0))..args.to.map_or(len, place)
        }
    };
    if readings.is_empty() || readings.end > len {
        let (name, seconds) = (&args.recording, sample.duration_s());
        return Err(Failure::question(format!(
            "`{name}` has no readings {}-{}",
            readings.start, readings.end
        ))
        .hint(format!("it has {len}, {seconds:.2} s")));
    }
    desk.check_class(context, &args.label);
    let act = Act::Range {
        recording: args.recording.clone(),
        readings,
        label: args.label.clone(),
    };
    desk.add(context, vec![act], &args.said)
}

fn undo(context: &Context, args: &Undo) -> Result<(), Failure> {
    let desk = Desk::open(context)?;
    let is_there = desk.history.in_force().any(|entry| entry.id() == args.id);
    if !is_there {
        return Err(Failure::question(format!("no entry `{}` holds", args.id))
            .hint("`tinyops data label log` lists their ids"));
    }
    let act = Act::Undo {
        id: args.id.clone(),
    };
    desk.add(context, vec![act], &args.said)
}

fn log(context: &Context, args: &Log) -> Result<(), Failure> {
    let history = labelling::history(&context.root)?;
    let holding: Vec<String> = history.in_force().map(Entry::id).collect();
    let entries = history.entries.iter().rev().map(|entry| EntryView {
        in_force: holding.contains(&entry.id()),
        ..EntryView::of(entry)
    });
    let is_asked = |view: &EntryView| {
        let wanted = args.recording.as_ref();
        wanted.is_none() || view.recording.as_ref() == wanted
    };
    let views: Vec<EntryView> = entries.filter(is_asked).take(args.limit).collect();
    let mut table = Table::new(["entry", "when (UTC)", "who", "what", "why"]);
    for view in &views {
        let undone = if view.in_force { "" } else { " (taken back)" };
        table.row([
            view.id.clone(),
            view.at
                .chars()
                .take(19)
                .collect::<String>()
                .replace('T', " "),
            view.who.clone(),
            view.text() + undone,
            view.why.clone(),
        ]);
    }
    context
        .terminal
        .answer(&serde_json::json!({ "entries": views }), || {
            match views.is_empty() {
                true => "  nobody has labelled anything by hand\n".to_owned(),
                false => table.text(),
            }
        });
    Ok(())
}
