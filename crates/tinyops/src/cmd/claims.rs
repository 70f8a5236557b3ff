use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tinyops_fleet::keys::{hex_of, public_key};
use tinyops_server::hex;
use tinyops_store::{Digest, Readers, claim, write_whole};
use tinyops_wire::{
    SigningKey, VerifyingKey,
    claim::{CLAIM_BYTES_MAX, Claim, ClaimError},
};

use crate::{
    cmd::serve::seed,
    context::{ACTOR, Context, moment, now},
    failure::{Exit, Failure},
    table::Table,
};

/// Make and revoke claims: what a factory puts on a device so that it may enrol
///
/// An authority signs a claim where devices are made, away from the server; the server trusts the authority's public
/// half. A claim names a key whose other half lies on the device, a board, a cohort, and how many devices it enrols.
#[derive(Debug, clap::Args)]
pub(crate) struct Claims {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Authority(NewAuthority),
    Make(Make),
    Trust(Trust),
    Distrust(Distrust),
    Ls(Ls),
    Revoke(Revoke),
}

/// Make the key of an authority, where devices are made; its public half is shown for `trust`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops claims authority plant-2.key")]
struct NewAuthority {
    /// The file for its private half, which only its owner can read
    file: PathBuf,
}

/// Make a claim for a device, signed by an authority's key
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops claims make --authority plant-2.key --serial S-0042 --board esp-eye --out S-0042.json"
)]
struct Make {
    /// The file of the authority's key
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,
    /// The name of this claim, never to be used for another device: 1 to 40 bytes
    #[arg(long)]
    serial: String,
    /// The board of the device
    #[arg(long)]
    board: String,
    /// The cohort that it joins
    #[arg(long, default_value = "default")]
    cohort: String,
    /// Most devices that it enrols
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// Days until it ends by itself; 0 for never
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(..=36_500))]
    days: u32,
    /// The public half, 64 hex digits, of an Ed25519 key that the device made itself; without it one is made here
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    public: Option<VerifyingKey>,
    /// The file for the claim and its key, which goes onto the device
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Let the claims that an authority signs count from now on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops claims trust plant-2 --public a9fc37a8…50f8")]
struct Trust {
    /// What people call it; never given twice
    name: String,
    /// Its public half, 64 hex digits
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    public: VerifyingKey,
}

/// Let nothing that an authority signed count any more; devices that it let in stay
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops claims distrust plant-2 --yes")]
struct Distrust {
    /// Its name
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// List the authorities, and the claims that were used or revoked
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops claims ls")]
struct Ls {}

/// End a claim, used or not; devices that it let in stay
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops claims revoke S-0042 --yes")]
struct Revoke {
    /// Its serial
    serial: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// A claim as a device keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimFile {
    /// The certificate in hex digits.
    pub(crate) claim: String,
    /// The private half of the key that it names, 64 hex digits; none if the device has it elsewhere.
    pub(crate) key: Option<String>,
}

pub(crate) async fn run(context: &Context, args: &Claims) -> Result<(), Failure> {
    match &args.verb {
        Verb::Authority(args) => authority(context, args),
        Verb::Make(args) => make(context, args),
        Verb::Trust(args) => trust(context, args).await,
        Verb::Distrust(args) => distrust(context, args).await,
        Verb::Ls(_) => ls(context).await,
        Verb::Revoke(args) => revoke(context, args).await,
    }
}

fn authority(context: &Context, args: &NewAuthority) -> Result<(), Failure> {
    if args.file.exists() {
        return Err(
            Failure::question(format!("`{}` is there already", args.file.display()))
                .hint("name another file: a key that is lost cannot be made again"),
        );
    }
    let seed = seed();
    let public = SigningKey::from_seed(&seed).verifying_key();
    let text = format!("{}\n", Digest(seed));
    write_secret(&args.file, text.as_bytes())?;
    let view = serde_json::json!({ "file": args.file, "public": hex_of(&public) });
    context.terminal.answer(&view, || {
        format!(
            "{}\nOn the server: tinyops claims trust NAME --public {}\n",
            args.file.display(),
            hex_of(&public)
        )
    });
    Ok(())
}

fn make(context: &Context, args: &Make) -> Result<(), Failure> {
    let path = &args.authority;
    let bad = || {
        Failure::question(format!("`{}` is no authority's key", path.display()))
            .hint("`tinyops claims authority FILE` makes one")
    };
    let text = std::fs::read_to_string(path).map_err(|error| bad().cause(&error))?;
    let authority: Digest = text.trim().parse().map_err(|error| bad().cause(&error))?;
    let (key, own) = match args.public {
        Some(public) => (public, None),
        None => {
            let own = seed();
            (SigningKey::from_seed(&own).verifying_key(), Some(own))
        }
    };
    let ends_s = match args.days {
        0 => 0,
        days => u32::try_from(now().0 / 1000 + i64::from(days) * 86_400).unwrap_or(u32::MAX),
    };
    let claim = Claim {
        serial: &args.serial,
        board: &args.board,
        cohort: &args.cohort,
        key,
        uses: args.uses,
        ends_s,
    };
    let mut bytes = [0; CLAIM_BYTES_MAX];
    let written = claim
        .encode(&SigningKey::from_seed(&authority.0), &mut bytes)
        .map_err(|error: ClaimError| Failure::of(Exit::Question, &error))?;
    let file = ClaimFile {
        claim: hex(&bytes[..written]),
        key: own.map(|own| Digest(own).to_string()),
    };
    let text = serde_json::to_vec_pretty(&file).expect("a claim has string keys");
    write_secret(&args.out, &text)?;
    let view = serde_json::json!({
        "serial": args.serial, "board": args.board, "cohort": args.cohort, "uses": args.uses,
        "file": args.out, "ends_s": ends_s,
    });
    context.terminal.answer(&view, || {
        format!("{}: claim {}\n", args.out.display(), args.serial)
    });
    Ok(())
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_whole(path, Readers::Owner, bytes).map_err(|error| {
        Failure::environment(format!("cannot write `{}`", path.display())).cause(&error)
    })
}

async fn trust(context: &Context, args: &Trust) -> Result<(), Failure> {
    let (db, artifacts) = context.store().await?;
    let fleet = tinyops_fleet::Fleet::new(db, artifacts, tinyops_fleet::Policy::default());
    fleet
        .trust_authority(&args.name, &args.public, ACTOR, now())
        .await?;
    let view = serde_json::json!({ "name": args.name, "public": hex_of(&args.public) });
    context.terminal.answer(&view, || {
        format!("claims that {} signs count from now on\n", args.name)
    });
    Ok(())
}

async fn distrust(context: &Context, args: &Distrust) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let plan = format!("no claim that {} signed counts any more", args.name);
    context.terminal.confirm(&plan, args.yes)?;
    fleet.distrust_authority(&args.name, ACTOR, now()).await?;
    let view = serde_json::json!({ "name": args.name, "state": "revoked" });
    context.terminal.answer(&view, || format!("{plan}\n"));
    Ok(())
}

