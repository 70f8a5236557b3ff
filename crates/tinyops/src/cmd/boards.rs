use serde::Serialize;
use tinyops_compile::Board;
use tinyops_emulate::Machine;

use crate::{context::Context, failure::Failure, table::Table};

/// List the boards that models can be compiled for
///
/// Flash and RAM are what is left after bootloader, radio stack and runtime. A file `boards/NAME.toml` beside the
/// project file adds a board; `--json` tells what each file says, with sources.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops boards --json")]
pub(crate) struct Boards {}

#[derive(Serialize)]
struct View<'a> {
    boards: Vec<BoardView<'a>>,
}

#[derive(Serialize)]
struct BoardView<'a> {
    #[serde(flatten)]
    board: &'a Board,
    flash_free_bytes: u32,
    ram_free_bytes: u32,
    /// Whether the project added it.
    own: bool,
    /// QEMU's machine for `tinyops smoke`.
    emulated_by: &'static str,
    /// Its core.
    emulated_core: &'static str,
    /// Why that is not the board's own, if it is not.
    stand_in: Option<String>,
}

pub(crate) fn run(context: &Context, _: &Boards) -> Result<(), Failure> {
    let boards = context.boards()?;
    let known = boards.len() - boards.added().len();
    let views: Vec<BoardView<'_>> = boards
        .iter()
        .enumerate()
        .map(|(index, board)| {
            let (machine, stand_in) = Machine::of_board(board);
            BoardView {
                board,
                flash_free_bytes: board.flash_free_bytes(),
                ram_free_bytes: board.ram_free_bytes(),
                own: index >= known,
                emulated_by: machine.qemu,
                emulated_core: machine.core,
                stand_in,
            }
        })
        .collect();
    let text = text(&views);
    context.terminal.answer(&View { boards: views }, || text);
    Ok(())
}

/// What each piece of RAM leaves, the fastest first.
fn ram_text(board: &Board) -> String {
    let pieces = board.ram_pieces();
    let pieces = pieces.iter().map(|piece| {
        let left = format!("{} KiB", piece.free_bytes() / 1024);
        match &piece.name[..] {
            "" => left,
            name => format!("{left} {name}"),
        }
    });
    pieces.collect::<Vec<_>>().join(" + ")
}

fn text(views: &[BoardView<'_>]) -> String {
    let mut table = Table::new([
        "board",
        "chip",
        "clock",
        "flash left",
        "RAM left",
        "emulated",
    ]);
    for view in views {
        let emulated = match &view.stand_in {
            None => view.emulated_core.to_owned(),
            Some(_) => format!("stand-in on {}", view.emulated_by),
        };
        table.row([
            view.board.id.clone(),
            format!("{} ({})", view.board.chip, view.board.arch),
            format!("{} MHz", view.board.clock_hz / 1_000_000),
            format!("{} KiB", view.flash_free_bytes / 1024),
            ram_text(view.board),
            emulated,
        ]);
    }
    table.text()
}
