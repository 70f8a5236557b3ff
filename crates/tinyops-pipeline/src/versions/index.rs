//! What each file was when it was last read, so that it is not read again while length, time and inode are the same.
//!
//! ```text
//! tinyops-index 1 LF
//! for each file, in the order of its tree; numbers are little-endian:
//!   kept u8 | bytes u64 | changed_ns i64 | inode u64 | digest [32] | path_len u16 | path
//! SHA-256 of all before
//! ```
//! An index that is damaged or missing costs time, nothing else.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tinyops_data::tree::{Content, Kept};
use tinyops_store::{Digest, DigestBuilder};

use super::walk::Stat;

const HEADER: &[u8] = b"tinyops-index 1\n";

/// How far a file system's clock may lag behind a change that it stamps, nanoseconds: Linux stamps by its tick, 10 ms at
/// most.
const TICK_NS: i64 = 20_000_000;
/// The same where times have whole seconds only, such as FAT, which counts two of them.
const COARSE_NS: i64 = 2_000_000_000;

/// Never a file's time: what is noted with it is read again.
const UNKNOWN_NS: i64 = i64::MIN;

/// One file as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) content: Content,
    pub(super) stat: Stat,
}

impl Noted {
    /// A file that was read when its file system's clock showed at least `now_ns`. One that changed about then might
    /// change again within the same tick of the clock, and nobody could tell: it will be read again.
    pub(super) fn at(content: Content, stat: Stat, now_ns: i64) -> Noted {
        let tick = match stat.changed_ns % 1_000_000_000 {
            0 => COARSE_NS,
            _ => TICK_NS,
        };
        let is_racy = stat.changed_ns.saturating_add(tick) >= now_ns;
        let changed_ns = if is_racy { UNKNOWN_NS } else { stat.changed_ns };
        Noted {
            content,
            stat: Stat { changed_ns, ..stat },
        }
    }
}

/// Reads an index beside a walk in the same order.
pub(super) struct IndexReader {
    file: BufReader<io::Take<File>>,
    next: Option<(Vec<u8>, Noted)>,
}

impl IndexReader {
    /// Opens an index; none if it is missing or damaged.
    pub(super) fn open(path: &Path) -> Option<IndexReader> {
        let mut file = File::open(path).ok()?;
        let body = file.metadata().ok()?.len().checked_sub(32)?;
        let mut hash = DigestBuilder::new();
        let mut block = vec![0; 1 << 16];
        let mut left = body;
        while left > 0 {
            let most = usize::try_from(left)
                .unwrap_or(block.len())
                .min(block.len());
            match file.read(&mut block[..most]).ok()? {
                0 => return None,
                count => {
                    hash.update(&block[..count]);
                    left -= count as u64;
                }
            }
        }
        let mut told = [0; 32];
        file.read_exact(&mut told).ok()?;
        if hash.finish() != Digest(told) {
            return None;
        }
        io::Seek::rewind(&mut file).ok()?;
        let mut file = BufReader::with_capacity(1 << 16, file.take(body));
        let mut header = [0; HEADER.len()];
        file.read_exact(&mut header).ok()?;
        if header != HEADER {
            return None;
        }
        let mut index = IndexReader { file, next: None };
        index.next = index.read();
        Some(index)
    }

    /// What is noted of a path; the paths asked for go forward.
    pub(super) fn find(&mut self, path: &[u8]) -> Option<Noted> {
        while let Some((next, noted)) = &self.next {
            match next.as_slice().cmp(path) {
                std::cmp::Ordering::Less => self.next = self.read(),
                std::cmp::Ordering::Equal => return Some(*noted),
                std::cmp::Ordering::Greater => return None,
            }
        }
        None
    }

    fn read(&mut self) -> Option<(Vec<u8>, Noted)> {
        let mut head = [0; 59];
        self.file.read_exact(&mut head).ok()?;
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight"));
        let kept = match head[0] {
            0 => Kept::File,
            _ => Kept::Chunks,
        };
        let bytes = number(1);
        let digest = Digest(head[25..57].try_into().expect("32 bytes"));
        let length = u16::from_le_bytes([head[57], head[58]]);
        let mut path = vec![0; usize::from(length)];
        self.file.read_exact(&mut path).ok()?;
        let noted = Noted {
            content: Content {
                kept,
                digest,
                bytes,
            },
            stat: Stat {
                bytes,
                changed_ns: number(9).cast_signed(),
                inode: number(17),
            },
        };
        Some((path, noted))
    }
}

