//! A model as a package of an ecosystem: the sources that run it, the proof that they do, and the papers.
//!
//! The same payload, facts and parts give the same bytes: no clock, no path of this machine, no order that a hash chose.

mod archive;
mod arduino;
mod c99;
mod cmsis_pack;
mod contents;
mod edge_impulse;
mod escape;
mod esp_idf;
mod model_c;
mod name;
mod needed;
mod papers;
mod platformio;
mod rust;
mod rust_program;
mod sources;
mod template;
mod vectors;
mod zephyr;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tinyops_wire::Digest;

use crate::fit::Fit;
use crate::replay::ReplayError;
use contents::Contents;
use vectors::Vector;

/// Where a package goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Ecosystem {
    /// Sources with a Makefile and a CMake file.
    C99,
    /// A library for the Arduino IDE and arduino-cli.
    Arduino,
    /// A component for ESP-IDF.
    EspIdf,
    /// A module for Zephyr.
    Zephyr,
    /// A CMSIS-Pack.
    CmsisPack,
    /// A library for PlatformIO.
    Platformio,
    /// A crate.
    Rust,
}

impl Ecosystem {
    /// All of them, in the order of their names on the command line.
    pub const ALL: [Ecosystem; 7] = [
        Ecosystem::C99,
        Ecosystem::Arduino,
        Ecosystem::EspIdf,
        Ecosystem::Zephyr,
        Ecosystem::CmsisPack,
        Ecosystem::Platformio,
        Ecosystem::Rust,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Ecosystem::C99 => "c99",
            Ecosystem::Arduino => "arduino",
            Ecosystem::EspIdf => "esp-idf",
            Ecosystem::Zephyr => "zephyr",
            Ecosystem::CmsisPack => "cmsis-pack",
            Ecosystem::Platformio => "platformio",
            Ecosystem::Rust => "rust",
        }
    }

    /// What a package is there, in a few words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Ecosystem::C99 => "sources with a Makefile and a CMake file",
            Ecosystem::Arduino => "a library for the Arduino IDE and arduino-cli",
            Ecosystem::EspIdf => "a component for ESP-IDF 5.0 and newer",
            Ecosystem::Zephyr => "a module for Zephyr, with a sample and a test for twister",
            Ecosystem::CmsisPack => "a CMSIS-Pack, for Cortex-M",
            Ecosystem::Platformio => "a library for PlatformIO",
            Ecosystem::Rust => "a crate without std, with the runtime's crates beside it",
        }
    }

    /// The ecosystem of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Ecosystem> {
        Ecosystem::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// What a package brings beside model, front end and operators: parts of the agent, or another interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Part {
    /// Verification of capsules.
    Capsule,
    /// What makes a capsule out of another and a delta; needs the capsule.
    Delta,
    /// Two slots and a journal in flash; needs the delta.
    Slots,
    /// Sketches, alarms and reports; the package carries the baseline.
    Monitor,
    /// `run_classifier()`, so that a sketch for Edge Impulse compiles as it is.
    EdgeImpulse,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 5] = [
        Part::Capsule,
        Part::Delta,
        Part::Slots,
        Part::Monitor,
        Part::EdgeImpulse,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Capsule => "capsule",
            Part::Delta => "delta",
            Part::Slots => "slots",
            Part::Monitor => "monitor",
            Part::EdgeImpulse => "edge-impulse",
        }
    }

    /// The part of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.name() == name)
    }

    /// Its header and the folder of its sources; none of what is not of the C99 runtime.
    fn of_runtime(self) -> Option<(&'static str, &'static str)> {
        match self {
            Part::Capsule => Some(("tinyops_capsule.h", "src/capsule/")),
            Part::Delta => Some(("tinyops_delta.h", "src/delta/")),
            Part::Slots => Some(("tinyops_slots.h", "src/slots/")),
            Part::Monitor => Some(("tinyops_monitor.h", "src/monitor/")),
            Part::EdgeImpulse => None,
        }
    }

    /// What it does not work without.
    fn needs(self) -> &'static [Part] {
        match self {
            Part::Capsule | Part::Monitor | Part::EdgeImpulse => &[],
            Part::Delta => &[Part::Capsule],
            Part::Slots => &[Part::Capsule, Part::Delta],
        }
    }
}

