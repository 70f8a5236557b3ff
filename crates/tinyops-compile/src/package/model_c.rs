//! The C files of a package that are its model's own: a small interface, the arrays, the self test.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tinyops_wire::section::{BodyKind, Task};

use super::contents::Contents;
use super::edge_impulse;
use super::escape::{bytes_of, c_string, fill, float, plain};
use super::needed::{block, files, operator};
use super::vectors::{Input, Vector, le_bytes};
use super::{Described, Part};

const HEADER: &str = include_str!("texts/model.h.in");
const SOURCE: &str = include_str!("texts/model.c.in");
const GOLDEN: &str = include_str!("texts/golden.c.in");
/// What differs between networks and distances.
const PLAN: Kind = Kind {
    header: "tinyops.h",
    source: include_str!("texts/model_plan.c.in"),
    check: include_str!("texts/golden_plan.c.in"),
    input: "the input tensor",
    program: "The network: kernels read words of it, so it begins at a multiple of 8.",
    stages: "/* The same in its stages: features of a window; their place in the network's input, scaled and
 * quantized; the network; what its output says. */\n",
    checked_bytes: 132,
};
const DISTANCE: Kind = Kind {
    header: "tinyops_distance.h",
    source: include_str!("texts/model_distance.c.in"),
    check: include_str!("texts/golden_distance.c.in"),
    input: "the features before scaling",
    program: "What features are measured against.",
    stages: "/* The same in its stages: features of a window; the same, scaled; their distance; what it says. */\n",
    checked_bytes: 84,
};

/// What files say of one sort of program.
struct Kind {
    /// The header of the runtime that declares it.
    header: &'static str,
    /// How it is loaded and run.
    source: &'static str,
    /// How a vector of the self test is held to it.
    check: &'static str,
    /// What the bytes of a recorded vector are.
    input: &'static str,
    /// What its array is.
    program: &'static str,
    /// What its stages are.
    stages: &'static str,
    /// Bytes of it and of the front end in memory, on a core of 32 bits.
    checked_bytes: usize,
}

