//! What is in every package beside sources: manifest, bill of materials, licences, what changed.

use serde_json::{Value, json};
use tinyops_nn::distance::DistanceKind;
use tinyops_nn::{Plan, Program, TensorView};
use tinyops_wire::{Digest, base64};

use super::contents::Contents;
use super::escape::{hex, plain};
use super::needed::{block, operator};
use super::rust::LIBM;
use super::vectors::element;
use super::{Ecosystem, Made, Package};

const MIT: &str = include_str!("../../../../LICENSE-MIT");
const APACHE: &str = include_str!("../../../../LICENSE-APACHE");
/// The flags that the sources want; where a build cannot be told, `exact.h` says the one that changes bytes.
pub(super) const FLAGS: [&str; 4] = [
    "-O2",
    "-ffp-contract=off",
    "-ffunction-sections",
    "-fdata-sections",
];
/// The licences of the runtime, as SPDX names them; those of SunPro and musl are of its mathematics.
pub(super) const RUNTIME_LICENCE: &str = "(MIT OR Apache-2.0) AND SunPro AND MIT";

/// What wrote the package.
pub(super) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Adds the papers to the sources.
pub(super) fn add(package: &mut Package, ecosystem: Ecosystem, made: &Made<'_>) {
    let pretty = |value: &Value| {
        serde_json::to_string_pretty(value).expect("a value of JSON has a text") + "\n"
    };
    let papers = [
        ("LICENSE-MIT", MIT.to_owned()),
        ("LICENSE-APACHE", APACHE.to_owned()),
        ("NOTICE", notice(made)),
        ("CHANGELOG.md", changelog(made)),
        ("manifest.json", pretty(&manifest(ecosystem, made))),
        ("sbom.cdx.json", pretty(&sbom(ecosystem, made))),
    ];
    for (path, text) in papers {
        package.files.insert(path.to_owned(), text.into_bytes());
    }
}

/// How to check a package, for the end of every README.
pub(super) fn verification(made: &Made<'_>) -> String {
    format!(
        "## What is in it
`manifest.json` says what the model is, what it takes and where it comes from; `sbom.cdx.json` is the bill of materials \
(CycloneDX 1.6). `NOTICE` says under which licences all of it is.

`SHA256SUMS` lists every file: `sha256sum -c SHA256SUMS`. Where a `SHA256SUMS.sig` stands beside it, it is signed with Ed25519 \
by the key in `release-key.pem`:
```sh
openssl pkeyutl -verify -pubin -inkey release-key.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
```
That key is worth what you know of it from elsewhere: `tinyops keys show` tells its fingerprint, the SHA-256 of its 32 bytes. \
Where there is no signature, nobody has signed the package.

The self test has {count} vectors, {recorded} of them recorded with the model. Each is compared byte for byte with what the \
Rust runtime made of it on the machine where the package was made: features, {stages}.
",
        count = made.vectors.len(),
        stages = match made.contents.plan() {
            Some(_) => "input and output of the network",
            None => "scaled features and score",
        },
        recorded = made.vectors.iter().filter(|vector| vector.is_recorded()).count(),
    )
}

fn notice(made: &Made<'_>) -> String {
    let described = made.described;
    format!(
        "{title}\n
The model (its data in the sources, and what was made of them): {licence}.

The runtime of TinyOps {version} that runs it: MIT or Apache-2.0, at your choice; see LICENSE-MIT and
LICENSE-APACHE. Its mathematics (elementary.c, or libm) follow FreeBSD's msun and musl:

  Copyright (C) 1993, 2004 by Sun Microsystems, Inc. All rights reserved. Developed at SunSoft and
  SunPro, Sun Microsystems, Inc. businesses. Permission to use, copy, modify, and distribute this
  software is freely granted, provided that this notice is preserved.

  Copyright (C) 2005-2020 Rich Felker, et al., under the MIT licence.
",
        title = described.title,
        licence = match &described.facts.licence {
            Some(licence) => plain(licence),
            None => "its licence was not stated; ask whom you have it from".to_owned(),
        },
        version = version(),
    )
}

