use serde::Serialize;
use tinyops_fleet::{Fleet, Policy, enrol::Entropy};
use tinyops_store::access::{self, AccessToken, Role};
use tinyops_store::ddi::{self, Class, Packing};

use crate::{
    context::{ACTOR, Context, moment, now},
    failure::Failure,
    table::Table,
};

/// Make, list and revoke the tokens that people, programs and gateways show to the server
#[derive(Debug, clap::Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Make(Make),
    Ls(Ls),
    Revoke(Revoke),
}

/// Make a token; it is shown this once
///
/// A viewer looks, an operator also keeps the fleet running, a releaser also sends models out, an admin also makes
/// tokens; a gateway carries the envelopes and recordings of devices, a recorder sends recordings in, and neither does
/// anything else.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops tokens make ana-laptop --role operator --days 90")]
struct Make {
    /// What the audit log calls its holder; never given twice
    name: String,
    /// `viewer`, `operator`, `releaser`, `admin`, `gateway` or `recorder`
    #[arg(long, value_parser = role)]
    role: Role,
    /// Days until it ends by itself; without it, it does not
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// Of a gateway: it also speaks hawkBit's DDI for the devices of this class that have no token of their own
    #[arg(long, value_name = "BOARD/COHORT")]
    class: Option<String>,
    /// How what these devices install is packed: `files` or `swu`
    #[arg(long, value_parser = packing, default_value = "files", requires = "class")]
    packing: Packing,
}

/// List the tokens, those that are over too
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops tokens ls")]
struct Ls {}

/// End a token: its next call is refused
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops tokens revoke ana-laptop --yes")]
struct Revoke {
    /// Its name
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

fn role(word: &str) -> Result<Role, String> {
    Role::of_word(word).ok_or_else(|| {
        let words: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
        format!("roles are {}", words.join(", "))
    })
}

pub(crate) fn packing(word: &str) -> Result<Packing, String> {
    Packing::of_word(word).ok_or_else(|| "packings are files and swu".to_owned())
}

/// One token; the same shape as the server's.
#[derive(Serialize)]
struct View {
    name: String,
    role: &'static str,
    created_at_ms: i64,
    created_by: String,
    expires_at_ms: Option<i64>,
    revoked_at_ms: Option<i64>,
    class: Option<String>,
}

impl View {
    fn of(token: AccessToken, classes: &[Class]) -> Self {
        let class = classes.iter().find(|class| class.token == token.id);
        Self {
            class: class.map(|class| format!("{}/{}", class.board, class.cohort)),
            name: token.name,
            role: token.role.word(),
            created_at_ms: token.created_at.0,
            created_by: token.created_by,
            expires_at_ms: token.expires_at.map(|at| at.0),
            revoked_at_ms: token.revoked_at.map(|at| at.0),
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Tokens) -> Result<(), Failure> {
    match &args.verb {
        Verb::Make(args) => make(context, args).await,
        Verb::Ls(_) => ls(context).await,
        Verb::Revoke(args) => revoke(context, args).await,
    }
}

async fn make(context: &Context, args: &Make) -> Result<(), Failure> {
    // The first token may be made before the server has ever run.
    let (db, artifacts) = context.store().await?;
    let fleet = Fleet::new(db, artifacts, Policy::default());
    let expires_at = args
        .days
        .map(|days| now().plus_ms(i64::from(days) * 24 * 3_600_000));
    let (name, entropy, actor) = (&args.name, Entropy::from_system(), ACTOR);
    let (made, token) = match &args.class {
        None => {
            fleet
                .make_access_token(name, args.role, expires_at, entropy, actor, now())
                .await?
        }
        Some(class) => {
            if args.role != Role::Gateway {
                return Err(Failure::question("only a gateway speaks for a class")
                    .hint("add `--role gateway`, or leave `--class` out"));
            }
            let class = class.split_once('/').ok_or_else(|| {
                Failure::question(format!("`{class}` is no class"))
                    .hint("a class is written as BOARD/COHORT, such as esp-eye/hall")
            })?;
            context.board(class.0)?;
            fleet
                .make_class_gateway(name, class, args.packing, expires_at, entropy, actor, now())
                .await?
        }
    };
    let classes = ddi::classes(&fleet.db).await?;
    let mut view = serde_json::to_value(View::of(made, &classes)).expect("views have string keys");
    view["token"] = token.clone().into();
    context.terminal.answer(&view, || format!("{token}\n"));
    Ok(())
}

async fn ls(context: &Context) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let tokens = access::list(&db).await?;
    let mut table = Table::new(["name", "role", "made (UTC)", "by", "ends (UTC)", "state"]);
    for token in &tokens {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(at)) if at <= now() => "over",
            _ => "valid",
        };
        table.row([
            token.name.clone(),
            token.role.to_string(),
            moment(token.created_at),
            token.created_by.clone(),
            token.expires_at.map_or_else(|| "–".to_owned(), moment),
            state.to_owned(),
        ]);
    }
    let classes = ddi::classes(&db).await?;
    let view = |token| View::of(token, &classes);
    let views: Vec<View> = tokens.into_iter().map(view).collect();
    context
        .terminal
        .answer(&serde_json::json!({ "tokens": views }), || {
            if views.is_empty() {
                "  no token was made; `.tinyops/admin.token` is the first one\n".to_owned()
            } else {
                table.text()
            }
        });
    Ok(())
}

async fn revoke(context: &Context, args: &Revoke) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let plan = format!("token {} opens nothing any more", args.name);
    context.terminal.confirm(&plan, args.yes)?;
    fleet.revoke_access_token(&args.name, ACTOR, now()).await?;
    let view = serde_json::json!({ "name": args.name, "state": "revoked" });
    context.terminal.answer(&view, || format!("{plan}\n"));
    Ok(())
}
