//! From listed files to a dataset: match, read, decode, label, check.

use std::io;

use crate::dataset::Dataset;
use crate::finding::Report;
use crate::spec::DataSpec;

/// What the caller found in a source's root, all files below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Paths from the root on, with `/`, in any order.
    pub files: Vec<String>,
}

/// Reads one file: the index of the source, then the path from its root on.
pub type Read<'a> = dyn FnMut(usize, &str) -> io::Result<Vec<u8>> + 'a;

/// Reads all sources of a spec: the files that match, one after the other, each at most once in memory.
///
/// `listings` has one entry for each source. Everything that is wrong lands in the report; what could be read is in
/// the dataset. With an error in the report the dataset should not be trained on.
pub fn ingest(
    _spec: &DataSpec,
    _listings: &[Listing],
    _read: &mut Read<'_>,
    _report: &mut Report,
) -> Dataset {
    todo!()
}

/// Replaces `$VAR`, `${VAR}` and `${VAR:-otherwise}` by what `lookup` knows.
///
/// # Errors
/// The name of a variable that is not set and has no `otherwise`.
pub fn expand(_text: &str, _lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    todo!()
}
