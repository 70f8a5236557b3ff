//! The verbs.

mod alerts;
pub(crate) mod annotate;
mod audit;
mod boards;
pub(crate) mod claims;
mod compare;
mod compile;
mod completions;
mod config;
mod cost;
mod data;
mod demo;
mod device;
mod devices;
mod doctor;
mod drift;
mod erase;
mod flash;
mod fleet;
pub(crate) mod gateway;
pub(crate) mod helper;
mod import;
mod init;
mod keys;
mod labels;
mod lineage;
mod models;
mod monitor;
mod ops;
mod package;
mod predict;
mod release;
mod repairs;
mod retrain;
mod rollout;
mod rounds;
mod run;
mod search_catalog;
pub(crate) mod serve;
mod smoke;
mod tokens;
mod tune;
mod worth;

use clap::{Parser, Subcommand};

use crate::{
    context::{Context, PlaceArgs},
    failure::Failure,
    term::{OutputArgs, Terminal},
};

/// MLOps for TinyML: from sensor recordings to a model on a fleet, and kept right there
#[derive(Debug, Parser)]
#[command(name = "tinyops", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    verb: Verb,
}

impl Cli {
    /// What goes into the log where the environment says nothing: warnings, but of alerts only where no story tells them.
    pub(crate) fn log_filter(&self) -> &'static str {
        match self.verb {
            Verb::Demo(_) => "warn,alerts=off",
            _ => "warn",
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Init(init::Init),
    Doctor(doctor::Doctor),
    Config(config::Config),
    Completions(completions::Completions),
    Boards(boards::Boards),
    Import(import::Import),
    Ops(ops::Ops),
    Data(data::Data),
    Erase(erase::Erase),
    Run(run::Run),
    Tune(tune::Tune),
    Models(models::Models),
    Lineage(lineage::Lineage),
    Cost(cost::Cost),
    Worth(worth::WorthArgs),
    SearchCatalog(search_catalog::SearchCatalog),
    Predict(predict::Predict),
    Compile(compile::Compile),
    Compare(compare::Compare),
    Smoke(smoke::SmokeTest),
    Package(package::PackageArgs),
    Flash(flash::Flash),
    Devices(devices::Devices),
    Claims(claims::Claims),
    Keys(keys::Keys),
    Release(release::Release),
    Rollout(rollout::Rollout),
    Monitor(monitor::Monitor),
    Drift(drift::Drift),
    Alerts(alerts::Alerts),
    Labels(labels::Labels),
    Retrain(retrain::Retrain),
    Annotate(annotate::Annotate),
    Rounds(rounds::Rounds),
    Repairs(repairs::Repairs),
    Tokens(tokens::Tokens),
    Audit(audit::Audit),
    Serve(serve::Serve),
    Device(device::Device),
    Gateway(gateway::Gateway),
    Helper(helper::Helper),
    Fleet(fleet::Fleet),
}

/// Does what the command line asks.
pub(crate) async fn dispatch(cli: Cli, terminal: Terminal) -> Result<(), Failure> {
    let context = Context::new(&cli.place, terminal)?;
    match cli.verb {
        Verb::Demo(args) => demo::run(&context, &args).await,
        Verb::Init(args) => init::run(&context, &args),
        Verb::Doctor(args) => doctor::run(&context, &args).await,
        Verb::Config(args) => config::run(&context, &args),
        Verb::Completions(args) => completions::run(&context, &args),
        Verb::Boards(args) => boards::run(&context, &args),
        Verb::Import(args) => import::run(&context, &args).await,
        Verb::Ops(args) => ops::run(&context, &args),
        Verb::Data(args) => data::run(&context, &args).await,
        Verb::Erase(args) => erase::run(&context, &args).await,
        Verb::Run(args) => run::run(&context, &args).await,
        Verb::Tune(args) => tune::run(&context, &args).await,
        Verb::Models(args) => models::run(&context, &args).await,
        Verb::Lineage(args) => lineage::run(&context, &args).await,
        Verb::Cost(args) => cost::run(&context, &args).await,
        Verb::Worth(args) => worth::run(&context, &args).await,
        Verb::SearchCatalog(args) => search_catalog::run(&context, &args).await,
        Verb::Predict(args) => predict::run(&context, &args).await,
        Verb::Compile(args) => compile::run(&context, &args).await,
        Verb::Compare(args) => compare::run(&context, &args).await,
        Verb::Package(args) => package::run(&context, &args).await,
        Verb::Smoke(args) => smoke::run(&context, &args).await,
        Verb::Flash(args) => flash::run(&context, &args),
        Verb::Devices(args) => devices::run(&context, &args).await,
        Verb::Claims(args) => claims::run(&context, &args).await,
        Verb::Keys(args) => keys::run(&context, &args).await,
        Verb::Release(args) => release::run(&context, &args).await,
        Verb::Rollout(args) => rollout::run(&context, &args).await,
        Verb::Monitor(args) => monitor::run(&context, &args).await,
        Verb::Drift(args) => drift::run(&context, &args),
        Verb::Alerts(args) => alerts::run(&context, &args).await,
        Verb::Labels(args) => labels::run(&context, &args).await,
        Verb::Retrain(args) => retrain::run(&context, &args).await,
        Verb::Annotate(args) => annotate::run(&context, &args).await,
        Verb::Rounds(args) => rounds::run(&context, &args).await,
        Verb::Repairs(args) => repairs::run(&context, &args).await,
        Verb::Tokens(args) => tokens::run(&context, &args).await,
        Verb::Audit(args) => audit::run(&context, &args).await,
        Verb::Serve(args) => serve::run(&context, &args).await,
        Verb::Device(args) => device::run(&context, &args).await,
        Verb::Gateway(args) => gateway::run(&context, &args).await,
        Verb::Helper(args) => helper::run(&context, &args).await,
        Verb::Fleet(args) => fleet::run(&context, &args).await,
    }
}
