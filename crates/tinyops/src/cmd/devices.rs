use serde::Serialize;
use tinyops_fleet::ddi::NewTarget;
use tinyops_fleet::enrol::{Entropy, NewDevice, device_password};
use tinyops_fleet::{Fleet, Policy};
use tinyops_store::{
    Db, DeviceId, alert,
    ddi::Packing,
    device::{self, Device, DevicePage},
    drift::{self, Scope},
    presence::{self, Presence},
    rollout,
};

use crate::{
    cmd::tokens::packing,
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
    Ddi(Ddi),
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
    /// It polls hawkBit's DDI: give it a target token, too
    #[arg(long)]
    ddi: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// How a device is known to hawkBit's DDI.
#[derive(Debug, clap::Args)]
struct TargetArgs {
    /// What it calls itself there; its id where there is none
    #[arg(long, value_name = "ID")]
    controller: Option<String>,
    /// Its user is asked before each installation
    #[arg(long)]
    consent: bool,
    /// How what it installs is packed: `files` (capsule and statement), or `swu` (both in one)
    #[arg(long, value_parser = packing)]
    packing: Option<Packing>,
}

/// Let a device poll hawkBit's DDI, or give it a new target token; it is shown this once
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices ddi 00000000000004d2 --controller press-7")]
struct Ddi {
    /// 16 hex digits
    device: DeviceId,
    #[command(flatten)]
    target: TargetArgs,
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
        Verb::Ddi(args) => ddi(context, args).await,
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
    let asks = &args.target;
    if !args.ddi && (asks.controller.is_some() || asks.consent || asks.packing.is_some()) {
        return Err(Failure::question(
            "`--controller`, `--consent` and `--packing` are for a device that polls",
        )
        .hint("add `--ddi`"));
    }
    let board = context.board(&args.board)?;
    let (db, artifacts) = context.store().await?;
    let new = NewDevice {
        id: args.id,
        board: board.id.clone(),
        cohort: args.cohort.clone(),
        tags: args.tag.clone(),
        class_token: None,
    };
    let fleet = Fleet::new(db, artifacts, Policy::default());
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
    let target = match args.ddi {
        true => Some(make_target(&fleet, device.id, &args.target).await?),
        false => None,
    };
    let mut view = serde_json::json!({
        "device": device.id.to_string(),
        "board": device.board,
        "cohort": device.cohort,
        "key": key,
        "password": password,
    });
    if let Some((controller, token)) = &target {
        view["controller"] = controller.as_str().into();
        view["target_token"] = token.as_str().into();
    }
    context.terminal.answer(&view, || {
        let polls = target.as_ref().map(|(controller, token)| {
            format!("controller    {controller}\ntarget token  {token}\n")
        });
        format!(
            "device    {}\nkey       {key}\npassword  {password}\n{}Keep {} on the device: they are not shown again\n",
            device.id,
            polls.as_deref().unwrap_or_default(),
            if polls.is_some() { "all" } else { "both" },
        )
    });
    Ok(())
}

async fn ddi(context: &Context, args: &Ddi) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let (controller, token) = make_target(&fleet, args.device, &args.target).await?;
    let view = serde_json::json!({
        "device": args.device.to_string(), "controller": controller, "target_token": token,
    });
    context.terminal.answer(&view, || {
        format!("controller    {controller}\ntarget token  {token}\n")
    });
    Ok(())
}

async fn make_target(
    fleet: &Fleet,
    device: DeviceId,
    args: &TargetArgs,
) -> Result<(String, String), Failure> {
    let new = NewTarget {
        controller: args.controller.clone(),
        asks_consent: args.consent,
        packing: args.packing,
    };
    let (target, token) = fleet
        .make_target(device, &new, Entropy::from_system(), "command line", now())
        .await?;
    Ok((target.controller, token))
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
