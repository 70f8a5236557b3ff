//! `cargo xtask bench boards`: what the C99 runtime takes on emulated boards, held to its goals.
//!
//! Four tables: instructions of the MLPerf Tiny networks beside those of the Rust runtime and of TFLM's reference kernels
//! (`xtask/boards.toml`), flash and RAM of the whole agent, and a boot up to the first op.

use crate::bench_device;
use crate::c99::boards::{self, Absent, Board};
use crate::c99::records::Record;
use crate::c99::{capsules, folder, footprint, sources};
use crate::steps::{Answer, root};
use std::collections::BTreeMap;

/// What the portable kernels may take, as a share of the Rust runtime's instructions on a Cortex-M4F.
const PORTABLE_MOST: f64 = 1.15;
/// The same of those with the DSP extension.
const DSP_MOST: f64 = 1.05;
/// What they may take elsewhere, as a share of TFLM's reference kernels on the same core.
const TFLM_MOST: f64 = 0.5;
/// Instructions from the agent's first to the first op of the network, of a capsule that was checked when it was installed.
const BOOT_MOST: u64 = 100_000;
/// The network whose plan has the most ops to check.
const LONGEST_BOOT: &str = "vww";
/// Flash and RAM of the whole agent besides arena and slots, in bytes, on a Cortex-M4F.
const FLASH_MOST: u64 = 40_000;
const RAM_MOST: u64 = 4_096;

/// Instructions of TFLM's reference kernels, by board and network.
type Peers = BTreeMap<String, BTreeMap<String, u64>>;

/// Measures and prints; everything if no board is named.
///
/// # Errors
/// A goal that is missed, an output byte that is wrong, or what does not build.
pub(crate) fn run(networks: &[Record], only: &[String]) -> Answer {
    let boards = chosen(only)?;
    let mut missed = Vec::new();
    instructions(&boards, networks, &mut missed)?;
    if only.is_empty() {
        agent(&mut missed)?;
    }
    boot(&boards, networks, &mut missed)?;
    answer(&missed)
}

/// What CI holds of it: boots of one network on the core that has a goal, and on the one whose library lacks most of what a
/// program may call.
///
/// # Errors
/// As [`run`].
pub(crate) fn check(networks: &[Record]) -> Answer {
    let Some(longest) = networks.iter().find(|network| network.name == LONGEST_BOOT) else {
        println!("skipped: no boots, since the MLPerf Tiny networks are not there");
        return Ok(());
    };
    let mut missed = Vec::new();
    let boards = chosen(&["m4f", "lx106"])?;
    boot(&boards, std::slice::from_ref(longest), &mut missed)?;
    answer(&missed)
}

fn answer(missed: &[String]) -> Answer {
    if missed.is_empty() {
        return Ok(());
    }
    Err(format!("missed: {}", missed.join(", ")))
}

fn chosen(only: &[impl AsRef<str>]) -> Result<Vec<Board>, String> {
    let ids: Vec<&str> = boards::all().iter().map(|board| board.id).collect();
    let mut named = only.iter().map(AsRef::as_ref);
    if let Some(other) = named.find(|id| !ids.contains(id)) {
        return Err(format!("no board `{other}`, only {}", ids.join(", ")));
    }
    let wanted = |board: &Board| only.is_empty() || only.iter().any(|id| id.as_ref() == board.id);
    let mut boards = Vec::new();
    for board in boards::all().into_iter().filter(wanted) {
        if !board.lacks_a_tool()? {
            boards.push(board);
        }
    }
    Ok(boards)
}

fn instructions(boards: &[Board], networks: &[Record], missed: &mut Vec<String>) -> Answer {
    let peers = peers()?;
    println!("| board | network | C99 | Rust | C99 / Rust | TFLM | C99 / TFLM | load |");
    println!("|---|---|---|---|---|---|---|---|");
    for board in boards {
        for (form, flags) in board.forms() {
            let folder = folder()?;
            let program = board.build(&flags, folder.path())?;
            for record in networks {
                let (id, network) = (board.id, &record.name);
                let took = match board.run(&program, record) {
                    Ok(took) => took,
                    Err(Absent::TooSmall) => continue,
                    Err(Absent::Fault(why)) => return Err(why),
                };
                if took.equal != took.cases {
                    missed.push(format!("{id}{form} {network}: bytes"));
                }
                let own = took.instructions;
                let share = |other: Option<u64>| other.map(|other| f64::from(own) / other as f64);
                let rust = bench_device::kept(id, network)?;
                let tflm = peers.get(id).and_then(|of| of.get(network)).copied();
                let most = if form.is_empty() {
                    PORTABLE_MOST
                } else {
                    DSP_MOST
                };
                if id == "m4f" && share(rust).is_some_and(|share| share > most) {
                    missed.push(format!("{id}{form} {network} beside Rust"));
                }
                if share(tflm).is_some_and(|share| share > TFLM_MOST) {
                    missed.push(format!("{id}{form} {network} beside TFLM"));
                }
                let number = |number: Option<u64>| number.map_or(String::new(), |n| n.to_string());
                let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |r| format!("{r:.2}"));
                println!(
                    "| {id}{form} | {network} | {own} | {} | {} | {} | {} | {} |",
                    number(rust),
                    ratio(share(rust)),
                    number(tflm),
                    ratio(share(tflm)),
                    took.load
                );
            }
        }
    }
    println!(
        "goals: m4f {PORTABLE_MOST:.2}, with the DSP extension {DSP_MOST:.2} of Rust; {TFLM_MOST:.2} of TFLM"
    );
    Ok(())
}

