mod token;

use std::path::Path;

use serde::Serialize;
use tinyops_fleet::budget::{class_word, epsilon_of_micro};
use tinyops_fleet::cost::Newest;
use tinyops_fleet::ddi::NewTarget;
use tinyops_fleet::enrol::{Entropy, NewDevice};
use tinyops_fleet::enrolment::Bringer;
use tinyops_fleet::own_head::answers_by_own_head;
use tinyops_fleet::{Fleet, Policy};
use tinyops_server::hex;
use tinyops_store::{
    Db, DeviceId, alert,
    ddi::{self, Packing},
    device::{self, Device, DevicePage},
    drift::{self, Scope},
    presence::{self, Presence},
    privacy, rollout, withdrawal,
};

use crate::{
    cmd::serve::open_keys,
    cmd::tokens::packing,
    context::{ACTOR, Context, moment, now},
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
    Token(token::Token),
    Ddi(Ddi),
    Allow(Allow),
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

/// Enrol a device whose request you bring; the answer goes back to the device
///
/// The device makes its own key and prints the request (docs/formats/enrolment.md). Only that device can use the
/// answer, which holds no secret. Devices that can reach the server enrol by themselves, with a class token or claim.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops devices add --request 0103010000…1b0b --cohort basement --tag roof"
)]
struct Add {
    /// What the device printed: hex digits, or a file of them
    #[arg(long, value_name = "HEX|FILE", required_unless_present = "board")]
    request: Option<String>,
    /// The board of a device that has no key and polls hawkBit's DDI alone; `tinyops boards` lists them
    #[arg(long, conflicts_with = "request", requires = "ddi")]
    board: Option<String>,
    /// The id of a device that has no key, 16 hex digits, if it has one already
    #[arg(long, requires = "board")]
    id: Option<DeviceId>,
    /// The devices that it is compared with
    #[arg(long, default_value = "default")]
    cohort: String,
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

/// Let a device that is known enrol once more: it was revoked, or lost its key
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices allow 00000000000004d2 --hours 2")]
struct Allow {
    /// 16 hex digits
    device: DeviceId,
    /// Hours in which it may
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    hours: u32,
}

/// Take a device's right to speak away; a server that runs ends its connection
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
        Verb::Token(args) => token::run(context, args).await,
        Verb::Ddi(args) => ddi(context, args).await,
        Verb::Allow(args) => allow(context, args).await,
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
    let newest = Newest::read(&db, &device).await?;
    let is_own_head = answers_by_own_head(&db, device.id).await?;
    let paid = privacy::paid(&db, device.id).await?;
    let withdrawn = withdrawal::get(&db, device.id).await?;
    let mut view = serde_json::json!({
        "cost": newest.map(|Newest { model, at, cost }| serde_json::json!({
            "model": model.to_string(),
            "at_ms": at.0,
            "latency_mean_us": cost.mean_us,
            "latency_max_us": cost.max_us,
            "ram_share": cost.ram_share,
        })),
        "device": View::of(&device, &presence),
        "answers_by_own_head": is_own_head,
        "sums_withdrawn_at_ms": withdrawn.as_ref().map(|said| said.at.0),
        "drift": drift.as_ref().map(|drift| serde_json::json!({
            "score": drift.score,
            "alarmed": drift.alarmed,
            "updated_at_ms": drift.updated_at.0,
        })),
        "alerts": alerts,
        "rollouts": deliveries,
        "privacy": paid.iter().map(|paid| serde_json::json!({
            "purpose": paid.purpose,
            "micro_rho": paid.micro_rho,
            "epsilon": epsilon_of_micro(paid.micro_rho),
            "period_from_ms": paid.period_from.0,
            "left": class_word(paid.budget_class),
            "changed_at_ms": paid.changed_at.0,
        })).collect::<Vec<_>>(),
    });
    let polls = polling(&db, device.id).await?;
    if let Some((polls, _)) = &polls {
        view["ddi"] = polls.clone();
    }
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
        if is_own_head {
            out += "  answers by a head of its own, solved from its labels; `tinyops labels take-back` lets go of it\n";
        }
        if let Some(said) = &withdrawn {
            out += &format!(
                "  takes part in no round: withdrawn by {} on {} UTC; `tinyops rounds admit` lets it in again\n",
                said.actor,
                moment(said.at)
            );
        }
        for paid in &paid {
            out += &format!(
                "  privacy, {}: ε {:.2} spent since {} UTC; left: {}\n",
                paid.purpose,
                epsilon_of_micro(paid.micro_rho),
                moment(paid.period_from),
                class_word(paid.budget_class),
            );
        }
        if let Some(Newest { cost, .. }) = newest {
            out += &format!(
                "  a window takes {:.0} µs, at most {:.0} µs{}\n",
                cost.mean_us,
                cost.max_us,
                cost.ram_share.map_or_else(String::new, |share| format!(
                    "; at most {:.1} % of its memory was in use",
                    share * 100.0
                ))
            );
        }
        if let Some(drift) = &drift {
            let word = if drift.alarmed { "ALARM" } else { "calm" };
            out += &format!("  drift {:.2} of 1 ({word})\n", drift.score);
        }
        if let Some((_, polls)) = &polls {
            out += polls;
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
    let (device, answer, fleet) = match (&args.request, &args.board) {
        (Some(given), _) => bring(context, args, given).await?,
        (None, board) => keyless(context, args, board.as_deref().unwrap_or_default()).await?,
    };
    let target = match args.ddi {
        true => Some(make_target(&fleet, device.id, &args.target).await?),
        false => None,
    };
    let mut view = serde_json::json!({
        "device": device.id.to_string(),
        "board": device.board,
        "cohort": device.cohort,
        "answer": answer,
    });
    if let Some((controller, token)) = &target {
        view["controller"] = controller.as_str().into();
        view["target_token"] = token.as_str().into();
    }
    context.terminal.answer(&view, || {
        let mut text = format!("device        {}\n", device.id);
        if let Some((controller, token)) = &target {
            text += &format!(
                "controller    {controller}\ntarget token  {token}\nKeep the token on the device: it is not shown again\n"
            );
        }
        if let Some(answer) = &answer {
            text += &format!(
                "answer        {answer}\nGive the answer to the device: it makes its key of it\n"
            );
        }
        text
    });
    Ok(())
}

/// Enrols the device whose request is brought; the answer in hex.
async fn bring(
    context: &Context,
    args: &Add,
    given: &str,
) -> Result<(Device, Option<String>, Fleet), Failure> {
    let request = request(given)?;
    let (db, artifacts) = context.store().await?;
    let keys = open_keys(&context.keys())?;
    let fleet = Fleet::new(db, artifacts, Policy::default()).with_keys(keys);
    let operator = Bringer::Operator {
        actor: ACTOR,
        cohort: &args.cohort,
        tags: &args.tag,
    };
    let enrolled = fleet
        .enrol(&request, operator, Entropy::from_system(), now())
        .await?;
    Ok((enrolled.device, Some(hex(&enrolled.answer)), fleet))
}

/// Registers a device that speaks no envelopes.
async fn keyless(
    context: &Context,
    args: &Add,
    board: &str,
) -> Result<(Device, Option<String>, Fleet), Failure> {
    let new = NewDevice {
        id: args.id,
        board: context.board(board)?.id,
        cohort: args.cohort.clone(),
        tags: args.tag.clone(),
    };
    let (db, artifacts) = context.store().await?;
    let fleet = Fleet::new(db, artifacts, Policy::default());
    let device = fleet
        .register_keyless(&new, Entropy::from_system(), ACTOR, now())
        .await?;
    Ok((device, None, fleet))
}

/// The bytes of a request in hex digits, or of a file of them.
fn request(given: &str) -> Result<Vec<u8>, Failure> {
    let is_hex = |text: &str| text.len() > 100 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let text = match is_hex(given) {
        true => given.to_owned(),
        false => std::fs::read_to_string(Path::new(given)).map_err(|error| {
            Failure::question(format!("cannot read the request `{given}`")).cause(&error)
        })?,
    };
    let text = text.trim();
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(pair).collect();
    bytes.ok_or_else(|| {
        Failure::question("the request is no hex digits")
            .hint("docs/formats/enrolment.md says what a request is")
    })
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

/// How a device is known to the DDI and what it was asked last, if it polls: as a document, and for people.
async fn polling(
    db: &Db,
    device: DeviceId,
) -> Result<Option<(serde_json::Value, String)>, Failure> {
    let Some(target) = ddi::of_device(db, device).await? else {
        return Ok(None);
    };
    let newest = ddi::newest(db, device).await?;
    let asked = newest.as_ref().map(|action| {
        let (id, state) = (action.id, action.state);
        format!("; action {id}, {}: {state}", action.model)
    });
    let shows = match target.token {
        Some(_) => "with its own token",
        None => "through a gateway of its class",
    };
    let text = format!(
        "  polls as {} {shows}{}\n",
        target.controller,
        asked.unwrap_or_default()
    );
    let view = serde_json::json!({
        "controller": target.controller,
        "packing": target.packing.word(),
        "consent": target.asks_consent,
        "own_token": target.token.is_some(),
        "action": newest.map(|action| serde_json::json!({
            "action": action.id.0,
            "rollout": action.rollout.0,
            "model": action.model.to_string(),
            "state": action.state.word(),
            "changed_at_ms": action.changed_at.0,
        })),
    });
    Ok(Some((view, text)))
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
        .make_target(device, &new, Entropy::from_system(), ACTOR, now())
        .await?;
    Ok((target.controller, token))
}

async fn allow(context: &Context, args: &Allow) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let until = now().plus_ms(i64::from(args.hours) * 3_600_000);
    fleet.allow(args.device, until, ACTOR, now()).await?;
    let view =
        serde_json::json!({ "device": args.device.to_string(), "allowed_until_ms": until.0 });
    context.terminal.answer(&view, || {
        format!(
            "device {} may enrol once more until {} UTC\n",
            args.device,
            moment(until)
        )
    });
    Ok(())
}

async fn revoke(context: &Context, args: &Revoke) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let plan = format!("device {} may not speak any more", args.device);
    context.terminal.confirm(&plan, args.yes)?;
    let proof = fleet.revoke(args.device, ACTOR, now()).await?;
    if let Some(proof) = proof.as_ref().filter(|proof| proof.contains(' ')) {
        context.terminal.note(format_args!(
            "it was let in by {proof}: revoke that too if whoever has the device may know it"
        ));
    }
    let view = serde_json::json!({
        "device": args.device.to_string(), "state": "revoked", "enrolled_by": proof,
    });
    context.terminal.answer(&view, || format!("{plan}\n"));
    Ok(())
}
