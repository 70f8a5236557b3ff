//! The steps, one file each, in the order of a run.

pub(crate) mod ingest;
