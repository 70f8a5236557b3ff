//! The verbs.

mod boards;
mod completions;
mod config;
mod doctor;
mod init;
mod run;

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

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Init),
    Doctor(doctor::Doctor),
    Config(config::Config),
    Completions(completions::Completions),
    Boards(boards::Boards),
    Run(run::Run),
}

/// Does what the command line asks.
pub(crate) async fn dispatch(cli: Cli, terminal: Terminal) -> Result<(), Failure> {
    let context = Context::new(&cli.place, terminal)?;
    match cli.verb {
        Verb::Init(args) => init::run(&context, &args),
        Verb::Doctor(args) => doctor::run(&context, &args).await,
        Verb::Config(args) => config::run(&context, &args),
        Verb::Completions(args) => completions::run(&context, &args),
        Verb::Boards(args) => boards::run(&context, &args),
        Verb::Run(args) => run::run(&context, &args).await,
    }
}
