//! Where a large recording is cut, and the list of its pieces: an appended or edited recording keeps most of them.
//!
//! The cut depends on the bytes around it alone, so bytes that moved are cut where they were cut before. The list is a
//! text:
//!
//! ```text
//! tinyops-chunks 1
//! <digest of the whole> TAB <bytes of the whole>
//! <digest> TAB <bytes>
//! ```

use std::fmt::Write as _;

use tinyops_wire::id::Digest;

use crate::tree::canonical;

/// Files of at least so many bytes are kept in pieces.
pub const CHUNKED_FROM_BYTES: u64 = 32 << 20;
/// No piece but the last is smaller, bytes.
pub const CHUNK_BYTES_MIN: usize = 256 << 10;
/// Most pieces are about as large, bytes.
pub const CHUNK_BYTES_USUAL: usize = 1 << 20;
/// No piece is larger, bytes.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;

const HEADER: &str = "tinyops-chunks 1";

/// Ones at the top, where the hash has seen the most bytes: a cut is where all of them are zero. More of them before the
/// usual size and fewer after it, so that sizes lie closer together.
const MASK_BEFORE: u64 = !0 << (64 - 22);
const MASK_AFTER: u64 = !0 << (64 - 18);

/// A number for each byte, drawn by splitmix64 from 0 on. They are part of the format: other numbers cut elsewhere, and
/// nothing would be shared with what was kept before.
const GEAR: [u64; 256] = {
    let mut gear = [0; 256];
    let mut state = 0u64;
    let mut index = 0;
    while index < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        gear[index] = mixed ^ (mixed >> 31);
        index += 1;
    }
    gear
};

/// Finds the ends of pieces in bytes that come bit by bit.
///
/// # Source
/// Xia et al., 2016, "FastCDC: a fast and efficient content-defined chunking approach for data deduplication": the gear
/// hash, the jump over the smallest size, two masks about the usual size.
#[derive(Clone, Debug, Default)]
pub struct Chunker {
    hash: u64,
    /// Bytes of the piece so far.
    len: usize,
}

impl Chunker {
    /// Begins a file.
    #[must_use]
    pub fn new() -> Chunker {
        Chunker::default()
    }

    /// Takes the next bytes of the file: how many of them still belong to the piece, if it ends among them. Then the
    /// rest are to be given again, as the next piece.
    pub fn cut(&mut self, bytes: &[u8]) -> Option<usize> {
        let skipped = CHUNK_BYTES_MIN.saturating_sub(self.len).min(bytes.len());
        self.len += skipped;
        for (index, byte) in bytes.iter().enumerate().skip(skipped) {
            self.hash = (self.hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            self.len += 1;
            let mask = match self.len < CHUNK_BYTES_USUAL {
                true => MASK_BEFORE,
                false => MASK_AFTER,
            };
            if self.hash & mask == 0 || self.len >= CHUNK_BYTES_MAX {
                *self = Chunker::default();
                return Some(index + 1);
            }
        }
        None
    }
}

/// The pieces of a file, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Digest of the file.
    pub whole: Digest,
    /// Digest and length of each piece.
    pub chunks: Vec<(Digest, u64)>,
}

/// Why a text is no list of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {row} of a list of pieces: {what}")]
pub struct RecipeError {
    /// The line, counted from 1.
    pub row: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Recipe {
    /// Length of the file, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The text: the same pieces give the same bytes, always.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n{}\t{}\n", self.whole, self.bytes());
        for (digest, bytes) in &self.chunks {
            writeln!(text, "{digest}\t{bytes}").expect("a string takes any text");
        }
        text
    }

