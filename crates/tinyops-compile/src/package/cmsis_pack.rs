//! A CMSIS-Pack, for µVision, CMSIS-Toolbox and what reads packs besides.
//!
//! # Source
//! Arm, Open-CMSIS-Pack, "Pack Description (*.PDSC) Format", schema version 1.7.28 (`PACK.xsd`), and the rules of `packchk`.

use std::fmt::Write as _;

use tinyops_wire::section::Task;

use super::escape::{plain, xml};
use super::model_c::sources;
use super::papers;
use super::template::{Texts, answer_text};
use super::{Made, Package};

const README: &str = include_str!("texts/cmsis_pack_README.md.in");
const EXAMPLE: &str = include_str!("texts/platformio_main.c.in");

/// Whose packs these are; a pack's vendor is part of its name, and no company stands behind one's own model.
const VENDOR: &str = "TinyOps";

pub(super) fn package(made: &Made<'_>) -> Package {
    let described = made.described;
    let name = &described.identifier;
    let own = sources(made.contents, made.vectors, described, made.parts);
    let print = answer_text(made, |what, format| {
        format!("      printf(\"{format} \", {what});\n")
    }) + "      printf(\"\\n\");\n";
    let files: Vec<&String> = own.keys().collect();
    let pdsc = pdsc(made, &files);
    let texts = Texts::of(made).with([("print", print), ("group", group(made).to_owned())]);
    let mut package = Package::of_sources(made, own);
    // A pack has no top folder.
    package.folder = String::new();
    package.archive = Some(format!(
        "{VENDOR}.{name}.{}.pack",
        described.facts.package_version
    ));
    package.prove(made, "extras");
    let mut put = |path: String, bytes: Vec<u8>| package.files.insert(path, bytes);
    put(format!("{VENDOR}.{name}.pdsc"), pdsc.into_bytes());
    put("README.md".to_owned(), texts.fill(README));
    put("examples/main.c".to_owned(), texts.fill(EXAMPLE));
    package
}

/// What the component is grouped under.
fn group(made: &Made<'_>) -> &'static str {
    match made.contents.decision.task {
        Task::Classify => "Classification",
        Task::Regress => "Regression",
        Task::Anomaly => "Anomaly",
    }
}

fn pdsc(made: &Made<'_>, files: &[&String]) -> String {
    let described = made.described;
    let facts = described.facts;
    let name = &described.identifier;
    let sentence = xml(&format!("{}.", described.sentence));
    let mut listed = String::new();
    for path in files {
        let row = match path.rsplit_once('.') {
            Some((_, "c")) => format!("<file category=\"sourceC\" name=\"src/{path}\"/>"),
            // Internal headers are found beside the sources, and offered to nobody.
            _ if path.as_str() != format!("{name}.h") => continue,
            _ => format!("<file category=\"header\" name=\"src/{path}\"/>"),
        };
        let _ = writeln!(listed, "        {row}");
    }
    let url = match &facts.url {
        Some(url) => {
            let slash = if url.ends_with('/') { "" } else { "/" };
            format!("{}{slash}", xml(url))
        }
        None => String::new(),
    };
    let task = group(made);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<package schemaVersion=\"1.7.28\" xmlns:xs=\"http://www.w3.org/2001/XMLSchema-instance\" xs:noNamespaceSchemaLocation=\"PACK.xsd\">
  <name>{name}</name>
  <description overview=\"README.md\">{sentence}</description>
  <vendor>{VENDOR}</vendor>
  <license>NOTICE</license>
  <licenseSets>
    <licenseSet id=\"all\" default=\"true\" gating=\"false\">
      <license title=\"The model and the runtime\" name=\"NOTICE\" spdx=\"{spdx}\"/>
    </licenseSet>
  </licenseSets>
  <url>{url}</url>
  <releases>
    <release version=\"{version}\">
      Version {model_version} of the model {title}, payload {digest}.
    </release>
  </releases>
  <keywords>
    <keyword>TinyML</keyword>
    <keyword>inference</keyword>
  </keywords>
  <conditions>
    <condition id=\"Cortex-M\">
      <description>A Cortex-M</description>
      <accept Dcore=\"Cortex-M0\"/>
      <accept Dcore=\"Cortex-M0+\"/>
      <accept Dcore=\"Cortex-M1\"/>
      <accept Dcore=\"Cortex-M3\"/>
      <accept Dcore=\"Cortex-M4\"/>
      <accept Dcore=\"Cortex-M7\"/>
      <accept Dcore=\"Cortex-M23\"/>
      <accept Dcore=\"Cortex-M33\"/>
      <accept Dcore=\"Cortex-M35P\"/>
      <accept Dcore=\"Cortex-M52\"/>
      <accept Dcore=\"Cortex-M55\"/>
      <accept Dcore=\"Cortex-M85\"/>
    </condition>
  </conditions>
  <components>
    <component Cclass=\"Machine Learning\" Cgroup=\"{task}\" Csub=\"{name}\" Cversion=\"{version}\" condition=\"Cortex-M\">
      <description>{sentence}</description>
      <files>
        <file category=\"doc\" name=\"README.md\"/>
        <file category=\"include\" name=\"src/\"/>
{listed}        <file category=\"sourceC\" name=\"examples/main.c\" attr=\"template\" select=\"Self test, then windows from standard input\"/>
      </files>
    </component>
  </components>
</package>
",
        spdx = xml(&papers::licence(made)),
        version = xml(&facts.package_version),
        model_version = facts.model_version,
        title = plain(&described.title),
        digest = made.contents.digest,
    )
}
