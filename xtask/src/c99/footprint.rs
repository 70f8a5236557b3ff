//! What parts of the C99 runtime take on a Cortex-M4F: each is linked by itself with what it calls, and measured.

use crate::c99::folder;
use crate::c99::toolchain::{CORTEX_M4F, lacks_one_of, said};
use crate::steps::{Answer, root, run};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most flash that the agent without its front end may take, in bytes.
const AGENT_BYTES_MAX: u64 = 40_000;

/// Headers that declare what is kept.
const HEADERS: [&str; 8] = [
    "",
    "_capsule",
    "_delta",
    "_distance",
    "_front_end",
    "_monitor",
    "_slots",
    "_trust",
];

/// Some functions and tables, without `tinyops_` before each.
type Kept = &'static [&'static str];

const PLANS: Kept = &[
    "plan_load",
    "plan_reset",
    "plan_set_input",
    "plan_run",
    "plan_output",
    "arena_bytes",
    "conv_2d",
    "depthwise_conv_2d",
    "max_pool_2d",
    "average_pool_2d",
    "add",
    "softmax",
    "lookup",
];
const CAPSULES: Kept = &["capsule_verify", "capsule_section", "ed25519_verify"];
const MONITOR: Kept = &[
    "baseline_read",
    "observe",
    "observe_embedding",
    "embedding_distance_read",
    "embedding_octaves",
    "monitor_push",
    "monitor_cost",
    "monitor_begin_period",
    "report_write",
    "alarm_write",
    "dither_seed",
    "envelope_seal",
    "envelope_open",
];
const DISTANCES: Kept = &["is_distance", "distance_load", "distance_score"];
const DELTAS: Kept = &["delta_read", "delta_name", "delta_begin", "delta_fill"];
const SLOTS: Kept = &[
    "slots_open",
    "slots_capsule",
    "slots_statement",
    "slots_key_set",
    "slots_name_keys",
    "slots_begin_boot",
    "slots_choose",
    "slots_is_installed",
    "slots_is_above_floor",
    "slots_reserve_sequence",
    "slots_take_key_set",
    "slots_begin_transfer",
    "slots_write_block",
    "slots_has_block",
    "slots_finish_transfer",
    "slots_try_held",
    "slots_hold",
    "slots_drop_held",
    "slots_confirm",
    "slots_revert_trial",
    "slots_go_back",
];
const KEY_SETS: Kept = &["key_set_verify", "role_is_new"];
const ENROLMENT: Kept = &[
    "factory_read",
    "asking_read",
    "asking_write",
    "enrolled_read",
    "enrolled_write",
    "request_make",
    "answer_open",
];
const FRONT_END: Kept = &["front_end_read", "front_end_extract", "scaler_apply"];
const BLOCKS: [&str; 5] = ["raw", "flatten", "spectral", "mfe", "mfcc"];

/// Prints the table of `docs/boards.md`.
///
/// # Errors
/// What compiler and linker say, or when the agent takes more than it may.
pub(crate) fn print(sources: &[PathBuf]) -> Answer {
    if lacks_one_of(["arm-none-eabi-gcc", "arm-none-eabi-size"])? {
        return Ok(());
    }
    let folder = folder()?;
    let objects = compiled(sources, folder.path())?;
    let bytes = |parts: &[Kept]| linked_bytes(parts, &objects, folder.path());
    let agent = bytes(&[PLANS, CAPSULES, MONITOR, DELTAS, SLOTS])?;
    println!("Cortex-M4F, -Os, bytes of flash:");
    for (what, parts) in [
        ("plans with seven operators", &[PLANS][..]),
        ("capsules", &[CAPSULES]),
        ("monitor", &[MONITOR]),
        ("deltas", &[DELTAS]),
        ("slots, with deltas and SHA-256", &[SLOTS]),
    ] {
        println!("  {what}: {}", bytes(parts)?);
    }
    println!("  the agent, all of these: {agent}");
    let whole = [PLANS, CAPSULES, MONITOR, DELTAS, SLOTS, KEY_SETS, ENROLMENT];
    println!("  with key sets: {}", bytes(&whole[..6])?);
    println!("  with enrolment too: {}", bytes(&whole)?);
    println!("  distances beside plans: {}", bytes(&[DISTANCES])?);
    for block in BLOCKS {
        let kept: Kept = Box::leak(Box::new([block]));
        println!("  front end with {block}: {}", bytes(&[FRONT_END, kept])?);
    }
    if agent > AGENT_BYTES_MAX {
        return Err(format!(
            "the agent in C takes {agent} bytes of flash, more than {AGENT_BYTES_MAX}"
        ));
    }
    Ok(())
}