    /// Reads what [`Recipe::encode`] wrote.
    ///
    /// # Errors
    /// [`RecipeError`] at the first line that is not as it would be written, or where the sizes do not add up.
    pub fn decode(text: &str) -> Result<Recipe, RecipeError> {
        let fault = |row, what| RecipeError { row, what };
        let body = text.strip_suffix('\n');
        let mut lines = body
            .ok_or(fault(1, "the text ends without a line feed"))?
            .split('\n');
        if lines.next() != Some(HEADER) {
            return Err(fault(1, "the first line is another one"));
        }
        let pair = |line: &str, row| -> Result<(Digest, u64), RecipeError> {
            let (digest, bytes) = line
                .split_once('\t')
                .ok_or(fault(row, "it has not two fields"))?;
            let digest = canonical(digest).ok_or(fault(row, "the first field is not a digest"))?;
            let bytes = canonical(bytes).ok_or(fault(row, "the second field is not a count"))?;
            Ok((digest, bytes))
        };
        let first = lines.next().ok_or(fault(2, "it is missing"))?;
        let (whole, bytes) = pair(first, 2)?;
        let mut recipe = Recipe {
            whole,
            chunks: Vec::new(),
        };
        for (index, line) in lines.enumerate() {
            let (digest, bytes) = pair(line, index + 3)?;
            if bytes == 0 || bytes > CHUNK_BYTES_MAX as u64 {
                return Err(fault(index + 3, "no piece has this size"));
            }
            recipe.chunks.push((digest, bytes));
        }
        match recipe.bytes() == bytes {
            true => Ok(recipe),
            false => Err(fault(2, "the pieces are not as long as the whole")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes as a sensor might give them, by splitmix64.
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 27)).to_le_bytes()
        };
        (0..len.div_ceil(8))
            .flat_map(|_| next())
            .take(len)
            .collect()
    }

    /// The pieces of bytes that come `step` at a time.
    fn pieces(bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
        let (mut chunker, mut pieces, mut piece) = (Chunker::new(), Vec::new(), Vec::new());
        for mut block in bytes.chunks(step) {
            while let Some(end) = chunker.cut(block) {
                piece.extend_from_slice(&block[..end]);
                pieces.push(std::mem::take(&mut piece));
                block = &block[end..];
            }
            piece.extend_from_slice(block);
        }
        if !piece.is_empty() {
            pieces.push(piece);
        }
        pieces
    }

    #[test]
    fn the_pieces_make_the_whole_and_do_not_depend_on_how_the_bytes_come() {
        let bytes = noise(20 << 20, 1);
        let cut = pieces(&bytes, 1 << 16);
        assert_eq!(cut.concat(), bytes);
        assert_eq!(cut, pieces(&bytes, 1_000_003));
        let (last, others) = cut.split_last().expect("there are pieces");
        assert!(last.len() <= CHUNK_BYTES_MAX);
        let sizes = CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX;
        assert!(others.iter().all(|piece| sizes.contains(&piece.len())));
        assert!((10..=40).contains(&cut.len()), "{} pieces", cut.len());
    }

    #[test]
    fn an_edit_touches_few_pieces_wherever_it_is() {
        let old = noise(24 << 20, 2);
        let known = pieces(&old, 1 << 20);
        let fresh = |new: &[u8]| {
            let cut = pieces(new, 1 << 20);
            cut.iter().filter(|piece| !known.contains(piece)).count()
        };
        let mut longer = old.clone();
        longer.extend(noise(100, 3));
        assert_eq!(fresh(&longer), 1);
        let mut inserted = old.clone();
        inserted.splice(9_000_001..9_000_001, [1, 2, 3]);
        assert!(fresh(&inserted) <= 2, "{}", fresh(&inserted));
    }

    #[test]
    fn bytes_that_never_change_are_cut_at_the_largest_size() {
        let cut = pieces(&vec![0; 9 << 20], 1 << 16);
        let sizes: Vec<usize> = cut.iter().map(Vec::len).collect();
        assert_eq!(sizes, [4 << 20, 4 << 20, 1 << 20]);
    }

    #[test]
    fn the_cuts_are_those_of_version_1() {
        // Fails if the numbers of the hash change, and with them every cut.
        let sizes: Vec<usize> = pieces(&noise(6 << 20, 7), 1 << 16)
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), 6 << 20);
        insta::assert_debug_snapshot!(sizes);
    }

    fn recipe() -> impl Strategy<Value = Recipe> {
        let chunk = (any::<[u8; 32]>(), 1..=CHUNK_BYTES_MAX as u64);
        let chunk = chunk.prop_map(|(digest, bytes)| (Digest(digest), bytes));
        (any::<[u8; 32]>(), proptest::collection::vec(chunk, 0..5)).prop_map(|(whole, chunks)| {
            Recipe {
                whole: Digest(whole),
                chunks,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(recipe in recipe()) {
            prop_assert_eq!(Recipe::decode(&recipe.encode()), Ok(recipe));
        }

        #[test]
        fn any_text_is_refused_or_canonical(recipe in recipe(), at in 0usize..400, byte in 0u8..128) {
            let mut text = recipe.encode().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(text) = String::from_utf8(text) && let Ok(read) = Recipe::decode(&text) {
                prop_assert_eq!(read.encode(), text);
            }
        }
    }

    #[test]
    fn what_is_no_list_of_pieces() {
        let why = |text: &str| Recipe::decode(text).unwrap_err().to_string();
        let digest = "0".repeat(64);
        assert!(why("").contains("ends without a line feed"));
        assert!(why("tinyops-chunks 2\n").contains("line 1"));
        let short = format!("tinyops-chunks 1\n{digest}\t5\n{digest}\t4\n");
        assert!(why(&short).contains("not as long as the whole"));
        let huge = format!("tinyops-chunks 1\n{digest}\t5\n{digest}\t99999999999\n");
        assert!(why(&huge).contains("no piece has this size"));
    }
}