impl Kind {
    fn of(contents: &Contents<'_>) -> &'static Kind {
        match contents.plan() {
            Some(_) => &PLAN,
            None => &DISTANCE,
        }
    }
}

/// Where the runtime lies beside the model's own files: its includes are relative, so one folder on the path is enough.
const RUNTIME: &str = "tinyops";

/// The files of a folder that a C compiler takes as it is, with the runtime below it.
pub(super) fn sources(
    contents: &Contents<'_>,
    vectors: &[Vector],
    described: &Described<'_>,
    parts: &[Part],
) -> BTreeMap<String, Vec<u8>> {
    let name = &described.identifier;
    let runtime = files(contents, parts).into_iter();
    let mut out: BTreeMap<String, Vec<u8>> = runtime
        .map(|(path, text)| (format!("{RUNTIME}/{path}"), text.as_bytes().to_vec()))
        .collect();
    let mut put = |path: String, text: String| out.insert(path, text.into_bytes());
    put(
        format!("{name}.h"),
        header(contents, vectors, described, parts),
    );
    put(format!("{name}.c"), source(contents, described, parts));
    put(format!("{name}_data.h"), data(contents, described, parts));
    put(
        format!("{name}_golden.c"),
        golden(contents, vectors, described),
    );
    if parts.contains(&Part::EdgeImpulse) {
        out.extend(edge_impulse::files(contents, described));
    }
    out
}

fn header(
    contents: &Contents<'_>,
    vectors: &[Vector],
    described: &Described<'_>,
    parts: &[Part],
) -> String {
    let front_end = &contents.front_end;
    let upper = described.identifier.to_uppercase();
    let scratch = front_end.scratch_len();
    let kind = Kind::of(contents);
    let mut includes = String::new();
    for (header, _) in parts.iter().filter_map(|part| part.of_runtime()) {
        let _ = writeln!(includes, "#include \"{RUNTIME}/include/{header}\"");
    }
    let mut data = String::new();
    if has_baseline(contents, parts) {
        let _ = write!(
            data,
            "\n/* What training saw, for `tinyops_baseline_read()`. */\nconst uint8_t *{}_baseline(size_t *len);\n",
            described.identifier
        );
    }
    let texts = [
        ("title", described.title.as_str()),
        ("sentence", &plain(&described.sentence)),
        ("name", &described.identifier),
        ("upper", &upper),
        ("verb", &verb(contents, described)),
        ("includes", &includes),
        ("digest", &contents.digest.to_string()),
        ("version", &described.facts.model_version.to_string()),
        ("channels", &front_end.channel_count.to_string()),
        ("window", &front_end.window_len.to_string()),
        ("readings", &front_end.reading_count().to_string()),
        ("rate", &float(front_end.rate_hz)),
        ("sensor", &sensor(contents)),
        ("features", &front_end.feature_count().to_string()),
        ("scratch", &scratch.to_string()),
        ("program_header", kind.header),
        ("arena", &arena(contents, &upper)),
        ("state", &state(contents, &upper)),
        ("stages", kind.stages),
        ("answer_type", &answer_type(contents, described, &upper)),
        ("vectors", &vectors.len().to_string()),
        ("data", &data),
    ];
    fill(HEADER, &texts)
}

/// The function that takes a window: what it answers is in its name.
pub(super) fn verb(contents: &Contents<'_>, described: &Described<'_>) -> String {
    let verb = match contents.decision.task {
        Task::Classify => "classify",
        Task::Regress => "regress",
        Task::Anomaly => "score",
    };
    format!("{}_{verb}", described.identifier)
}

/// About how many bytes the memory of a model takes, on a core of 32 bits.
pub(super) fn model_bytes(contents: &Contents<'_>) -> usize {
    let checked = Kind::of(contents).checked_bytes;
    let scratch = 4 * contents.front_end.scratch_len();
    let memory = contents.program.arena_bytes().max(scratch);
    (checked + 4 * contents.front_end.feature_count() + memory).next_multiple_of(8)
}

/// How much memory a network works in; a distance needs none.
fn arena(contents: &Contents<'_>, upper: &str) -> String {
    match contents.plan() {
        Some(plan) => format!("#define {upper}_ARENA_BYTES {}u\n", plan.arena_bytes()),
        None => String::new(),
    }
}

/// What the memory of a model holds.
fn state(contents: &Contents<'_>, upper: &str) -> String {
    let scratch_room = contents.front_end.scratch_len().max(1);
    match contents.plan() {
        Some(_) => format!(
            "  tinyops_plan plan;
  tinyops_front_end front_end;
  float features[{upper}_FEATURES];
  /* Features are made before the network runs, and every window stands alone: what the one needs, the
   * other does not any more. */
  union {{
    uint64_t alignment;
    float scratch[{scratch_room}];
    uint8_t arena[{upper}_ARENA_BYTES];
  }} memory;
"
        ),
        None => format!(
            "  tinyops_distance distance;
  tinyops_front_end front_end;
  float features[{upper}_FEATURES];
  float score;
  struct {{
    float scratch[{scratch_room}];
  }} memory;
"
        ),
    }
}

/// What the readings are measured in, as far as the payload says.
fn sensor(contents: &Contents<'_>) -> String {
    let Some(sensor) = &contents.sensor else {
        return String::new();
    };
    let mut out = String::from("/* What it was trained on, channel by channel:\n");
    for (index, channel) in sensor.channels().enumerate() {
        let said = |text: &str| match text {
            "" => "not stated".to_owned(),
            text => plain(text),
        };
        let _ = writeln!(
            out,
            " *   {index}: axis {}, unit {}, full scale {}",
            said(channel.axis),
            said(channel.unit),
            match channel.full_scale {
                0.0 => "not stated".to_owned(),
                scale => float(scale),
            }
        );
    }
    if let Some(mounting) = sensor.mounting() {
        let _ = writeln!(
            out,
            " * Its x, y and z axes point along {mounting} of the machine."
        );
    }
    let _ = writeln!(
        out,
        " * The rate may differ by {} millionths of it. */",
        sensor.rate_tolerance_ppm()
    );
    out
}

fn answer_type(contents: &Contents<'_>, described: &Described<'_>, upper: &str) -> String {
    let name = &described.identifier;
    match contents.decision.task {
        Task::Classify => format!(
            "\n/* The classes, in the order of the scores; a name is UTF-8. */
#define {upper}_CLASSES {count}
extern const char *const {name}_class_names[{upper}_CLASSES];

typedef struct {name}_answer {{
  /* Which class, from 0: {name}_class_names[index]. */
  int index;
  /* Confidence in it, 0 to 1, and whether it reaches the least that the model asks for. */
  float confidence;
  bool is_sure;
  /* The score of each class. */
  float scores[{upper}_CLASSES];
}} {name}_answer;

",
            count = contents.labels.len()
        ),
        Task::Regress => format!(
            "\n/* A number, in the unit of the training labels. */
typedef struct {name}_answer {{
  float value;
}} {name}_answer;

"
        ),
        Task::Anomaly => format!(
            "\n/* How unusual the window is: greater is stranger. */
typedef struct {name}_answer {{
  float score;
  /* Whether the score exceeds the model's threshold. */
  bool is_alarm;
}} {name}_answer;

"
        ),
    }
}

fn source(contents: &Contents<'_>, described: &Described<'_>, parts: &[Part]) -> String {
    let upper = described.identifier.to_uppercase();
    let mut operators = String::new();
    for found in contents.operators() {
        let _ = writeln!(operators, "    &{},", operator(found).0);
    }
    let name = &described.identifier;
    let mut definitions = String::new();
    if contents.decision.task == Task::Classify {
        let _ = write!(
            definitions,
            "\nconst char *const {name}_class_names[{upper}_CLASSES] = {{\n"
        );
        for label in &contents.labels {
            let _ = writeln!(definitions, "    {},", c_string(label));
        }
        definitions += "};\n";
    }
    if has_baseline(contents, parts) {
        let _ = write!(
            definitions,
            "\nconst uint8_t *{name}_baseline(size_t *len) {{\n  *len = sizeof {name}_baseline_section;\n  return {name}_baseline_section;\n}}\n"
        );
    }
    let names = [
        ("name", name.as_str()),
        ("upper", &upper),
        ("operators", &operators),
    ];
    let texts = [
        ("title", described.title.as_str()),
        ("name", name),
        ("upper", &upper),
        ("verb", &verb(contents, described)),
        ("program", &fill(Kind::of(contents).source, &names)),
        ("block", block(&contents.front_end.block)),
        ("definitions", &definitions),
        ("read", &read(contents, name, &upper)),
    ];
    fill(SOURCE, &texts)
}

/// What the network's output, or the distance, says, in the arithmetic of the Rust agent (`tinyops_device::Scorer`).
fn read(contents: &Contents<'_>, name: &str, upper: &str) -> String {
    let decision = &contents.decision;
    let output = format!(
        "  tinyops_tensor output;\n  if (!tinyops_plan_output(&model->plan, 0, &output)) return {upper}_UNSOUND;\n"
    );
    let begin =
        format!("{name}_status {name}_read(const {name}_model *model, {name}_answer *answer) {{\n");
    let body = match (decision.task, decision.body) {
        (Task::Classify, _) => {
            // Of two classes the second is the answer from the threshold on, if that is above 0.
            let threshold = match contents.labels.len() {
                2 if decision.threshold > 0.0 => format!(
                    "  answer->index = answer->scores[1] >= {}f ? 1 : 0;\n  best = value_at(model, &output, (size_t)answer->index);\n",
                    float(decision.threshold)
                ),
                _ => String::new(),
            };
            format!(
                "  int32_t best = 0;\n  int index;\n{output}  answer->index = 0;\n  for (index = 0; index < {upper}_CLASSES; index++) {{
    int32_t value = value_at(model, &output, (size_t)index);
    answer->scores[index] = real_of(&output, value);
    /* Of equal scores the first wins. */
    if (index == 0 || value > best) {{
      best = value;
      answer->index = index;
    }}
  }}
{threshold}  answer->confidence = real_of(&output, best);
  if (answer->confidence < 0.0f) answer->confidence = 0.0f;
  if (answer->confidence > 1.0f) answer->confidence = 1.0f;
  answer->is_sure = answer->confidence >= {least}f;
",
                least = float(decision.min_confidence)
            )
        }
        (Task::Regress, _) => {
            format!("{output}  answer->value = real_of(&output, value_at(model, &output, 0));\n")
        }
        (Task::Anomaly, BodyKind::Distance) => format!(
            "  answer->score = model->score;
  answer->is_alarm = answer->score > {}f;
",
            float(decision.threshold)
        ),
        (Task::Anomaly, BodyKind::Autoencoder | BodyKind::Network) => format!(
            "  tinyops_tensor input;
  float sum = 0.0f;
  size_t index;
{output}  if (!tinyops_plan_input(&model->plan, 0, &input)) return {upper}_UNSOUND;
  /* The mean squared difference of what came out from what went in. */
  for (index = 0; index < {upper}_FEATURES; index++) {{
    float difference = real_of(&output, value_at(model, &output, index)) -
                       real_of(&input, value_at(model, &input, index));
    sum += difference * difference;
  }}
  answer->score = sum / (float){upper}_FEATURES;
  answer->is_alarm = answer->score > {}f;
",
            float(decision.threshold)
        ),
    };
    format!("{begin}{body}  return {upper}_OK;\n}}")
}

