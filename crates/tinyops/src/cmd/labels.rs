use tinyops_fleet::label::{LabelWish, MINUTES_MAX};
use tinyops_server::LabelView;
use tinyops_store::{
    DeviceId, Timestamp,
    label::{self, Label},
};

use crate::{
    context::{ACTOR, Context, moment, now},
    failure::Failure,
    table::Table,
};

/// Say what the newest windows of a device were, and list what was said
#[derive(Debug, clap::Args)]
pub(crate) struct Labels {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Add(Add),
    TakeBack(TakeBack),
}

/// List the labels, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops labels ls")]
struct Ls {
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// Label the newest windows of a device: what a maintenance found, a user said, an annotator heard
///
/// The windows and what the model said of them stay on the device. It is told the label once, when it is connected, joins
/// it to the newest windows, and reports how many of them were given to each class: accuracy, concept drift and head
/// updates come from that.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops labels add 00000000000004d2 worn --windows 12 --why 'bearing changed'"
)]
struct Add {
    /// 16 hex digits
    device: DeviceId,
    /// The class, as the model that the device runs calls it
    class: String,
    /// How many of the newest windows it is of, when the device is told; a device remembers a limited number
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    windows: u16,
    /// Minutes in which these are still the newest windows: a device that is not there by then is not told
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=i64::from(MINUTES_MAX)))]
    minutes: u32,
    /// Why, for the records
    #[arg(long, default_value = "")]
    why: String,
}

/// Take back what has been labelled on a device: it lets go of the head of its own, and of the windows that it was solved from
///
/// For labels that were wrong, or a device that is to answer as it was released. It is told once, when it is connected; the
/// next labels may lead to another head. What rounds have summed up stays.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops labels take-back 00000000000004d2 --why 'labelled by mistake'"
)]
struct TakeBack {
    /// 16 hex digits
    device: DeviceId,
    /// Why, for the records
    #[arg(long, default_value = "")]
    why: String,
}

pub(crate) async fn run(context: &Context, args: &Labels) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ls(args) => ls(context, args).await,
        Verb::Add(args) => add(context, args).await,
        Verb::TakeBack(args) => take_back(context, args).await,
    }
}

async fn ls(context: &Context, args: &Ls) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let labels = label::list(&db, args.limit).await?;
    let mut table = Table::new([
        "label",
        "device",
        "class",
        "windows",
        "said (UTC)",
        "the device",
    ]);
    for label in &labels {
        table.row([
            label.id.to_string(),
            label.said.device.to_string(),
            match label.said.windows {
                0 => "taken back".to_owned(),
                _ => label.said.class_name.clone(),
            },
            label.said.windows.to_string(),
            moment(label.made_at),
            fate(label, now()),
        ]);
    }
    let views: Vec<LabelView> = labels.into_iter().map(LabelView::from).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "labels": views }), || {
            if views.is_empty() {
                "  nobody has labelled windows of a device\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

async fn add(context: &Context, args: &Add) -> Result<(), Failure> {
    let wish = LabelWish {
        class: &args.class,
        windows: args.windows,
        within_ms: i64::from(args.minutes) * 60_000,
        why: &args.why,
    };
    let fleet = context.fleet().await?;
    let label = fleet.label(args.device, &wish, ACTOR, now()).await?;
    let told = format!(
        "label {}: the newest {} windows of device {} are `{}`; it {}\n",
        label.id,
        label.said.windows,
        label.said.device,
        label.said.class_name,
        fate(&label, now())
    );
    context.terminal.answer(&LabelView::from(label), || told);
    Ok(())
}

async fn take_back(context: &Context, args: &TakeBack) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let label = fleet
        .take_labels_back(args.device, &args.why, ACTOR, now())
        .await?;
    let told = format!(
        "label {}: what was labelled on device {} is taken back; it {}\n",
        label.id,
        label.said.device,
        fate(&label, now())
    );
    context.terminal.answer(&LabelView::from(label), || told);
    Ok(())
}

/// What became of it for the device.
fn fate(label: &Label, now: Timestamp) -> String {
    match label.told_at {
        Some(at) => format!("was told at {}", moment(at)),
        None if label.said.expires_at > now => {
            format!(
                "is told as soon as it is there, until {}",
                moment(label.said.expires_at)
            )
        }
        None => "was not there in time".to_owned(),
    }
}