/// Flash and RAM of the whole agent, in bytes; `None` where there is no compiler.
///
/// # Errors
/// What compiler and linker say.
pub(crate) fn agent(sources: &[PathBuf]) -> Result<Option<(u64, u64)>, String> {
    if lacks_one_of(["arm-none-eabi-gcc", "arm-none-eabi-size"])? {
        return Ok(None);
    }
    let folder = folder()?;
    let objects = compiled(sources, folder.path())?;
    let flash = linked_bytes(
        &[PLANS, CAPSULES, MONITOR, DELTAS, SLOTS],
        &objects,
        folder.path(),
    )?;
    Ok(Some((flash, state_bytes(folder.path())?)))
}

/// What a program keeps in RAM for the agent, besides arena and slots.
fn state_bytes(folder: &Path) -> Result<u64, String> {
    let (source, object) = (folder.join("state.c"), folder.join("state.o"));
    let include = root().join("c/include");
    let text = format!(
        "#include \"{0}/tinyops_monitor.h\"\n#include \"{0}/tinyops_slots.h\"\ntinyops_monitor monitor;\ntinyops_slots slots;\n",
        include.display()
    );
    std::fs::write(&source, text).map_err(|error| error.to_string())?;
    run(compiler().arg("-c").arg(&source).arg("-o").arg(&object))?;
    let said = said(Command::new("arm-none-eabi-size").arg(&object))?;
    said.lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(2)?.parse().ok())
        .ok_or_else(|| format!("arm-none-eabi-size says {said}"))
}

/// The runtime's files, each by itself.
fn compiled(sources: &[PathBuf], folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut objects = Vec::new();
    let runtime = sources.iter().filter(|path| path.starts_with("c/src"));
    for (index, source) in runtime.enumerate() {
        let object = folder.join(format!("{index}.o"));
        run(compiler().arg("-c").arg(source).arg("-o").arg(&object))?;
        objects.push(object);
    }
    Ok(objects)
}

fn compiler() -> Command {
    let mut command = Command::new("arm-none-eabi-gcc");
    command.args(CORTEX_M4F).args([
        "-std=c99",
        "-Os",
        "-ffp-contract=off",
        "-ffunction-sections",
        "-fdata-sections",
    ]);
    command
}

/// Links what is kept, and what that needs, and nothing else.
fn linked_bytes(parts: &[Kept], objects: &[PathBuf], folder: &Path) -> Result<u64, String> {
    let mut text = String::new();
    for header in HEADERS {
        let header = root().join(format!("c/include/tinyops{header}.h"));
        let _ = writeln!(text, "#include \"{}\"", header.display());
    }
    text.push_str("extern const void *const kept[];\nconst void *const kept[] = {\n");
    let names: Vec<&&str> = parts.iter().copied().flatten().collect();
    for name in &names {
        let _ = writeln!(text, "(const void *)&tinyops_{name},");
    }
    text.push_str("};\n");
    let (source, program) = (folder.join("kept.c"), folder.join("kept.elf"));
    std::fs::write(&source, text).map_err(|error| error.to_string())?;
    run(compiler()
        .args(["-w", "-nostartfiles", "--specs=nano.specs"])
        .args(["-Wl,--gc-sections", "-Wl,-e,kept", "-Wl,-u,kept"])
        .arg(&source)
        .args(objects)
        .arg("-o")
        .arg(&program))?;
    let said = said(Command::new("arm-none-eabi-size").arg(&program))?;
    let bytes = said
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .ok_or_else(|| format!("arm-none-eabi-size says {said}"))?;
    // But for the list of what is kept.
    Ok(bytes - 4 * names.len() as u64)
}
