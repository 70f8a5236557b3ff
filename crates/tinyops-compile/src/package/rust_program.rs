//! What differs in a crate between networks and distances, by the names under which its templates ask for it.

use super::Made;
use super::escape::fill;

/// How many texts differ.
const COUNT: usize = 19;

/// The texts of this model's program.
pub(super) fn texts(made: &Made<'_>) -> [(&'static str, String); COUNT] {
    let contents = made.contents;
    let arena_bytes = contents.program.arena_bytes().to_string();
    let program_bytes = contents.program_bytes.len().to_string();
    let numbers = [
        ("arena_bytes", arena_bytes.as_str()),
        ("program_bytes", &program_bytes),
    ];
    let table = match contents.plan() {
        Some(_) => NETWORK,
        None => DISTANCE,
    };
    table.map(|(name, text)| (name, fill(text, &numbers)))
}

/// A plan over an arena.
const NETWORK: [(&str, &str); COUNT] = [
    (
        "uses",
        "{Plan, RunError}",
    ),
    (
        "arena",
        "/// Bytes of the network's working memory.
pub const ARENA_BYTES: usize = @{arena_bytes};
",
    ),
    (
        "program",
        r#"/// Kernels read words of it.
#[repr(C, align(16))]
struct Aligned<const LEN: usize>([u8; LEN]);

static PROGRAM: Aligned<@{program_bytes}> = Aligned(*include_bytes!("program.bin"));
"#,
    ),
    (
        "errors",
        "impl From<RunError> for Error {
    fn from(_: RunError) -> Error {
        Error::Unsound
    }
}

",
    ),
    (
        "work",
        "arena: Aligned<ARENA_BYTES>",
    ),
    (
        "work_zero",
        "arena: Aligned([0; ARENA_BYTES])",
    ),
    (
        "field",
        "plan: Plan<'static>",
    ),
    (
        "load",
        "let plan = Plan::load(&PROGRAM.0)",
    ),
    (
        "fits",
        "plan.arena_bytes() <= ARENA_BYTES",
    ),
    (
        "held",
        "plan",
    ),
    (
        "quantize_doc",
        "    /// Every window stands alone: what a network remembers begins anew.
",
    ),
    (
        "set",
        "        self.plan.reset(&mut memory.arena.0[..])?;
        Ok(self
            .plan
            .set_input(&memory.features, &mut memory.arena.0[..])?)
",
    ),
    (
        "run",
        "        Ok(self.plan.run(&mut memory.arena.0[..])?)
",
    ),
    (
        "input_is",
        "Features as the network's input",
    ),
    (
        "output_is",
        "The network's output",
    ),
    (
        "kinds",
        "    Tensor(&'static [u8]),
    DrawnTensor(u32),
",
    ),
    (
        "arms",
        "            Input::Tensor(bytes) => tensor(model, memory, bytes.iter().copied()).map_err(failed)?,
            Input::DrawnTensor(seed) => {
                let mut numbers = Xorshift(*seed);
                let bytes = core::iter::from_fn(|| Some((numbers.next() >> 24) as u8));
                tensor(model, memory, bytes).map_err(failed)?;
            }
",
    ),
    (
        "compare",
        "        let arena = &mut memory.arena.0;
        if crc(arena[model.plan.input().range()].iter().copied()) != vector.input_crc {
            return Err(failed(Stage::Input));
        }
        let ran = model.run(memory);
        if ran.is_err() || &memory.arena.0[model.plan.output().range()] != vector.output {
            return Err(failed(Stage::Output));
        }
",
    ),
    (
        "given",
        "fn tensor(
    model: &Model,
    memory: &mut Memory,
    bytes: impl Iterator<Item = u8>,
) -> Result<(), Stage> {
    let arena = &mut memory.arena.0[..];
    model.plan.reset(arena).map_err(|_| Stage::Input)?;
    for (place, byte) in arena[model.plan.input().range()].iter_mut().zip(bytes) {
        *place = byte;
    }
    Ok(())
}

",
    ),
];

/// A distance, which leaves its score where the arena would be.
const DISTANCE: [(&str, &str); COUNT] = [
    ("uses", "Distance"),
    ("arena", ""),
    (
        "program",
        r#"static PROGRAM: &[u8] = include_bytes!("program.bin");
"#,
    ),
    ("errors", ""),
    ("work", "score: f32"),
    ("work_zero", "score: 0.0"),
    ("field", "distance: Distance<'static>"),
    ("load", "let distance = Distance::load(PROGRAM)"),
    ("fits", "distance.feature_count() == FEATURES"),
    ("held", "distance"),
    (
        "quantize_doc",
        "    /// Scales the features.
",
    ),
    (
        "set",
        "        Ok(())
",
    ),
    (
        "run",
        "        memory.score = self.distance.score(&memory.features);
        Ok(())
",
    ),
    ("input_is", "Features as the distance takes them"),
    ("output_is", "The distance"),
    (
        "kinds",
        "    Features(&'static [f32]),
",
    ),
    (
        "arms",
        "            Input::Features(given) => {
                memory.features.copy_from_slice(given);
                model.quantize(memory).map_err(|_| failed(Stage::Input))?;
            }
",
    ),
    (
        "compare",
        "        if crc(memory.features.iter().flat_map(|x| x.to_le_bytes())) != vector.input_crc {
            return Err(failed(Stage::Input));
        }
        let ran = model.run(memory);
        if ran.is_err() || memory.score.to_le_bytes()[..] != *vector.output {
            return Err(failed(Stage::Output));
        }
",
    ),
    ("given", ""),
];
