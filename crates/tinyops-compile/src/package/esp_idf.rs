//! A component for ESP-IDF.
//!
//! # Source
//! Espressif, "Build System" of ESP-IDF, and "Manifest File `idf_component.yml`" of the component manager.

use std::fmt::Write as _;

use super::escape::json_string;
use super::model_c::sources;
use super::papers;
use super::template::{Texts, answer_text, listed};
use super::{Made, Package};

const MAIN: &str = include_str!("texts/esp_idf_main.c.in");
const TEST: &str = include_str!("texts/esp_idf_test.c.in");
const README: &str = include_str!("texts/esp_idf_README.md.in");

const CMAKE: &str = "set(sources
@{sources}
)
if(NOT CONFIG_@{upper}_SELFTEST)
  list(REMOVE_ITEM sources \"src/@{name}_golden.c\")
endif()
idf_component_register(SRCS ${sources} INCLUDE_DIRS \"src\")
target_compile_options(${COMPONENT_LIB} PRIVATE -ffp-contract=off)
";

const KCONFIG: &str = "menu \"@{title}\"

    config @{upper}_SELFTEST
        bool \"Build the self test\"
        default y
        help
            The vectors with which @{name}_selftest() proves the model on this chip. A program that does not call it
            does not carry them either way.

endmenu
";

const PROJECT: &str = "cmake_minimum_required(VERSION 3.16)
set(EXTRA_COMPONENT_DIRS \"../..\")
include($ENV{IDF_PATH}/tools/cmake/project.cmake)
project(@{name}_@{what})
";

/// The component's folder may be called anything; a name in `REQUIRES` is that of the folder, and `main` requires all.
const MAIN_CMAKE: &str = "idf_component_register(SRCS \"main.c\" INCLUDE_DIRS \".\")\n";

/// Unity runs what `main` names, so that nothing of it may be left out by the linker.
const TEST_CMAKE: &str =
    "idf_component_register(SRCS \"test_main.c\" INCLUDE_DIRS \".\" WHOLE_ARCHIVE)\n";

const PARTITIONS: &str = "# Name, Type, SubType, Offset, Size
nvs,      data, nvs,   0x9000,  0x5000
otadata,  data, ota,   0xe000,  0x2000
ota_0,    app,  ota_0, 0x10000, 0x1e0000
ota_1,    app,  ota_1, 0x1f0000, 0x1e0000
";

const DEFAULTS: &str = "CONFIG_ESPTOOLPY_FLASHSIZE_4MB=y
CONFIG_PARTITION_TABLE_CUSTOM=y
CONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"partitions.csv\"
CONFIG_COMPILER_OPTIMIZATION_PERF=y
CONFIG_ESP_MAIN_TASK_STACK_SIZE=8192
";

pub(super) fn package(made: &Made<'_>) -> Package {
    let described = made.described;
    let own = sources(made.contents, made.vectors, described, made.parts);
    let sources = listed(&own, "  \"src/", "\"");
    let print = answer_text(made, |what, format| {
        format!("      printf(\"{format} \", {what});\n")
    }) + "      printf(\"\\n\");\n";
    let texts =
        Texts::of(made).with([("sources", sources.trim_end().to_owned()), ("print", print)]);
    // A component is called as its folder.
    let mut package = Package::of_sources(made, own);
    package.prove(made, "extras");
    let mut put = |path: &str, bytes: Vec<u8>| package.files.insert(path.to_owned(), bytes);
    put("CMakeLists.txt", texts.fill(CMAKE));
    put("Kconfig", texts.fill(KCONFIG));
    put("idf_component.yml", manifest(made).into_bytes());
    put("README.md", texts.fill(README));
    for (folder, what, cmake, source, text) in [
        ("examples/classify", "classify", MAIN_CMAKE, "main.c", MAIN),
        ("test_apps/golden", "test", TEST_CMAKE, "test_main.c", TEST),
    ] {
        let project = PROJECT.replace("@{what}", what);
        put(&format!("{folder}/CMakeLists.txt"), texts.fill(&project));
        put(&format!("{folder}/main/CMakeLists.txt"), texts.fill(cmake));
        put(&format!("{folder}/main/{source}"), texts.fill(text));
    }
    put("examples/classify/partitions.csv", texts.fill(PARTITIONS));
    put("examples/classify/sdkconfig.defaults", texts.fill(DEFAULTS));
    put(
        "test_apps/golden/sdkconfig.defaults",
        b"CONFIG_ESP_MAIN_TASK_STACK_SIZE=8192\n".to_vec(),
    );
    package
}

/// Targets are left out: every chip of Espressif's is of 32 bits, and the sources know none.
fn manifest(made: &Made<'_>) -> String {
    let facts = made.described.facts;
    let mut out = format!(
        "version: {}\ndescription: {}\nlicense: {}\n",
        json_string(&facts.package_version),
        json_string(&format!("{}.", made.described.sentence)),
        json_string(&papers::licence(made)),
    );
    if let Some(url) = &facts.url {
        let _ = writeln!(out, "url: {}", json_string(url));
    }
    if let Some(author) = &facts.author {
        let _ = writeln!(out, "maintainers:\n  - {}", json_string(author));
    }
    out + "tags:\n  - tinyml\n  - inference\ndependencies:\n  idf:\n    version: \">=5.0\"\n"
}
