//! `tinyops drift`: one table held against another.

mod page;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tinyops_data::decode::columns;
use tinyops_fleet::drift_report::{self, Column, DriftError, LIMIT, Profile, Report, Table};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    table::Table as Printed,
};

/// Hold one table against another, column by column: what has drifted, and how far
///
/// Either side is a CSV file with a header, or a profile that `--profile` wrote: counts of bounded size that days and
/// gateways add up in. Of several files, the later ones are one side. A column has drifted when its population stability
/// index is over the limit and over what chance explains. Exits with 1 under `--check` if any has.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: tinyops drift training.csv last-week.csv --html drift.html\n          tinyops drift training.csv --profile training.json\n          tinyops drift training.json monday.csv tuesday.csv --check"
)]
pub(crate) struct Drift {
    /// What it was: a CSV file, or a profile
    reference: PathBuf,
    /// What it is: CSV files, or profiles counted against the reference's
    current: Vec<PathBuf>,
    /// Population stability index above which a column has drifted, in nats
    #[arg(long, default_value_t = LIMIT, value_parser = limit)]
    limit: f64,
    /// Write the profile of the current side, or of the reference where it stands alone
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Write the report as a page
    #[arg(long, value_name = "FILE", requires = "current")]
    html: Option<PathBuf>,
    /// Exit with 1 if a column has drifted, for scripts
    #[arg(long, requires = "current")]
    check: bool,
}

fn limit(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(limit) if limit > 0.0 && f64::is_finite(limit) => Ok(limit),
        _ => Err("a limit is a number above 0, such as 0.1".to_owned()),
    }
}

/// `tinyops drift --json`
#[derive(Serialize)]
struct View<'a> {
    drifted: usize,
    #[serde(flatten)]
    report: &'a Report,
}

/// One side as it was given.
enum Given {
    Table(Table),
    Profile(Profile),
}

pub(crate) fn run(context: &Context, args: &Drift) -> Result<(), Failure> {
    let reference = read(&args.reference)?;
    if args.current.is_empty() {
        let Some(out) = &args.profile else {
            return Err(Failure::question("nothing to hold against it").hint(
                "name a second file, or write the profile of this one with `--profile FILE`",
            ));
        };
        let profile = profile_of(&args.reference, &reference, None)?;
        write_profile(out, &profile)?;
        let view = serde_json::json!({ "profile": out.display().to_string() });
        let told = || format!("the profile is in {}\n", out.display());
        context.terminal.answer(&view, told);
        return Ok(());
    }
    let currents: Vec<(&Path, Given)> = args
        .current
        .iter()
        .map(|path| Ok((path.as_path(), read(path)?)))
        .collect::<Result<_, Failure>>()?;
    let all_tables = currents
        .iter()
        .all(|(_, given)| matches!(given, Given::Table(_)));
    let by_values = match (&reference, all_tables) {
        (Given::Table(reference), true) => Some((reference, joined(&currents)?)),
        _ => None,
    };
    let mut profile = None;
    if by_values.is_none() || args.profile.is_some() {
        let like = profile_of(&args.reference, &reference, None)?;
        profile = Some((merged(&currents, &like)?, like));
    }
    let report = match (&by_values, &profile) {
        (Some((reference, current)), _) => drift_report::compare(reference, current, args.limit),
        (None, Some((current, like))) => like.compare(current, args.limit),
        (None, None) => Err(DriftError::NothingInCommon),
    };
    let report = report.map_err(refused)?;
    if let (Some(out), Some((current, _))) = (&args.profile, &profile) {
        write_profile(out, current)?;
    }
    if let Some(out) = &args.html {
        let names = [args.reference.display(), args.current[0].display()].map(|p| p.to_string());
        write(out, &page::of(&report, &names))?;
    }
    let drifted = report.drifted().count();
    let view = View {
        drifted,
        report: &report,
    };
    context.terminal.answer(&view, || text(&report));
    match args.check && drifted > 0 {
        true => Err(Failure::no(format!(
            "{drifted} of {} columns have drifted",
            report.columns.len()
        ))),
        false => Ok(()),
    }
}

