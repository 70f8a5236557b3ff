//! The built binary in a folder of its own: what a person or a script sees of it.

mod audited;
mod boards;
mod compare;
mod drift;
mod enrolment;
mod full;
mod full_server;
mod gateway;
mod hawkbit;
mod help;
mod helper;
mod hostile;
mod imports;
mod interrupted;
mod journey;
mod keys;
mod live_rollout;
mod refusals;
mod retrain;
mod running;
mod shadow_rollout;
mod shape;
mod shipping;
mod tls;
mod tune;
mod workplace;
