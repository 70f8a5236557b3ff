//! Runs a plan as often as it is told and answers with the time: `burst PLAN [INSTRUCTIONS]`.
//!
//! Each line of standard input is a count of runs; each line of the answer is how many nanoseconds
//! they took together. `cargo xtask bench host` alternates it with another runtime.

use std::io::{BufRead, Write};
use std::time::Instant;
use tinyops_nn::{Isa, Line, Plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("burst PLAN [INSTRUCTIONS]")?;
    let isa = match arguments.get(1) {
        Some(name) => Isa::from_name(name).ok_or("unknown instructions")?,
        None => Isa::detect(),
    };
    let program = std::fs::read(path)?;
    let plan = Plan::load(&program).map_err(|error| error.to_string())?;
    let mut memory = vec![Line::ZERO; plan.prepared_lines(isa)];
    let prepared = plan.prepare(isa, &mut memory).ok_or("too little memory")?;
    let mut work = vec![Line::ZERO; prepared.work_lines()];
    let mut arena = vec![0; plan.arena_bytes()];
    let input = vec![0u8; plan.input().len];
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let count: u32 = line?.trim().parse()?;
        let start = Instant::now();
        for _ in 0..count {
            // A run may write over its input, so setting it is part of the work.
            arena[plan.input().range()].copy_from_slice(&input);
            prepared
                .run(&mut arena, &mut work)
                .map_err(|error| error.to_string())?;
        }
        writeln!(out, "{}", start.elapsed().as_nanos())?;
        out.flush()?;
    }
    Ok(())
}