/// Writes an index beside the old one, which it replaces at the end.
pub(super) struct IndexWriter {
    file: BufWriter<File>,
    hash: DigestBuilder,
    record: Vec<u8>,
    part: PathBuf,
    path: PathBuf,
}

impl IndexWriter {
    pub(super) fn create(path: &Path) -> io::Result<IndexWriter> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = path.with_extension(format!("part.{}", std::process::id()));
        let file = BufWriter::with_capacity(1 << 16, File::create(&part)?);
        let mut index = IndexWriter {
            file,
            hash: DigestBuilder::new(),
            record: HEADER.to_vec(),
            part,
            path: path.to_path_buf(),
        };
        index.flush_record()?;
        Ok(index)
    }

    pub(super) fn add(&mut self, path: &[u8], noted: &Noted) -> io::Result<()> {
        let Ok(length) = u16::try_from(path.len()) else {
            return Ok(()); // Longer than any path of the system; it is only not remembered.
        };
        let Noted { content, stat } = noted;
        self.record.clear();
        self.record.push(u8::from(content.kept == Kept::Chunks));
        self.record.extend_from_slice(&content.bytes.to_le_bytes());
        self.record
            .extend_from_slice(&stat.changed_ns.to_le_bytes());
        self.record.extend_from_slice(&stat.inode.to_le_bytes());
        self.record.extend_from_slice(&content.digest.0);
        self.record.extend_from_slice(&length.to_le_bytes());
        self.record.extend_from_slice(path);
        self.flush_record()
    }

    fn flush_record(&mut self) -> io::Result<()> {
        self.hash.update(&self.record);
        self.file.write_all(&self.record)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        let digest = std::mem::take(&mut self.hash).finish();
        self.file.write_all(&digest.0)?;
        self.file.flush()?;
        fs::rename(&self.part, &self.path)
    }
}

impl Drop for IndexWriter {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(bytes: u64) -> Noted {
        Noted {
            content: Content {
                kept: Kept::File,
                digest: Digest::of(&bytes.to_le_bytes()),
                bytes,
            },
            stat: Stat {
                bytes,
                changed_ns: 1_000_000_001,
                inode: 7,
            },
        }
    }

    #[test]
    fn what_is_noted_is_found_in_order_and_a_damaged_index_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/index");
        let mut writer = IndexWriter::create(&path).unwrap();
        for (count, name) in ["a", "b", "d"].into_iter().enumerate() {
            writer.add(name.as_bytes(), &noted(count as u64)).unwrap();
        }
        writer.finish().unwrap();
        let mut reader = IndexReader::open(&path).unwrap();
        assert_eq!(reader.find(b"a"), Some(noted(0)));
        assert_eq!(reader.find(b"c"), None);
        assert_eq!(reader.find(b"d"), Some(noted(2)));
        assert_eq!(reader.find(b"e"), None);
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(IndexReader::open(&path).is_none(), "byte {at}");
        }
        for length in 0..sound.len() {
            fs::write(&path, &sound[..length]).unwrap();
            assert!(IndexReader::open(&path).is_none(), "{length} bytes");
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_changed_while_it_was_read_is_read_again() {
        let noted = noted(1);
        let at = |now_ns| Noted::at(noted.content, noted.stat, now_ns).stat.changed_ns;
        assert_eq!(at(1_000_000_001 + TICK_NS), UNKNOWN_NS);
        assert_eq!(at(1_000_000_002 + TICK_NS), 1_000_000_001);
        let coarse = Stat {
            changed_ns: 1_000_000_000,
            ..noted.stat
        };
        let at = |now_ns| Noted::at(noted.content, coarse, now_ns).stat.changed_ns;
        assert_eq!(at(1_000_000_000 + COARSE_NS), UNKNOWN_NS);
        assert_eq!(at(1_000_000_001 + COARSE_NS), 1_000_000_000);
    }
}
