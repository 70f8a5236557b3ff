use tinyops_pipeline::promotion::{ApprovalError, approve, standing};
use tinyops_server::StandingView;
use tinyops_store::access::Role;

use crate::{
    context::{ACTOR, Context, now},
    failure::{Exit, Failure},
    model_ref::{ModelRef, title},
};

/// Approve a version: `[gates] approvals` says how many of each role it needs
///
/// Over the API the token says who approves and as what (`POST /api/v1/models/NAME/VERSION/approve`); whoever holds the
/// store says it here.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops models approve fan@3 --by ana --role releaser --why 'heard all 12 takes'"
)]
pub(super) struct Approve {
    /// Model and version, such as `fan@3`
    model: ModelRef,
    /// Why it may go out
    #[arg(long)]
    why: String,
    /// Who approves [default: whoever holds the store]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// As what: operator, releaser or admin
    #[arg(long, default_value = "admin", value_parser = role)]
    role: Role,
}

fn role(text: &str) -> Result<Role, String> {
    Role::of_word(text).ok_or_else(|| "it is operator, releaser or admin".to_owned())
}

pub(super) async fn run(context: &Context, args: &Approve) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let model = args.model.resolve(&db).await?;
    let actor = args.by.as_deref().unwrap_or(ACTOR);
    let given = approve(&db, &model, actor, args.role, &args.why, now()).await;
    given.map_err(|error| match error {
        ApprovalError::Store(error) => error.into(),
        ApprovalError::Rejected(_) => Failure::of(Exit::No, &error),
        error => Failure::of(Exit::Question, &error),
    })?;
    let view = StandingView::from(standing(&db, &model).await?);
    context
        .terminal
        .answer(&view, || match view.reasons.as_slice() {
            [] => format!(
                "{} may be promoted: `tinyops models promote {}`\n",
                title(&model),
                title(&model)
            ),
            reasons => format!(
                "{} still lacks:\n  {}\n",
                title(&model),
                reasons.join("\n  ")
            ),
        });
    Ok(())
}