#[derive(Serialize)]
struct View {
    authorities: Vec<AuthorityView>,
    claims: Vec<ClaimView>,
}

/// The same shape as the server's.
#[derive(Serialize)]
struct AuthorityView {
    name: String,
    public: String,
    created_at_ms: i64,
    created_by: String,
    revoked_at_ms: Option<i64>,
}

/// The same shape as the server's.
#[derive(Serialize)]
struct ClaimView {
    serial: String,
    used: u32,
    used_at_ms: Option<i64>,
    revoked_at_ms: Option<i64>,
}

async fn ls(context: &Context) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let (authorities, claims) = (claim::authorities(&db).await?, claim::list(&db).await?);
    let state = |revoked: bool| if revoked { "revoked" } else { "valid" };
    let mut of_authorities = Table::new(["authority", "public key", "since (UTC)", "by", "state"]);
    for authority in &authorities {
        of_authorities.row([
            authority.name.clone(),
            Digest(authority.public).to_string(),
            moment(authority.created_at),
            authority.created_by.clone(),
            state(authority.revoked_at.is_some()).to_owned(),
        ]);
    }
    let mut of_claims = Table::new(["claim", "devices", "last used (UTC)", "state"]);
    for claim in &claims {
        of_claims.row([
            claim.serial.clone(),
            claim.use_count.to_string(),
            claim.used_at.map_or_else(|| "–".to_owned(), moment),
            state(claim.revoked_at.is_some()).to_owned(),
        ]);
    }
    let view = View {
        authorities: authorities
            .into_iter()
            .map(|authority| AuthorityView {
                name: authority.name,
                public: Digest(authority.public).to_string(),
                created_at_ms: authority.created_at.0,
                created_by: authority.created_by,
                revoked_at_ms: authority.revoked_at.map(|at| at.0),
            })
            .collect(),
        claims: claims
            .into_iter()
            .map(|claim| ClaimView {
                serial: claim.serial,
                used: claim.use_count,
                used_at_ms: claim.used_at.map(|at| at.0),
                revoked_at_ms: claim.revoked_at.map(|at| at.0),
            })
            .collect(),
    };
    context.terminal.answer(&view, || {
        let mut text = match view.authorities.is_empty() {
            true => "  no claim authority is trusted\n".to_owned(),
            false => of_authorities.text(),
        };
        if !view.claims.is_empty() {
            text += "\n";
            text += &of_claims.text();
        }
        text
    });
    Ok(())
}

async fn revoke(context: &Context, args: &Revoke) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let plan = format!("claim {} enrols nobody any more", args.serial);
    context.terminal.confirm(&plan, args.yes)?;
    fleet.revoke_claim(&args.serial, ACTOR, now()).await?;
    let view = serde_json::json!({ "serial": args.serial, "state": "revoked" });
    context.terminal.answer(&view, || format!("{plan}\n"));
    Ok(())
}