fn peers() -> Result<Peers, String> {
    let path = root().join("xtask/boards.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    text.and_then(|text| toml::from_str(&text).map_err(|error| error.to_string()))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Flash and RAM of the whole agent.
fn agent(missed: &mut Vec<String>) -> Answer {
    let Some((flash, ram)) = footprint::agent(&sources(&["c/src"], &[])?)? else {
        return Ok(());
    };
    println!("\n| the whole agent on a Cortex-M4F | bytes | at most |\n|---|---|---|");
    for (what, own, most) in [("flash", flash, FLASH_MOST), ("RAM", ram, RAM_MOST)] {
        println!("| {what} | {own} | {most} |");
        if own > most {
            missed.push(format!("agent {what}"));
        }
    }
    Ok(())
}

/// A boot of a confirmed slot.
fn boot(boards: &[Board], networks: &[Record], missed: &mut Vec<String>) -> Answer {
    println!(
        "\n| board | network | boot to the first op | with every byte hashed | signatures, install | signatures, boot |"
    );
    println!("|---|---|---|---|---|---|");
    for board in boards {
        let folder = folder()?;
        let program = board.build_of("boot.c", &["-O2"], folder.path())?;
        for network in networks {
            let record = capsules::of_plan(&network.plan)?;
            let said = board.emulate(&program, &record.to_bytes())?;
            let (id, name) = (board.id, &network.name);
            let Some(boot) = parse_boot(&said) else {
                println!("| {id} | {name} | does not fit | | | |");
                if id != "m0" {
                    missed.push(format!("{id} {name}: no boot"));
                }
                continue;
            };
            if boot.signatures > 0 || boot.installs != 1 {
                missed.push(format!("{id} {name}: signatures"));
            }
            if id == "m4f" && boot.quick > BOOT_MOST {
                missed.push(format!("{id} {name}: boot"));
            }
            println!(
                "| {id} | {name} | {} | {} | {} | {} |",
                boot.quick, boot.digest, boot.installs, boot.signatures
            );
        }
    }
    println!(
        "goals: {BOOT_MOST} on m4f, one signature in an install and its trial, none in a boot"
    );
    Ok(())
}

/// What `c/check/board/boot.c` says.
struct Boot {
    installs: u64,
    quick: u64,
    digest: u64,
    /// Checked in both boots together.
    signatures: u64,
}

fn parse_boot(said: &str) -> Option<Boot> {
    let numbers = |name: &str| -> Option<Vec<u64>> {
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace()
            .map(|word| word.parse().ok())
            .collect()
    };
    let (install, quick, digest) = (
        numbers("install ")?,
        numbers("quick ")?,
        numbers("digest ")?,
    );
    said.lines().any(|line| line == "end").then_some(Boot {
        installs: *install.first()?,
        quick: *quick.first()?,
        digest: *digest.first()?,
        signatures: quick.get(1)? + digest.get(1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_that_does_not_end_is_none() {
        let whole = "tinyops-boot 1\ninstall 1\nquick 900 0\ndigest 9000 1\nend\n";
        let boot = parse_boot(whole).unwrap();
        assert_eq!(
            (boot.installs, boot.quick, boot.digest, boot.signatures),
            (1, 900, 9000, 1)
        );
        assert!(parse_boot("tinyops-boot 1\ninstall 2\nrefused nothing boots\n").is_none());
    }

    #[test]
    fn peers_name_boards_that_are_there() {
        let ids: Vec<&str> = boards::all().iter().map(|board| board.id).collect();
        for id in peers().unwrap().keys() {
            assert!(ids.contains(&&**id), "{id}");
        }
    }
}
