//! A fleet over an in-memory store: what devices send, and what comes of it.

mod detection;
mod ingest;
mod keys;
mod rollout;
mod round;
mod world;
