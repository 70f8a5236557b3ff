//! Class tokens: what lets devices of a class enrol by themselves.

use serde::Serialize;
use tinyops_fleet::{Fleet, Policy, credential::NewToken, enrol::Entropy};
use tinyops_store::class_token::{self, ClassToken};
use tinyops_wire::enrolment::TokenId;

use crate::{
    context::{ACTOR, Context, moment, now},
    failure::Failure,
    table::Table,
};

/// Make, list and revoke the tokens by which devices of a class enrol themselves
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Make(Make),
    Ls(Ls),
    Revoke(Revoke),
}

/// Make a token with which so many devices of one board enrol themselves; it is shown this once
///
/// A device never sends it: it proves that it knows it, and makes a key of its own.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops devices token make --board esp-eye --cohort basement --uses 40 --days 7"
)]
struct Make {
    /// The board; `tinyops boards` lists them
    #[arg(long)]
    board: String,
    /// The cohort that they join
    #[arg(long, default_value = "default")]
    cohort: String,
    /// Further words to choose them by
    #[arg(long, value_name = "WORD")]
    tag: Vec<String>,
    /// Most devices that it enrols
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    uses: u32,
    /// Days until it ends by itself
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

/// List the class tokens: how many devices each has enrolled, and when it ends
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices token ls")]
struct Ls {}

/// End a class token: it enrols nobody any more; devices that it enrolled stay
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops devices token revoke 8c1f00e2a4b3d596 --yes")]
struct Revoke {
    /// Its id, 16 hex digits, as `ls` tells it
    token: TokenId,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// One token; the same shape as the server's.
#[derive(Serialize)]
struct View {
    id: String,
    board: String,
    cohort: String,
    tags: Vec<String>,
    uses: u32,
    used: u32,
    created_at_ms: i64,
    created_by: String,
    expires_at_ms: Option<i64>,
    revoked_at_ms: Option<i64>,
}

impl View {
    fn of(token: ClassToken) -> Self {
        Self {
            id: token.id.to_string(),
            board: token.board,
            cohort: token.cohort,
            tags: token.tags,
            uses: token.uses_max,
            used: token.use_count,
            created_at_ms: token.created_at.0,
            created_by: token.created_by,
            expires_at_ms: token.expires_at.map(|at| at.0),
            revoked_at_ms: token.revoked_at.map(|at| at.0),
        }
    }
}

pub(super) async fn run(context: &Context, args: &Token) -> Result<(), Failure> {
    match &args.verb {
        Verb::Make(args) => make(context, args).await,
        Verb::Ls(_) => ls(context).await,
        Verb::Revoke(args) => revoke(context, args).await,
    }
}

async fn make(context: &Context, args: &Make) -> Result<(), Failure> {
    let board = context.board(&args.board)?;
    // The first token may be made before the server has ever run.
    let (db, artifacts) = context.store().await?;
    let fleet = Fleet::new(db, artifacts, Policy::default());
    let new = NewToken {
        board: board.id,
        cohort: args.cohort.clone(),
        tags: args.tag.clone(),
        uses: args.uses,
        expires_at: Some(now().plus_ms(i64::from(args.days) * 24 * 3_600_000)),
    };
    let (row, token) = fleet
        .make_class_token(&new, Entropy::from_system(), ACTOR, now())
        .await?;
    let mut view = serde_json::to_value(View::of(row)).expect("views have string keys");
    view["token"] = token.text().to_string().into();
    context
        .terminal
        .answer(&view, || format!("{}\n", token.text()));
    Ok(())
}

async fn ls(context: &Context) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let tokens = class_token::list(&db).await?;
    let mut table = Table::new([
        "id",
        "board",
        "cohort",
        "devices",
        "made (UTC)",
        "by",
        "ends (UTC)",
        "state",
    ]);
    for token in &tokens {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(at)) if at <= now() => "over",
            _ if token.use_count >= token.uses_max => "used up",
            _ => "valid",
        };
        table.row([
            token.id.to_string(),
            token.board.clone(),
            token.cohort.clone(),
            format!("{} of {}", token.use_count, token.uses_max),
            moment(token.created_at),
            token.created_by.clone(),
            token.expires_at.map_or_else(|| "–".to_owned(), moment),
            state.to_owned(),
        ]);
    }
    let views: Vec<View> = tokens.into_iter().map(View::of).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "tokens": views }), || {
            if views.is_empty() {
                "  no class token was made\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

async fn revoke(context: &Context, args: &Revoke) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let plan = format!("class token {} enrols nobody any more", args.token);
    context.terminal.confirm(&plan, args.yes)?;
    fleet.revoke_class_token(args.token, ACTOR, now()).await?;
    let view = serde_json::json!({ "id": args.token.to_string(), "state": "revoked" });
    context.terminal.answer(&view, || format!("{plan}\n"));
    Ok(())
}