/// What a package says of its model beside what the payload knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The model's name in the registry; the package's own name follows from it.
    pub name: String,
    /// The model's version in the registry.
    pub model_version: u32,
    /// The package's version, as semantic versioning has it.
    pub package_version: String,
    /// One sentence; without it the payload's shape gives one.
    pub description: Option<String>,
    /// Who answers for it: `Name <mail>`.
    pub author: Option<String>,
    /// Where it is told of.
    pub url: Option<String>,
    /// The licence of the model itself, as SPDX names it; the runtime has its own.
    pub licence: Option<String>,
    /// SHA-256 of the signed capsule that carries the payload, where there is one.
    pub capsule: Option<String>,
    /// What the model takes of boards.
    pub estimates: Vec<Fit>,
    /// Where it comes from: dataset, run, code, as far as that is known.
    pub provenance: serde_json::Value,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The payload is not sound.
    #[error(transparent)]
    Payload(#[from] ReplayError),
    /// A golden vector comes out otherwise.
    #[error("golden vector {vector} comes out otherwise on this host")]
    Differs {
        /// Which, from 0.
        vector: usize,
    },
    /// Several inputs or outputs.
    #[error("the network has not one input and one output")]
    InputsOrOutputs,
    /// Parts that do not fit each other.
    #[error("the payload's sections do not fit each other: {0}")]
    Incoherent(&'static str),
    /// A name that gives no identifier.
    #[error("`{name}` gives no name that a C program can use")]
    Name {
        /// The name.
        name: String,
    },
    /// Not a version.
    #[error("`{version}` is no version of three numbers, such as 1.0.0")]
    Version {
        /// What was given.
        version: String,
    },
    /// An operator that the C99 runtime has not.
    #[error("operator `{operator}` exists in Rust only")]
    NoKernel {
        /// What the C99 runtime would call it.
        operator: String,
    },
    /// Parts of the agent for a crate.
    #[error("a crate brings no parts of the agent")]
    NoParts,
    /// The calls of Edge Impulse's library where nobody compiles C++.
    #[error("packages for {} bring no calls of Edge Impulse's library", ecosystem.name())]
    NoShim {
        /// Where the package was to go.
        ecosystem: Ecosystem,
    },
    /// A line break or another control character where a package has one line.
    #[error("the {what} holds a line break or another control character")]
    Control {
        /// Which fact.
        what: &'static str,
    },
}

/// The files of a package, by their paths from its top folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    files: BTreeMap<String, Vec<u8>>,
    folder: String,
    archive: Option<String>,
}

/// The list of digests, which is what is signed.
const SUMS: &str = "SHA256SUMS";

impl Package {
    /// Every file, in order of the paths.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// What the folder is called that holds it.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// What the ecosystem calls the package as one file; `None` where it takes a folder.
    #[must_use]
    pub fn archive_name(&self) -> Option<&str> {
        self.archive.as_deref()
    }

    /// The package as one ZIP archive.
    #[must_use]
    pub fn archive(&self) -> Vec<u8> {
        archive::zip(&self.folder, &self.files)
    }

    /// The digests of all files: what [`Package::with_signature`] wants signed.
    #[must_use]
    pub fn sums(&self) -> &[u8] {
        &self.files[SUMS]
    }

    /// Adds a signature of [`Package::sums`] and the key under which it is one, in a form that other tools read.
    pub fn with_signature(&mut self, signature: [u8; 64], key: [u8; 32]) {
        self.files.insert(format!("{SUMS}.sig"), signature.to_vec());
        self.files
            .insert("release-key.pem".to_owned(), papers::pem(key).into_bytes());
    }
}

/// What every module of this folder needs to know of the package.
struct Described<'a> {
    facts: &'a Facts,
    /// What the model is called in sources.
    identifier: String,
    /// `fan 3`, or `fan` of what is in no registry, in plain letters.
    title: String,
    /// One sentence without its full stop.
    sentence: String,
}

