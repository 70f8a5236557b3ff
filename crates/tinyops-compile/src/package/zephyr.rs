//! A module for Zephyr.
//!
//! # Source
//! Zephyr, "Modules (External projects)", and `scripts/schemas/` of its sources: module, sample and test files.

use super::escape::json_string;
use super::model_c::sources;
use super::template::{Texts, answer_text, listed};
use super::{Made, Package};

const SAMPLE: &str = include_str!("texts/zephyr_sample.c.in");
const TEST: &str = include_str!("texts/zephyr_test.c.in");
const README: &str = include_str!("texts/zephyr_README.md.in");

const MODULE: &str = "name: @{name}
build:
  cmake: zephyr
  kconfig: zephyr/Kconfig
samples:
  - samples
tests:
  - tests
";

/// `exact.h` says what `-ffp-contract=off` says; both are here since a library of Zephyr takes flags of its own.
const CMAKE: &str = "if(CONFIG_@{upper})
  zephyr_library_named(@{name})
  zephyr_include_directories(../src)
  zephyr_library_sources(
@{sources}
  )
  zephyr_library_compile_options(-ffp-contract=off)
  zephyr_library_compile_definitions_ifdef(CONFIG_@{upper}_ARM_DSP TINYOPS_ARM_DSP)
endif()
";

const KCONFIG: &str = "config @{upper}
\tbool \"@{title}\"
\thelp
\t  @{sentence}.

config @{upper}_ARM_DSP
\tbool \"Kernels for the DSP extension of Cortex-M\"
\tdepends on @{upper}
\tdepends on CPU_CORTEX_M4 || CPU_CORTEX_M7 || ARMV8_M_DSP
\tdefault y
\thelp
\t  The same bytes in fewer instructions.
";

const PROJECT: &str = "cmake_minimum_required(VERSION 3.20.0)
list(APPEND ZEPHYR_EXTRA_MODULES ${CMAKE_CURRENT_SOURCE_DIR}/../..)
find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})
project(@{name}_@{what})
target_sources(app PRIVATE src/main.c)
";

const SAMPLE_YAML: &str = "sample:
  name: @{name}
  description: @{description}
common:
  tags: tinyml
  integration_platforms:
    - qemu_cortex_m3
tests:
  sample.@{name}.classify:
    harness: console
    harness_config:
      type: one_line
      regex:
        - \"[0-9]+ of [0-9]+ vectors right\"
";

const TEST_YAML: &str = "common:
  tags: tinyml
  integration_platforms:
    - native_sim
    - qemu_cortex_m3
tests:
  libraries.@{name}.golden: {}
";

pub(super) fn package(made: &Made<'_>) -> Package {
    let described = made.described;
    let own = sources(made.contents, made.vectors, described, made.parts);
    let sources = listed(&own, "    ../src/", "");
    let print = answer_text(made, zephyr_print) + "      printk(\"\\n\");\n";
    let description = json_string(&format!("{}.", described.sentence));
    let texts = Texts::of(made).with([
        ("sources", sources.trim_end().to_owned()),
        ("print", print),
        ("description", description),
    ]);
    let mut package = Package::of_sources(made, own);
    package.folder = format!("{}-zephyr", described.identifier);
    package.prove(made, "extras");
    let mut put = |path: &str, bytes: Vec<u8>| package.files.insert(path.to_owned(), bytes);
    put("zephyr/module.yml", texts.fill(MODULE));
    put("zephyr/CMakeLists.txt", texts.fill(CMAKE));
    put("zephyr/Kconfig", texts.fill(KCONFIG));
    put("README.md", texts.fill(README));
    for (folder, what, source) in [
        ("samples/classify", "sample", SAMPLE),
        ("tests/golden", "test", TEST),
    ] {
        let project = PROJECT.replace("@{what}", what);
        put(&format!("{folder}/CMakeLists.txt"), texts.fill(&project));
        put(&format!("{folder}/src/main.c"), texts.fill(source));
    }
    let conf = "CONFIG_@{upper}=y\nCONFIG_MAIN_STACK_SIZE=8192\n";
    put("samples/classify/prj.conf", texts.fill(conf));
    put("samples/classify/sample.yaml", texts.fill(SAMPLE_YAML));
    put(
        "tests/golden/prj.conf",
        texts.fill("CONFIG_ZTEST=y\nCONFIG_ZTEST_STACK_SIZE=8192\nCONFIG_@{upper}=y\n"),
    );
    put("tests/golden/testcase.yaml", texts.fill(TEST_YAML));
    package
}

/// Zephyr's `printk` knows no floating point: thousandths.
fn zephyr_print(what: &str, format: &str) -> String {
    match format {
        "%s" => format!("      printk(\"%s \", {what});\n"),
        _ => format!("      printk(\"%d/1000 \", (int)({what} * 1000.0));\n"),
    }
}
