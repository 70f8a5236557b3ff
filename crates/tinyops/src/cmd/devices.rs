use serde::Serialize;
use tinyops_fleet::enrol::{Entropy, NewDevice, device_password};
use tinyops_store::{
    Db, DeviceId, alert,
    device::{self, Device, DevicePage},
    drift::{self, Scope},
    presence::{self, Presence},
    rollout,
};

use crate::{
    context::{Context, moment, now},
    failure::Failure,
    table::Table,
};

/// List, register and revoke the devices of the fleet
#[derive(Debug, clap::Args)]
pub(crate) struct Devices {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Show(Show),
    Add(Add),
    Token(Token),
    Revoke(Revoke),
}

/// List the devices and what each last told
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices ls --cohort basement")]
struct Ls {
    /// Those of one cohort
    #[arg(long)]
    cohort: Option<String>,
}

/// Show one device: its model, its drift, its rollouts
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices show 00000000000004d2")]
struct Show {
    /// 16 hex digits
    device: DeviceId,
}

/// Register a device; its key and password are shown this once
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices add --board esp-eye --cohort basement")]
struct Add {
    /// Its board; `tinyops boards` lists them
    #[arg(long)]
    board: String,
    /// The devices that it is compared with
    #[arg(long, default_value = "default")]
    cohort: String,
    /// Its id, 16 hex digits, if it has one already
    #[arg(long)]
    id: Option<DeviceId>,
    /// Further words to choose it by
    #[arg(long, value_name = "WORD")]
    tag: Vec<String>,
}

/// Make a token with which devices of one board enrol themselves; it is shown this once
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices token --board esp-eye --cohort basement")]
struct Token {
    /// The board; `tinyops boards` lists them
    #[arg(long)]
    board: String,
    /// The cohort that they join
    #[arg(long, default_value = "default")]
    cohort: String,
}

