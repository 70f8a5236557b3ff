//! The terminal: data on stdout, everything else on stderr, no color and no bar where nobody looks.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::Mutex,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tinyops_pipeline::{Progress, Reporter, StepName};

use crate::failure::Failure;

/// Flags that every command has.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results only: no progress, no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    pub(crate) json: bool,
    quiet: bool,
    color: bool,
    interactive: bool,
}

impl Terminal {
    /// What the flags and the surroundings allow.
    pub(crate) fn new(args: OutputArgs) -> Self {
        let interactive = io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json: args.json,
            quiet: args.quiet,
            color: interactive && !plain,
            interactive,
        }
    }

    /// Whether stderr takes colors.
    pub(crate) fn color(self) -> bool {
        self.color
    }

    /// Whether somebody sees how far work has come.
    pub(crate) fn is_watched(self) -> bool {
        self.interactive && !self.quiet
    }

    /// Prints the answer: `text` for people, `view` for programs.
    pub(crate) fn answer(self, view: &impl Serialize, text: impl FnOnce() -> String) {
        let answer = if self.json {
            serde_json::to_string_pretty(view).expect("views have string keys") + "\n"
        } else {
            text()
        };
        // A reader that went away (`| head`) is no error of ours.
        let _ = io::stdout().lock().write_all(answer.as_bytes());
    }

    /// Prints one line of an answer that comes bit by bit.
    pub(crate) fn line(self, text: impl Display) {
        let _ = writeln!(io::stdout().lock(), "{text}");
    }

    /// Says something on the way.
    pub(crate) fn note(self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Says what was found, even under `--quiet`: why a command fails.
    pub(crate) fn tell(self, findings: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{findings}");
    }

    /// Asks before something that is not easily undone; `yes` has answered already.
    pub(crate) fn confirm(self, plan: impl Display, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || self.json {
            return Err(
                Failure::question(format!("{plan}: nobody is here to say yes"))
                    .hint("`--yes` answers"),
            );
        }
        let _ = write!(io::stderr().lock(), "{plan}. Go on? [y/N] ");
        let mut answer = String::new();
        let _ = io::stdin().read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::no("left as it is")),
        }
    }

    /// The codes before and after a colored word on stderr; empty without color.
    pub(crate) fn paint(self, code: &'static str) -> (&'static str, &'static str) {
        if self.color {
            (code, "\x1b[0m")
        } else {
            ("", "")
        }
    }

    /// A bar with the time left, for work of one kind; it goes when it is dropped.
    pub(crate) fn bar(self, what: &'static str, total: u64) -> Bar {
        let shown = self.interactive && !self.quiet;
        Bar(shown.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(measured());
            bar.set_prefix(what);
            bar
        }))
    }

    /// Draws the steps of a run: a bar with the time left while one works, a line when it ends.
    pub(crate) fn reporter(self) -> Reporter {
        let bar: Mutex<Option<(StepName, ProgressBar)>> = Mutex::new(None);
        std::sync::Arc::new(move |progress| {
            let mut bar = bar.lock().expect("a report holds no lock when it panics");
            match progress {
                Progress::Resumes { interrupted } => self.note(format_args!(
                    "  run {} was interrupted; the steps that it finished are taken from the store",
                    interrupted.id
                )),
                Progress::Begin(step) => {
                    if self.interactive && !self.quiet {
                        let new = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                        new.set_style(spinner());
                        new.set_prefix(step.word());
                        new.enable_steady_tick(Duration::from_millis(100));
                        *bar = Some((step, new));
                    }
                }
                Progress::At {
                    step,
                    done,
                    total,
                    note,
                } => {
                    if let Some((shown, bar)) = &*bar
                        && *shown == step
                    {
                        if total > 0 && bar.length() != Some(total) {
                            bar.set_length(total);
                            bar.set_style(measured());
                        }
                        bar.set_position(done);
                        bar.set_message(note);
                    }
                }
                Progress::End(report) => {
                    if let Some((_, bar)) = bar.take() {
                        bar.finish_and_clear();
                    }
                    let (dim, reset) = self.paint("\x1b[2m");
                    let took = if report.cached {
                        "cached".to_owned()
                    } else {
                        seconds(report.wall_ms)
                    };
                    self.note(format_args!(
                        "  {:<10} {dim}{took:>8}{reset}  {}",
                        report.step.word(),
                        report.summary
                    ));
                }
            }
        })
    }
}

/// How far some work has come; nothing where nobody looks.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    /// So many are done.
    pub(crate) fn at(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Milliseconds as a person reads them.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("  {prefix:<10} {spinner} {elapsed}  {msg}")
        .expect("the template is a constant")
}

fn measured() -> ProgressStyle {
    ProgressStyle::with_template("  {prefix:<10} [{bar:30}] {pos}/{len}  {eta} left  {msg}")
        .expect("the template is a constant")
        .progress_chars("=> ")
}
