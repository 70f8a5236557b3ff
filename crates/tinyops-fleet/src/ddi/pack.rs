//! What a Linux client downloads: the capsule and the statement, as two files or in one `.swu`.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tinyops_store::capsule::Capsule;
use tinyops_store::ddi::Packing;

use crate::enrol::hex;

/// Where SWUpdate puts both files.
pub const SWU_FOLDER: &str = "/var/lib/tinyops";

/// One artifact of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Digests of an artifact, in hex, as clients check them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Hashes {
    pub sha1: String,
    pub md5: String,
    pub sha256: String,
}

impl Artifact {
    /// Its digests.
    pub fn hashes(&self) -> Hashes {
        Hashes {
            sha1: hex(&Sha1::digest(&self.bytes)),
            md5: hex(&Md5::digest(&self.bytes)),
            sha256: hex(&Sha256::digest(&self.bytes)),
        }
    }
}

/// The artifacts of a capsule and the statement for one device.
pub(super) fn pack(
    packing: Packing,
    row: &Capsule,
    capsule: &[u8],
    statement: &[u8],
) -> Vec<Artifact> {
    let file = |ending: &str, bytes: &[u8]| Artifact {
        name: format!("{}.{ending}", row.model),
        bytes: bytes.to_vec(),
    };
    let files = [file("capsule", capsule), file("statement", statement)];
    match packing {
        Packing::Files => files.into(),
        Packing::Swu => vec![file("swu", &swu(row, &files))],
    }
}

/// An image of SWUpdate: a cpio archive whose first member says what to do with the others.
fn swu(row: &Capsule, files: &[Artifact]) -> Vec<u8> {
    let entries: Vec<String> = files
        .iter()
        .map(|file| {
            let sha256 = file.hashes().sha256;
            format!(
                "\t\t{{ filename = \"{0}\"; path = \"{SWU_FOLDER}/{0}\"; sha256 = \"{sha256}\"; \
                 properties = {{ create-destination = \"true\"; }}; }}",
                file.name
            )
        })
        .collect();
    let description = format!(
        "software =\n{{\n\tversion = \"{}\";\n\tdescription = \"{}@{} for {}\";\n\tfiles: (\n{}\n\t);\n}}\n",
        row.version,
        row.model,
        row.version,
        row.board,
        entries.join(",\n")
    );
    let mut archive = Vec::new();
    member(&mut archive, "sw-description", description.as_bytes());
    for file in files {
        member(&mut archive, &file.name, &file.bytes);
    }
    member(&mut archive, "TRAILER!!!", &[]);
    archive
}

/// Appends a member in cpio's "new CRC" format: thirteen numbers of eight hex digits behind `070702`, the name with
/// a zero, the bytes; name and bytes each filled up to a multiple of four.
fn member(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let is_file = !name.starts_with("TRAILER");
    let sum = bytes
        .iter()
        .fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    let fill = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(b"070702");
    let (inode, mode) = match is_file {
        true => (archive.len() as u32, 0o100_644),
        false => (0, 0),
    };
    let [uid, gid, links, time, major, minor, of_major, of_minor] =
        [0, 0, u32::from(is_file), 0, 0, 0, 0, 0];
    let numbers = [
        inode,
        mode,
        uid,
        gid,
        links,
        time,
        bytes.len() as u32,
        major,
        minor,
        of_major,
        of_minor,
        name.len() as u32 + 1,
        sum,
    ];
    for number in numbers {
        archive.extend_from_slice(format!("{number:08X}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    fill(archive);
    archive.extend_from_slice(bytes);
    fill(archive);
}