/// Take a device's right to speak away
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices revoke 00000000000004d2 --yes")]
struct Revoke {
    /// 16 hex digits
    device: DeviceId,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// A device, and what it last told; the same shape as the server's.
#[derive(Serialize)]
struct View {
    device: String,
    board: String,
    cohort: String,
    tags: Vec<String>,
    state: &'static str,
    enrolled_at_ms: i64,
    model: Option<String>,
    last_seen_at_ms: Option<i64>,
    report_count: i64,
    report_bytes: i64,
    missing_count: i64,
    malformed_count: i64,
}

impl View {
    fn of(device: &Device, presence: &Presence) -> Self {
        Self {
            device: device.id.to_string(),
            board: device.board.clone(),
            cohort: device.cohort.clone(),
            tags: device.tags.clone(),
            state: device.state.word(),
            enrolled_at_ms: device.enrolled_at.0,
            model: presence.model.map(|model| model.to_string()),
            last_seen_at_ms: presence.last_seen.map(|at| at.0),
            report_count: presence.report_count,
            report_bytes: presence.byte_count,
            missing_count: presence.missing_count,
            malformed_count: presence.malformed_count,
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Devices) -> Result<(), Failure> {
    match &args.verb {
        Verb::Ls(args) => ls(context, args).await,
        Verb::Show(args) => show(context, args).await,
        Verb::Add(args) => add(context, args).await,
        Verb::Token(args) => token(context, args).await,
        Verb::Revoke(args) => revoke(context, args).await,
    }
}

/// Devices read at a time.
const PAGE: u32 = 1000;

async fn all(db: &Db) -> Result<Vec<(Device, Presence)>, Failure> {
    let mut found = Vec::new();
    let mut page = None;
    loop {
        let devices = device::list(db, page, PAGE).await?;
        let Some(last) = devices.last() else {
            return Ok(found);
        };
        page = Some(DevicePage::after(last));
        for device in devices {
            let presence = presence::get(db, device.id).await?.unwrap_or_default();
            found.push((device, presence));
        }
    }
}

async fn ls(context: &Context, args: &Ls) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let mut devices = all(&db).await?;
    if let Some(cohort) = &args.cohort {
        devices.retain(|(device, _)| device.cohort == *cohort);
    }
    let mut table = Table::new([
        "device",
        "board",
        "cohort",
        "state",
        "model id",
        "reports",
        "bytes",
        "last seen (UTC)",
    ]);
    for (device, presence) in &devices {
        let dash = || "–".to_owned();
        table.row([
            device.id.to_string(),
            device.board.clone(),
            device.cohort.clone(),
            device.state.to_string(),
            // A device that has no model yet reports 0.
            presence
                .model
                .filter(|model| model.0 != 0)
                .map_or_else(dash, |model| model.to_string()),
            presence.report_count.to_string(),
            presence.byte_count.to_string(),
            presence.last_seen.map_or_else(dash, moment),
        ]);
    }
    let views: Vec<View> = devices
        .iter()
        .map(|(device, presence)| View::of(device, presence))
        .collect();
    context
        .terminal
        .answer(&serde_json::json!({ "devices": views }), || {
            format!("{}  {} devices\n", table.text(), views.len())
        });
    Ok(())
}

/// How far one device has come with one rollout.
#[derive(Serialize)]
struct DeliveryView {
    rollout: i64,
    delivery: &'static str,
    target: Option<String>,
    changed_at_ms: i64,
}

async fn show(context: &Context, args: &Show) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let device = device::get(&db, args.device).await?.ok_or_else(|| {
        Failure::question(format!("device `{}` is not registered", args.device))
            .hint("`tinyops devices ls` lists those that are")
    })?;
    let presence = presence::get(&db, device.id).await?.unwrap_or_default();
    let drift = drift::get(&db, &Scope::Device(device.id)).await?;
    let scope = Scope::Device(device.id);
    let alerts: Vec<String> = alert::standing(&db)
        .await?
        .into_iter()
        .filter(|alert| alert.scope == scope)
        .map(|alert| format!("{}: {}", alert.id, alert.advice))
        .collect();
    let deliveries: Vec<DeliveryView> = rollout::of_device(&db, device.id)
        .await?
        .into_iter()
        .map(|member| DeliveryView {
            rollout: member.rollout.0,
            delivery: member.delivery.word(),
            target: member.target.map(|target| target.to_string()),
            changed_at_ms: member.changed_at.0,
        })
        .collect();
    let view = serde_json::json!({
        "device": View::of(&device, &presence),
        "drift": drift.as_ref().map(|drift| serde_json::json!({
            "score": drift.score,
            "alarmed": drift.alarmed,
            "updated_at_ms": drift.updated_at.0,
        })),
        "alerts": alerts,
        "rollouts": deliveries,
    });
    context.terminal.answer(&view, || {
        let mut out = format!(
            "{} ({}), {} in cohort {}, enrolled {} UTC\n",
            device.id,
            device.state,
            device.board,
            device.cohort,
            moment(device.enrolled_at)
        );
        match presence.model {
            Some(model) if model.0 == 0 => out += "  has reported, and has no model yet\n",
            Some(model) => {
                out += &format!(
                    "  runs {model}; `tinyops models lineage {model}` traces it\n  {} reports, {} bytes, {} missing, {} malformed\n",
                    presence.report_count,
                    presence.byte_count,
                    presence.missing_count,
                    presence.malformed_count
                );
            }
            None => out += "  has not reported yet\n",
        }
        if let Some(drift) = &drift {
            let word = if drift.alarmed { "ALARM" } else { "calm" };
            out += &format!("  drift {:.2} of 1 ({word})\n", drift.score);
        }
        for alert in &alerts {
            out += &format!("  alert {alert}\n");
        }
        for delivery in &deliveries {
            out += &format!("  rollout {}: {}\n", delivery.rollout, delivery.delivery);
        }
        out
    });
    Ok(())
}

async fn add(context: &Context, args: &Add) -> Result<(), Failure> {
    let board = context.board(&args.board)?;
    let (db, artifacts) = context.store().await?;
    let new = NewDevice {
        id: args.id,
        board: board.id.clone(),
        cohort: args.cohort.clone(),
        tags: args.tag.clone(),
        class_token: None,
    };
    let fleet = tinyops_fleet::Fleet::new(db, artifacts, tinyops_fleet::Policy::default());
    let device = fleet
        .register(&new, Entropy::from_system(), "command line", now())
        .await?;
    let key: String = device
        .key
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let password = device_password(&device.key, device.id);
    let view = serde_json::json!({
        "device": device.id.to_string(),
        "board": device.board,
        "cohort": device.cohort,
        "key": key,
        "password": password,
    });
    context.terminal.answer(&view, || {
        format!(
            "device    {}\nkey       {key}\npassword  {password}\nKeep both on the device: they are not shown again\n",
            device.id
        )
    });
    Ok(())
}

async fn token(context: &Context, args: &Token) -> Result<(), Failure> {
    let board = context.board(&args.board)?;
    let fleet = context.fleet().await?;
    let token = fleet
        .make_token(
            &board.id,
            &args.cohort,
            Entropy::from_system(),
            "command line",
            now(),
        )
        .await?;
    let view = serde_json::json!({ "token": token, "board": board.id, "cohort": args.cohort });
    context.terminal.answer(&view, || format!("{token}\n"));
    Ok(())
}

async fn revoke(context: &Context, args: &Revoke) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let plan = format!("device {} may not speak any more", args.device);
    context.terminal.confirm(&plan, args.yes)?;
    fleet.revoke(args.device, "command line", now()).await?;
    let view = serde_json::json!({ "device": args.device.to_string(), "state": "revoked" });
    context.terminal.answer(&view, || format!("{plan}\n"));
    Ok(())
}