fn read(path: &Path) -> Result<Given, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::question(format!("cannot read `{}`", path.display())).cause(&error)
    })?;
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        let columns = columns::read(&bytes).map_err(|problem| {
            Failure::question(format!("`{}`: {problem}", path.display())).hint(
                "a table is CSV: a header, then rows of as many cells, split by `,`, `;` or tabs",
            )
        })?;
        let columns = columns.into_iter().map(|(name, column)| {
            let column = match column {
                columns::Column::Numbers(numbers) => Column::Numbers(numbers),
                columns::Column::Words(words) => Column::Words(words),
            };
            (name, column)
        });
        return Ok(Given::Table(Table {
            columns: columns.collect(),
        }));
    }
    let no_profile = |why: String| {
        Failure::question(format!(
            "`{}` is no profile of this version",
            path.display()
        ))
        .because(why)
        .hint("`tinyops drift FILE.csv --profile OUT` writes one")
    };
    let profile: Profile =
        serde_json::from_slice(&bytes).map_err(|error| no_profile(error.to_string()))?;
    match profile.is_sound() {
        true => Ok(Given::Profile(profile)),
        false => Err(no_profile("its counts and edges do not fit".to_owned())),
    }
}

/// Several tables as one.
fn joined(currents: &[(&Path, Given)]) -> Result<Table, Failure> {
    let mut tables = currents.iter().filter_map(|(path, given)| match given {
        Given::Table(table) => Some((path, table)),
        Given::Profile(_) => None,
    });
    let Some((_, first)) = tables.next() else {
        return Ok(Table::default());
    };
    let mut whole = first.clone();
    for (path, table) in tables {
        whole.append(table).map_err(|error| {
            Failure::of(Exit::Question, &error).because(format!("in `{}`", path.display()))
        })?;
    }
    Ok(whole)
}

fn profile_of(path: &Path, given: &Given, like: Option<&Profile>) -> Result<Profile, Failure> {
    match given {
        Given::Profile(profile) => Ok(profile.clone()),
        Given::Table(table) => Profile::of(table, like).map_err(|error| {
            Failure::of(Exit::Question, &error).because(format!("in `{}`", path.display()))
        }),
    }
}

fn merged(currents: &[(&Path, Given)], like: &Profile) -> Result<Profile, Failure> {
    let mut whole: Option<Profile> = None;
    for (path, given) in currents {
        let part = profile_of(path, given, Some(like))?;
        match &mut whole {
            None => whole = Some(part),
            Some(whole) => whole.merge(&part).map_err(refused)?,
        }
    }
    whole.ok_or_else(|| refused(DriftError::NothingInCommon))
}

fn refused(error: DriftError) -> Failure {
    Failure::of(Exit::Question, &error)
}

fn write_profile(path: &Path, profile: &Profile) -> Result<(), Failure> {
    let text = serde_json::to_string(profile).expect("profiles have string keys");
    write(path, &(text + "\n"))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::environment(format!("cannot write `{}`", path.display())).cause(&error)
    })
}

fn text(report: &Report) -> String {
    let header = [
        "column",
        "drifted",
        "PSI",
        "Jensen–Shannon",
        "KS",
        "Wasserstein (σ)",
        "mean (σ)",
        "spread ×",
    ];
    let mut table = Printed::new(header);
    let dash = || "–".to_owned();
    for column in &report.columns {
        let order = column.order.as_ref();
        let number = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.4}"));
        table.row([
            column.name.clone(),
            if column.drifted { "yes" } else { "no" }.to_owned(),
            format!("{:.4}", column.psi),
            format!("{:.4}", column.jensen_shannon),
            number(order.map(|order| order.kolmogorov_smirnov)),
            number(order.and_then(|order| order.wasserstein)),
            order.map_or_else(dash, |order| format!("{:+.3}", order.mean_shift)),
            order.map_or_else(dash, |order| format!("{:.3}", order.ln_sd.exp())),
        ]);
    }
    let mut out = table.text();
    for (names, what) in [
        (&report.gone, "is in the reference alone"),
        (&report.new, "is new"),
    ] {
        for name in names {
            out += &format!("  column {name} {what}\n");
        }
    }
    let drifted = report.drifted().count();
    out + &format!(
        "{drifted} of {} columns have drifted (index over {})\n",
        report.columns.len(),
        report.limit
    )
}
