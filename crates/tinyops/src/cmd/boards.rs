use serde::Serialize;
use tinyops_compile::boards;

use crate::{context::Context, failure::Failure, table::Table};

/// List the boards that models can be compiled for
///
/// Flash and RAM are what is left after bootloader, radio stack and runtime.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops boards --json")]
pub(crate) struct Boards {}

#[derive(Serialize)]
struct View<'a> {
    boards: Vec<BoardView<'a>>,
}

#[derive(Serialize)]
struct BoardView<'a> {
    id: &'a str,
    name: &'a str,
    chip: &'a str,
    arch: &'a str,
    clock_hz: u32,
    flash_free_bytes: u32,
    ram_free_bytes: u32,
}

pub(crate) fn run(context: &Context, _: &Boards) -> Result<(), Failure> {
    let views: Vec<BoardView<'_>> = boards()
        .iter()
        .map(|board| BoardView {
            id: &board.id,
            name: &board.name,
            chip: &board.chip,
            arch: &board.arch,
            clock_hz: board.clock_hz,
            flash_free_bytes: board.flash_free_bytes(),
            ram_free_bytes: board.ram_free_bytes(),
        })
        .collect();
    let text = || {
        let mut table = Table::new(["board", "chip", "clock", "flash left", "RAM left"]);
        for board in &views {
            table.row([
                board.id.to_owned(),
                format!("{} ({})", board.chip, board.arch),
                format!("{} MHz", board.clock_hz / 1_000_000),
                format!("{} KiB", board.flash_free_bytes / 1024),
                format!("{} KiB", board.ram_free_bytes / 1024),
            ]);
        }
        table.text()
    };
    let text = text();
    context.terminal.answer(&View { boards: views }, || text);
    Ok(())
}