/// Makes the package of a payload.
///
/// # Errors
/// [`PackageError`].
pub fn package(
    ecosystem: Ecosystem,
    payload: &[u8],
    facts: &Facts,
    parts: &[Part],
) -> Result<Package, PackageError> {
    let contents = Contents::read(payload)?;
    check(facts)?;
    let identifier = name::identifier(&facts.name).ok_or_else(|| PackageError::Name {
        name: facts.name.clone(),
    })?;
    let described = Described {
        title: match facts.model_version {
            0 => escape::plain(&facts.name),
            version => format!("{} {version}", escape::plain(&facts.name)),
        },
        sentence: match &facts.description {
            Some(text) => text.trim_end_matches('.').to_owned(),
            None => sentence(&contents),
        },
        facts,
        identifier,
    };
    if let Some(operator) = needed::missing(&contents)
        && ecosystem != Ecosystem::Rust
    {
        return Err(PackageError::NoKernel { operator });
    }
    let parts = with_needed(parts);
    if parts.contains(&Part::EdgeImpulse) && !edge_impulse::goes_with(ecosystem) {
        return Err(PackageError::NoShim { ecosystem });
    }
    let vectors = vectors::vectors(&contents, payload)?;
    let made = Made {
        contents: &contents,
        vectors: &vectors,
        described: &described,
        parts: &parts,
        payload,
    };
    let mut package = match ecosystem {
        Ecosystem::C99 => c99::package(&made),
        Ecosystem::Arduino => arduino::package(&made),
        Ecosystem::EspIdf => esp_idf::package(&made),
        Ecosystem::Zephyr => zephyr::package(&made),
        Ecosystem::CmsisPack => cmsis_pack::package(&made),
        Ecosystem::Platformio => platformio::package(&made),
        Ecosystem::Rust => rust::package(&made)?,
    };
    papers::add(&mut package, ecosystem, &made);
    let mut sums = format!(
        "# TinyOps package 1: {} {} for {}\n",
        described.identifier,
        facts.package_version,
        ecosystem.name()
    );
    for (path, bytes) in &package.files {
        let _ = writeln!(sums, "{}  {path}", Digest::of(bytes));
    }
    package.files.insert(SUMS.to_owned(), sums.into_bytes());
    Ok(package)
}

/// What an ecosystem makes its package of.
struct Made<'a> {
    contents: &'a Contents<'a>,
    vectors: &'a [Vector],
    described: &'a Described<'a>,
    parts: &'a [Part],
    payload: &'a [u8],
}

impl Package {
    /// A package with the model's own C files below `src`, called as the model until its ecosystem calls it otherwise.
    fn of_sources(made: &Made<'_>, sources: BTreeMap<String, Vec<u8>>) -> Package {
        let files = sources.into_iter();
        Package {
            files: files
                .map(|(path, bytes)| (format!("src/{path}"), bytes))
                .collect(),
            folder: made.described.identifier.clone(),
            archive: None,
        }
    }

    /// Adds what the self test proves, for programs to read.
    fn prove(&mut self, made: &Made<'_>, folder: &str) {
        self.files
            .insert(format!("{folder}/payload.bin"), made.payload.to_vec());
        self.files.insert(
            format!("{folder}/vectors.json"),
            vectors::vectors_json(made.vectors),
        );
    }
}

/// Parts with those that they need, in order.
fn with_needed(parts: &[Part]) -> Vec<Part> {
    let is_in = |part: &Part| {
        parts
            .iter()
            .any(|given| given == part || given.needs().contains(part))
    };
    Part::ALL.into_iter().filter(is_in).collect()
}

fn check(facts: &Facts) -> Result<(), PackageError> {
    if !name::is_semver(&facts.package_version) {
        return Err(PackageError::Version {
            version: facts.package_version.clone(),
        });
    }
    let given = [
        ("name", Some(&facts.name)),
        ("description", facts.description.as_ref()),
        ("author", facts.author.as_ref()),
        ("address", facts.url.as_ref()),
        ("licence", facts.licence.as_ref()),
    ];
    for (what, text) in given {
        if text.is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(PackageError::Control { what });
        }
    }
    Ok(())
}

/// What the payload itself says of the model.
fn sentence(contents: &Contents<'_>) -> String {
    let front_end = &contents.front_end;
    let answer = match contents.decision.task {
        tinyops_wire::section::Task::Classify => {
            format!("one of {} classes", contents.labels.len())
        }
        tinyops_wire::section::Task::Regress => "a number".to_owned(),
        tinyops_wire::section::Task::Anomaly => "how unusual it is".to_owned(),
    };
    let rate = match front_end.rate_hz {
        0.0 => String::new(),
        rate => format!(" at {rate} Hz"),
    };
    let channels = match front_end.channel_count {
        1 => "one channel".to_owned(),
        count => format!("{count} channels"),
    };
    format!(
        "A window of {} readings of {channels}{rate} gives {answer}",
        front_end.window_len
    )
}
