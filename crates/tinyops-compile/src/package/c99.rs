//! Sources for whoever has a build of their own.

use super::model_c::sources;
use super::template::{Texts, answer_text, listed};
use super::{Made, Package};

const MAIN: &str = include_str!("texts/c99_main.c.in");
const SELFTEST: &str = include_str!("texts/c99_selftest.c.in");
const MAKEFILE: &str = include_str!("texts/c99_Makefile.in");
const CMAKE: &str = include_str!("texts/c99_CMakeLists.txt.in");
const README: &str = include_str!("texts/c99_README.md.in");

pub(super) fn package(made: &Made<'_>) -> Package {
    let own = sources(made.contents, made.vectors, made.described, made.parts);
    let print = answer_text(made, |what, format| {
        format!("    (void)printf(\"{format} \", {what});\n")
    }) + "    (void)printf(\"\\n\");\n";
    let texts = Texts::of(made).with([
        ("print", print),
        (
            "makefile_sources",
            listed(&own, "  src/", " \\")
                .trim_end_matches(" \\\n")
                .to_owned(),
        ),
        (
            "cmake_sources",
            listed(&own, "  src/", "").trim_end().to_owned(),
        ),
    ]);
    let mut package = Package::of_sources(made, own);
    package.folder = format!("{}-c99", made.described.identifier);
    package.prove(made, "vectors");
    let mut put = |path: &str, bytes: Vec<u8>| package.files.insert(path.to_owned(), bytes);
    put("example/main.c", texts.fill(MAIN));
    put("check/selftest.c", texts.fill(SELFTEST));
    put("Makefile", texts.fill(MAKEFILE));
    put("CMakeLists.txt", texts.fill(CMAKE));
    put("README.md", texts.fill(README));
    package
}
