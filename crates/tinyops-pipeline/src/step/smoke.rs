//! Smoke: the golden vectors on the executor, from the finished payload and nothing else.

use serde::{Deserialize, Serialize};
use tinyops_compile::{Board, replay};
use tinyops_emulate::{EmulateError, Firmware, Machine, Memory, smoke};
use tinyops_store::step::Port;

use crate::{
    Gate, GateName, Package, RunError, Smoke, StepName,
    bench::{Bench, Made, Tell},
};

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    packages: &[Package],
) -> Result<Vec<Gate>, RunError> {
    let project = &bench.workshop.project;
    let setting = project.gates.smoke;
    // Each core and payload that is asked for once; without targets the first board stands for all.
    let count = if project.boards.targets.is_empty() {
        1
    } else {
        packages.len()
    };
    let mut chosen: Vec<(Board, &Package)> = Vec::new();
    for package in &packages[..count.min(packages.len())] {
        let Some(board) = project.known.named(&package.board) else {
            continue;
        };
        let (machine, _) = Machine::of_board(board);
        let is_other = |(other, of_other): &(Board, &Package)| {
            Machine::of_board(other).0 != machine || of_other.payload != package.payload
        };
        if chosen.iter().all(is_other) {
            chosen.push((board.clone(), package));
        }
    }
    let Some(first) = packages.first() else {
        // It fits no board: the gate of the fit has said so, and there is nothing to run.
        return Ok(Vec::new());
    };
    let port = |name: String, package: &Package| Port {
        name,
        digest: package.payload,
    };
    let mut inputs = vec![port("payload".to_owned(), first)];
    let mut boards: Vec<(Board, Vec<u8>)> = Vec::new();
    for (board, package) in chosen {
        // A board whose RAM is in pieces may have a payload of its own.
        if package.payload != first.payload {
            inputs.push(port(format!("payload/{}", board.id), package));
        }
        boards.push((board, bench.bytes(&package.payload).await?));
    }
    let payload = bench.bytes(&first.payload).await?;
    let of_settings: Vec<Board> = boards.iter().map(|(board, _)| board.clone()).collect();
    let settings = (setting, of_settings);
    let work = move |tell: Tell| {
        tell(0, 0, "the first time builds the firmware".to_owned());
        let mut measured = Vec::new();
        let found = Found {
            gates: vec![golden(&payload)?, emulated(setting, &boards, &mut measured)],
            measured,
        };
        let summary = found
            .gates
            .iter()
            .map(|gate| format!("{}: {}", gate.name, gate.reason))
            .collect::<Vec<_>>()
            .join("; ");
        Ok(Made {
            outputs: Vec::new(),
            detail: serde_json::to_value(&found).expect("gates have string keys"),
            summary,
        })
    };
    let done = bench.step(StepName::Smoke, &settings, inputs, work).await?;
    let found = Found::deserialize(&done.detail).map_err(|source| RunError::Artifact {
        what: "list of gates",
        source,
    })?;
    Ok(found.gates)
}

#[derive(Serialize, Deserialize)]
struct Found {
    gates: Vec<Gate>,
    #[serde(default)]
    measured: Vec<Measured>,
}

/// What one board's emulated core showed while it answered the golden vectors.
#[derive(Serialize, Deserialize)]
struct Measured {
    board: String,
    vectors: usize,
    vectors_differing: usize,
    /// Instructions of one window at most.
    instructions: u64,
    arena_touched_bytes: u32,
    stack_bytes: u32,
}

/// What every device does before it trusts a capsule, done here first.
fn golden(payload: &[u8]) -> Result<Gate, RunError> {
    let replay = replay(payload).map_err(|error| RunError::Replay(error.to_string()))?;
    let reason = match replay.differing.first() {
        None => format!("{} of {} equal on the executor", replay.cases, replay.cases),
        Some(first) => format!(
            "{} elements differ; the first is element {} of vector {}: {} instead of {}",
            replay.differing.len(),
            first.element,
            first.case,
            first.actual,
            first.expected
        ),
    };
    let holds = replay.cases > 0 && replay.differing.is_empty();
    Ok(Gate::new(GateName::Golden, holds, reason))
}

fn emulated(setting: Smoke, boards: &[(Board, Vec<u8>)], measured: &mut Vec<Measured>) -> Gate {
    if setting == Smoke::Off {
        return Gate::not_run(
            GateName::Smoke,
            "not run: switched off in `[gates]`".to_owned(),
        );
    }
    let (mut holds, mut reasons) = (true, Vec::new());
    for (board, payload) in boards {
        let (machine, stand_in) = Machine::of_board(board);
        let verdict = Firmware::find()
            .and_then(|firmware| smoke(&firmware, machine, payload, Memory::of(board)));
        match verdict {
            Ok(found) => {
                let wrong = found.cases.iter().filter(|case| case.difference.is_some());
                holds &= found.passed();
                measured.push(Measured {
                    board: board.id.clone(),
                    vectors: found.cases.len(),
                    vectors_differing: wrong.clone().count(),
                    instructions: found.instructions_max(),
                    arena_touched_bytes: found.arena_touched_bytes.iter().sum(),
                    stack_bytes: found.stack_bytes,
                });
                reasons.push(format!(
                    "{} of {} vectors equal on the emulated {}, {} instructions at most, {} bytes of arena, {} of stack{}",
                    found.cases.len() - wrong.count(),
                    found.cases.len(),
                    machine.core,
                    found.instructions_max(),
                    found.arena_touched_bytes.iter().sum::<u32>(),
                    found.stack_bytes,
                    stand_in.map_or(String::new(), |reason| format!(" ({reason})"))
                ));
            }
            Err(EmulateError::Missing { what, remedy }) => {
                let reason = format!("not run: {what} is missing; {remedy}");
                return match setting {
                    Smoke::Required => Gate::new(GateName::Smoke, false, reason),
                    Smoke::Off | Smoke::WhenAvailable => Gate::not_run(GateName::Smoke, reason),
                };
            }
            Err(error) => {
                holds = false;
                reasons.push(format!("{}: {error}", board.id));
            }
        }
    }
    Gate::new(
        GateName::Smoke,
        holds && !boards.is_empty(),
        reasons.join("; "),
    )
}