fn has_baseline(contents: &Contents<'_>, parts: &[Part]) -> bool {
    parts.contains(&Part::Monitor) && contents.baseline.is_some()
}

fn data(contents: &Contents<'_>, described: &Described<'_>, parts: &[Part]) -> String {
    let name = &described.identifier;
    let upper = name.to_uppercase();
    let mut out = format!(
        "/* {}: the sections of its payload. For {name}.c alone. */\n#ifndef {upper}_DATA_H\n#define {upper}_DATA_H\n\n#include <stdint.h>\n",
        described.title
    );
    let program = contents.program_bytes;
    let _ = write!(
        out,
        "\n/* {} */\nstatic const union {name}_program_bytes {{\n  uint8_t bytes[{}];\n  uint64_t alignment;\n}} {name}_program = {{{{\n{}}}}};\n",
        Kind::of(contents).program,
        program.len(),
        bytes_of(program)
    );
    let mut sections = vec![
        ("front_end", contents.front_end_bytes),
        ("scaler", contents.scaler_bytes),
    ];
    if has_baseline(contents, parts) {
        sections.extend(contents.baseline.map(|bytes| ("baseline_section", bytes)));
    }
    for (what, bytes) in sections {
        let _ = write!(
            out,
            "\nstatic const uint8_t {name}_{what}[{}] = {{\n{}}};\n",
            bytes.len(),
            bytes_of(bytes)
        );
    }
    out + "\n#endif\n"
}

