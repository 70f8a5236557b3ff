use std::collections::BTreeSet;

use serde::Serialize;
use tinyops_fleet::watch::cohort_of;
use tinyops_server::ExpectedView;
use tinyops_store::{ModelId, Timestamp, alert, capsule, device, drift, presence, repair};

use crate::{context::Context, failure::Failure, table::Table};

/// Say how the fleet is: each cohort's drift, and how right its models are by the outcomes that came back
///
/// Exits with 1 under `--check` if any cohort is past its alarm threshold.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops monitor --check")]
pub(crate) struct Monitor {
    /// Exit with 1 if anything has drifted, for scripts
    #[arg(long)]
    check: bool,
}

/// `tinyops monitor --json`
#[derive(Serialize)]
struct View {
    devices: i64,
    standing_alerts: usize,
    /// Numbers of the repairs that go on; `tinyops repairs show` tells each.
    open_repairs: Vec<i64>,
    models: Vec<ModelView>,
    cohorts: Vec<CohortView>,
    accuracy: Vec<AccuracyView>,
}

#[derive(Serialize)]
struct ModelView {
    /// The model id; none for devices that never said.
    model_id: Option<String>,
    /// Such as `fan@3`; none for one that was not signed here.
    model: Option<String>,
    devices: i64,
}

#[derive(Serialize)]
struct CohortView {
    cohort: String,
    model_id: String,
    /// 1 is the alarm threshold.
    score: f64,
    watched: usize,
    alarmed: usize,
    /// Devices that answer by a head of their own.
    own_heads: usize,
    /// What confidences let expect of the share of right answers; it is no accuracy.
    expected: ExpectedView,
    channels: Vec<ChannelView>,
}

/// An interval in words, or why none is told.
fn expected_text(expected: &ExpectedView) -> String {
    match (expected.low, expected.high, &expected.withheld) {
        (Some(low), Some(high), _) => format!("{low:.2}–{high:.2}"),
        (.., reason) => format!("withheld: {}", reason.as_deref().unwrap_or("nobody knows")),
    }
}

#[derive(Serialize)]
struct ChannelView {
    name: String,
    score: f64,
    /// In standard deviations of the training data.
    mean: f64,
}

#[derive(Serialize)]
struct AccuracyView {
    cohort: String,
    model_id: String,
    right: i64,
    judged: i64,
    accuracy: Option<f64>,
}

pub(crate) async fn run(context: &Context, args: &Monitor) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let db = &fleet.db;
    let mut models = Vec::new();
    for (id, devices) in presence::by_model(db).await? {
        models.push(ModelView {
            model_id: id.map(|id| id.to_string()),
            model: match id {
                Some(id) => name_of(db, id).await?,
                None => None,
            },
            devices,
        });
    }
    let mut cohorts = Vec::new();
    for (cohort, _) in device::cohorts(db).await? {
        let Some(view) = fleet.cohort_view(&cohort).await? else {
            continue;
        };
        let channels = view.channels.into_iter().map(|channel| ChannelView {
            name: channel.name,
            score: channel.score,
            mean: channel.mean,
        });
        cohorts.push(CohortView {
            cohort,
            model_id: view.model.to_string(),
            score: view.score,
            watched: view.watched_count,
            alarmed: view.alarmed_count,
            own_heads: view.own_head_count,
            expected: view.expected.into(),
            channels: channels.collect(),
        });
    }
    let accuracy = fleet.accuracy(Timestamp(i64::MIN)).await?;
    let view = View {
        devices: device::count(db).await?,
        standing_alerts: alert::standing(db).await?.len(),
        open_repairs: repair::open(db)
            .await?
            .iter()
            .map(|repair| repair.id.0)
            .collect(),
        models,
        cohorts,
        accuracy: accuracy
            .into_iter()
            .map(|found| AccuracyView {
                accuracy: found.share(),
                cohort: found.cohort,
                model_id: found.model.to_string(),
                right: found.right,
                judged: found.judged,
            })
            .collect(),
    };
    // A cohort has a scope for each model, and one more where its devices report in two formats.
    let states = drift::of_cohorts(db).await?;
    let alarmed = states.iter().filter(|state| state.alarmed);
    let drifted: BTreeSet<&str> = alarmed
        .filter_map(|state| cohort_of(&state.scope))
        .collect();
    let drifted = drifted.len();
    context.terminal.answer(&view, || text(&view));
    if args.check && drifted > 0 {
        return Err(Failure::no(format!("{drifted} cohorts have drifted"))
            .hint("`tinyops alerts ls` says what is advised"));
    }
    Ok(())
}

async fn name_of(
    db: &tinyops_store::Db,
    id: ModelId,
) -> Result<Option<String>, tinyops_store::StoreError> {
    let capsule = capsule::get(db, id).await?;
    Ok(capsule.map(|capsule| format!("{}@{}", capsule.model, capsule.version)))
}

fn text(view: &View) -> String {
    let mut out = format!(
        "{} devices, {} standing alerts, {} repairs open\n",
        view.devices,
        view.standing_alerts,
        view.open_repairs.len()
    );
    let dash = || "–".to_owned();
    let mut table = Table::new(["model id", "devices", "model"]);
    for model in &view.models {
        table.row([
            model.model_id.clone().unwrap_or_else(dash),
            model.devices.to_string(),
            model.model.clone().unwrap_or_else(dash),
        ]);
    }
    if !table.is_empty() {
        out += &format!("\n{}", table.text());
    }
    let mut table = Table::new([
        "cohort",
        "drift (1 alarms)",
        "watched",
        "alarmed",
        "own heads",
        "farthest",
        "right, by confidence",
    ]);
    for cohort in &view.cohorts {
        // While all learn what is normal, none is far from it.
        let judged = cohort.channels.iter().filter(|_| cohort.watched > 0);
        let farthest = judged.max_by(|a, b| a.score.total_cmp(&b.score));
        table.row([
            cohort.cohort.clone(),
            format!("{:.2}", cohort.score),
            cohort.watched.to_string(),
            cohort.alarmed.to_string(),
            cohort.own_heads.to_string(),
            farthest.map_or_else(dash, |channel| {
                format!("{} ({:+.1} σ)", channel.name, channel.mean)
            }),
            expected_text(&cohort.expected),
        ]);
    }
    if !table.is_empty() {
        out += &format!("\n{}", table.text());
    }
    let mut table = Table::new(["cohort", "accuracy", "right", "judged", "model id"]);
    for found in &view.accuracy {
        table.row([
            found.cohort.clone(),
            found
                .accuracy
                .map_or_else(dash, |share| format!("{share:.4}")),
            found.right.to_string(),
            found.judged.to_string(),
            found.model_id.clone(),
        ]);
    }
    if !table.is_empty() {
        out += &format!("\nBy the outcomes that came back\n{}", table.text());
    }
    out
}
