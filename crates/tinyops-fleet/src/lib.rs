#![forbid(unsafe_code)]
//! Devices, telemetry, drift alerts, rollouts, signing, federated rounds.