fn changelog(made: &Made<'_>) -> String {
    let facts = &made.described.facts;
    format!(
        "# Changes\n\n## {}\nVersion {} of the model `{}`, payload {}, with the runtime of TinyOps {}.\n",
        facts.package_version,
        facts.model_version,
        plain(&facts.name),
        made.contents.digest,
        version(),
    )
}

/// The licence of the whole package as SPDX has it. What was not stated is a reference of its own, and so is what is no
/// plain identifier.
pub(super) fn licence(made: &Made<'_>) -> String {
    let model = match &made.described.facts.licence {
        Some(licence) if is_licence_id(licence) => licence.clone(),
        Some(_) => "LicenseRef-model".to_owned(),
        None => "LicenseRef-not-stated".to_owned(),
    };
    format!("{model} AND {RUNTIME_LICENCE}")
}

fn is_licence_id(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-.+".contains(c);
    !text.is_empty() && text.chars().all(is_letter)
}

/// Name and mail address of `Ada <ada@example.org>`.
pub(super) fn person(author: &str) -> (&str, Option<&str>) {
    let found = author.split_once('<').and_then(|(name, rest)| {
        let mail = rest.trim_end().strip_suffix('>')?;
        Some((name.trim(), Some(mail)))
    });
    found.unwrap_or((author, None))
}

fn manifest(ecosystem: Ecosystem, made: &Made<'_>) -> Value {
    let tensor = |view: TensorView| {
        json!({
            "shape": view.shape,
            "element": element(view.element),
            "scale": view.scale,
            "zero_point": view.zero_point,
        })
    };
    let contents = made.contents;
    let facts = &made.described.facts;
    let front_end = &contents.front_end;
    let network = |plan: &Plan<'_>| {
        let operators = contents.operators().into_iter();
        json!({
            "operators": operators.map(|found| operator(found).0).collect::<Vec<_>>(),
            "input": tensor(plan.input()),
            "output": tensor(plan.output()),
        })
    };
    let sensor: Vec<Value> = contents
        .sensor
        .iter()
        .flat_map(|sensor| sensor.channels())
        .map(|channel| {
            json!({ "axis": channel.axis, "unit": channel.unit, "full_scale": channel.full_scale })
        })
        .collect();
    let mounting = contents.sensor.and_then(|sensor| sensor.mounting());
    let tolerance = contents.sensor.map(|sensor| sensor.rate_tolerance_ppm());
    let recorded = made.vectors.iter().filter(|vector| vector.is_recorded());
    let mut parts: Vec<&str> = made.parts.iter().map(|part| part.name()).collect();
    parts.sort_unstable();
    json!({
        "format": 1,
        "ecosystem": ecosystem.name(),
        "package": {
            "name": made.described.identifier,
            "version": facts.package_version,
            "description": made.described.sentence,
            "author": facts.author,
            "url": facts.url,
            "licence": licence(made),
            "parts": parts,
        },
        "model": {
            "name": facts.name,
            "version": facts.model_version,
            "task": contents.task(),
            "classes": contents.labels,
            "threshold": contents.decision.threshold,
            "min_confidence": contents.decision.min_confidence,
            "licence": facts.licence,
        },
        "digests": {
            "payload": contents.digest.to_string(),
            "program": Digest::of(contents.program_bytes).to_string(),
            "capsule": facts.capsule,
        },
        "window": {
            "rate_hz": front_end.rate_hz,
            "channels": front_end.channel_count,
            "readings_per_channel": front_end.window_len,
            "sensor": sensor,
            "mounting": mounting.map(|mounting| mounting.to_string()),
            "rate_tolerance_ppm": tolerance,
        },
        "front_end": {
            "block": block(&front_end.block),
            "features": front_end.feature_count(),
            "section": hex(contents.front_end_bytes),
        },
        "network": contents.plan().map(network),
        "distance": distance(contents),
        "memory": {
            "payload_bytes": contents.payload_bytes,
            "program_bytes": contents.program_bytes.len(),
            "arena_bytes": contents.program.arena_bytes(),
            "features_bytes": 4 * front_end.feature_count(),
            "scratch_bytes": 4 * front_end.scratch_len(),
        },
        "vectors": { "count": made.vectors.len(), "recorded": recorded.count() },
        "compiler": { "name": "tinyops", "version": version(), "c_flags": FLAGS },
        "estimates": facts.estimates,
        "provenance": facts.provenance,
    })
}

