//! One suite for every back end: what a caller sees must not depend on where the bytes are.

mod annotations;
mod artifacts;
mod audit;
mod backend;
mod catalog;
mod crash;
mod ddi;
mod enrolment;
mod full;
mod records;
mod reports;
mod runs;
mod tracking;
mod transactions;
mod uploads;
mod webhooks;
