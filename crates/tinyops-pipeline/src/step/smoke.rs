//! Smoke: the golden vectors on the executor, from the finished payload and nothing else.

use serde::{Deserialize, Serialize};
use tinyops_compile::{Board, boards, replay};
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
    let settings = bench.workshop.project.gates.smoke;
    let Some(first) = packages.first() else {
        // It fits no board: the gate of the fit has said so, and there is nothing to run.
        return Ok(Vec::new());
    };
    let inputs = vec![Port {
        name: "payload".to_owned(),
        digest: first.payload,
    }];
    let payload = bench.bytes(&first.payload).await?;
    let board = boards().iter().find(|board| board.id == first.board);
    let work = move |tell: Tell| {
        tell(0, 0, "the first time builds the firmware".to_owned());
        let found = Found {
            gates: vec![golden(&payload)?, emulated(&payload, settings, board)],
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

fn emulated(payload: &[u8], setting: Smoke, board: Option<&Board>) -> Gate {
    let absent = |reason: String| match setting {
        Smoke::Required => Gate::new(GateName::Smoke, false, reason),
        Smoke::Off | Smoke::WhenAvailable => Gate::not_run(GateName::Smoke, reason),
    };
    let Some(board) = board.filter(|_| setting != Smoke::Off) else {
        return absent("not run: switched off in `[gates]`".to_owned());
    };
    let (machine, stand_in) = Machine::of_board(board);
    let verdict =
        Firmware::find().and_then(|firmware| smoke(&firmware, machine, payload, Memory::of(board)));
    match verdict {
        Ok(found) => {
            let wrong = found.cases.iter().filter(|case| case.difference.is_some());
            let reason = format!(
                "{} of {} vectors equal on the emulated {}, {} instructions at most, {} bytes of stack{}",
                found.cases.len() - wrong.count(),
                found.cases.len(),
                machine.core,
                found.instructions_max(),
                found.stack_bytes,
                stand_in.map_or(String::new(), |reason| format!(" ({reason})"))
            );
            Gate::new(GateName::Smoke, found.passed(), reason)
        }
        Err(EmulateError::Missing { what, remedy }) => {
            absent(format!("not run: {what} is missing; {remedy}"))
        }
        Err(error) => Gate::new(GateName::Smoke, false, error.to_string()),
    }
}