/// What features are measured against, where that is the model.
fn distance(contents: &Contents<'_>) -> Option<Value> {
    match &contents.program {
        Program::Plan(_) => None,
        Program::Distance(distance) => Some(json!({
            // As project files call it.
            "kind": match distance.kind() {
                DistanceKind::KMeans => "k_means",
                DistanceKind::Mahalanobis => "mahalanobis",
            },
            "features": distance.feature_count(),
        })),
    }
}

/// The bill of materials. What would make it differ from one day to the next, its time and serial number, it may leave out.
///
/// # Source
/// CycloneDX 1.6, the JSON schema.
fn sbom(ecosystem: Ecosystem, made: &Made<'_>) -> Value {
    let facts = &made.described.facts;
    let name = &made.described.identifier;
    let model_licence = match &facts.licence {
        Some(licence) => json!([{ "license": { "name": licence } }]),
        None => json!([{ "license": { "name": "not stated" } }]),
    };
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": { "components": [
                { "type": "application", "name": "tinyops", "version": version() },
            ] },
            "component": {
                "type": "library",
                "bom-ref": "package",
                "name": name,
                "version": facts.package_version,
                "description": made.described.sentence,
                "licenses": [{ "expression": licence(made) }],
            },
        },
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": facts.name,
                "version": facts.model_version.to_string(),
                "hashes": [{ "alg": "SHA-256", "content": made.contents.digest.to_string() }],
                "licenses": model_licence,
            },
            {
                "type": "library",
                "bom-ref": "runtime",
                "name": "tinyops-runtime",
                "version": version(),
                "licenses": [{ "expression": RUNTIME_LICENCE }],
            },
        ],
        "dependencies": [
            { "ref": "package", "dependsOn": ["model", "runtime"] },
            { "ref": "model" },
            { "ref": "runtime" },
        ],
    });
    if ecosystem == Ecosystem::Rust {
        let libm = json!({
            "type": "library",
            "bom-ref": "libm",
            "name": "libm",
            "version": LIBM,
            "purl": format!("pkg:cargo/libm@{LIBM}"),
            "licenses": [{ "license": { "id": "MIT" } }],
        });
        bill["components"]
            .as_array_mut()
            .expect("a list")
            .push(libm);
        bill["dependencies"][2]["dependsOn"] = json!(["libm"]);
        bill["dependencies"]
            .as_array_mut()
            .expect("a list")
            .push(json!({ "ref": "libm" }));
    }
    bill
}

/// An Ed25519 key as OpenSSL and others read it.
///
/// # Source
/// RFC 8410, sections 4 and 10.1.
pub(super) fn pem(key: [u8; 32]) -> String {
    /// SEQUENCE { SEQUENCE { OID 1.3.101.112 } BIT STRING }, as far as the key.
    const HEAD: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    const LEN: usize = base64::encoded_len(HEAD.len() + 32);
    let mut text = [0; LEN];
    base64::encode(&[&HEAD[..], &key].concat(), &mut text).expect("it has room for a key");
    let text = String::from_utf8_lossy(&text);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_rfc_8410_does() {
        // The public key of its section 10.1.
        let key = [
            0x19, 0xbf, 0x44, 0x09, 0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41, 0xba, 0xc1, 0x67, 0xdc,
            0x3b, 0x96, 0xc8, 0x50, 0x86, 0xaa, 0x30, 0xb6, 0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad,
            0x70, 0x31, 0x66, 0xe1,
        ];
        assert_eq!(
            pem(key),
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
        );
    }
}
