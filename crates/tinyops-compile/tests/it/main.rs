//! Graphs and models in, plans, pictures, fits and payloads out.

mod capsules;
mod contract;
mod deltas;
mod edge_impulse;
mod exports;
mod fits;
mod general;
mod graphs;
mod hostile;
mod int16;
mod layers;
mod networks;
mod packages;
mod pictures;
mod priors;
mod regions;
mod rewrites;
mod sums;