fn golden(contents: &Contents<'_>, vectors: &[Vector], described: &Described<'_>) -> String {
    let name = &described.identifier;
    let upper = name.to_uppercase();
    let kind = Kind::of(contents);
    let mut arrays = String::new();
    let mut rows = String::new();
    for (index, vector) in vectors.iter().enumerate() {
        let mut put = |what: &str, bytes: &[u8]| {
            let _ = write!(
                arrays,
                "static const uint8_t {what}_{index}[{}] = {{\n{}}};\n",
                bytes.len(),
                bytes_of(bytes)
            );
            format!("{what}_{index}")
        };
        let output = put("output", &vector.output);
        let (mut input, mut window) = ("NULL".to_owned(), "NULL".to_owned());
        let (mut seed, mut amplitude) = (0, 0.0);
        match &vector.input {
            Input::Tensor(bytes) => input = put("input", bytes),
            Input::Features(features) => input = put("input", &le_bytes(features)),
            Input::Window(readings) => {
                window = format!("window_{index}");
                let _ = write!(
                    arrays,
                    "static const float {window}[{}] = {{\n{}}};\n",
                    readings.len(),
                    floats_of(readings)
                );
            }
            Input::DrawnTensor(from) => seed = *from,
            Input::DrawnWindow {
                seed: from,
                amplitude: greatest,
            } => {
                (seed, amplitude) = (*from, *greatest);
            }
        }
        let _ = writeln!(
            rows,
            "    {{{input}, {window}, {output}, {seed}u, {}f, 0x{:08X}u, 0x{:08X}u}},",
            float(amplitude),
            vector.features_crc.unwrap_or(0),
            vector.input_crc
        );
    }
    let texts = [
        ("title", described.title.as_str()),
        ("name", name),
        ("upper", &upper),
        ("input", kind.input),
        (
            "check",
            &fill(kind.check, &[("name", name), ("upper", &upper)]),
        ),
        ("arrays", &arrays),
        ("rows", &rows),
    ];
    fill(GOLDEN, &texts)
}

fn floats_of(values: &[f32]) -> String {
    const PER_LINE: usize = 8;
    let mut out = String::new();
    for line in values.chunks(PER_LINE) {
        out += "    ";
        for value in line {
            let _ = write!(out, "{}f,", float(*value));
        }
        out.push('\n');
    }
    out
}
