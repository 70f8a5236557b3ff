//! The steps, one file each, in the order of a run.

pub(crate) mod compile;
pub(crate) mod evaluate;
pub(crate) mod featurize;
pub(crate) mod ingest;
pub(crate) mod quantize;
pub(crate) mod register;
pub(crate) mod resolve;
pub(crate) mod smoke;
pub(crate) mod train;
pub(crate) mod tune;
pub(crate) mod validate;
