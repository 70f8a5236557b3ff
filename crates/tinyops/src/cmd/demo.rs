use std::{net::SocketAddr, path::PathBuf};

use crate::{
    context::Context,
    demo::{Told, Wishes, tell, tell_of_shipping},
    failure::Failure,
};

/// Show the whole loop: train, ship, drift, notice, repair, ship again
///
/// Makes recordings of fans with faults from a physical model, trains on them, serves the dashboard, ships the
/// model to fifty virtual fans, wears half of their mountings, and repairs the model from sums that the devices
/// may send. Then keeps serving until Ctrl-C. Exits with 1 if the fleet did not recover.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops demo --once --json")]
pub(crate) struct Demo {
    /// Show another story: a bad model that passed its gates goes to a fleet over MQTT, serial lines and LoRaWAN, and
    /// is halted and taken back
    #[arg(long)]
    ship: bool,
    /// Exit at the end of the story
    #[arg(long)]
    once: bool,
    /// Port of the dashboard; 0 takes any free one
    #[arg(long, default_value_t = 8420)]
    port: u16,
    /// Another seed is another world
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many fans
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(8..=500))]
    fans: u32,
    /// Where recordings, store and `tinyops.toml` go
    #[arg(long, default_value = "tinyops-demo", value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) async fn run(context: &Context, args: &Demo) -> Result<(), Failure> {
    let wishes = Wishes {
        folder: args.dir.clone(),
        seed: args.seed,
        fans: args.fans,
        http: SocketAddr::from(([127, 0, 0, 1], args.port)),
        mqtt: SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    if args.ship {
        let told = tell_of_shipping(&wishes, context.terminal).await?;
        let summary = told.summary.clone();
        context.terminal.answer(&summary, || summary.text());
        live_on(context, args, told).await;
        return verdict(summary.safe, "the fleet was not kept safe", summary.failure);
    }
    let told = tell(&wishes, context.terminal).await?;
    let summary = told.summary.clone();
    context.terminal.answer(&summary, || summary.text());
    live_on(context, args, told).await;
    verdict(
        summary.recovered,
        "the fleet did not recover",
        summary.failure,
    )
}

/// Keeps serving until Ctrl-C, unless that is not wanted.
async fn live_on<S>(context: &Context, args: &Demo, mut told: Told<S>) {
    if !args.once {
        context
            .terminal
            .note("\nThe fans live on and the dashboard answers; Ctrl-C ends both.");
        told.live_on(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await;
    }
    told.stop().await;
}

fn verdict(is_well: bool, what: &str, why: Option<String>) -> Result<(), Failure> {
    if is_well {
        return Ok(());
    }
    Err(Failure::no(what)
        .because(why.unwrap_or_default())
        .hint("the pages of the dashboard show what happened; another `--seed` is another world"))
}
