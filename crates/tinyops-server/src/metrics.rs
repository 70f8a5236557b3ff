//! What the server counts about itself, in Prometheus' text format.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tinyops_wire::id::DeviceId;

/// Devices remembered for having been logged; beyond that, offences are only counted.
const OFFENDERS_MAX: usize = 10_000;

/// Handles to every counter; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub connections: Gauge,
    pub connections_refused: Counter,
    pub connections_denied: Counter,
    pub messages_up: Counter,
    pub bytes_up: Counter,
    pub messages_down: Counter,
    pub bytes_down: Counter,
    pub downlinks_dropped: Counter,
    pub packets_malformed: Counter,
    pub reports_kept: Counter,
    pub reports_refused: Counter,
    pub commit_seconds: Histogram,
    pub commit_messages: Histogram,
    pub commit_failures: Counter,
    pub http_requests: Counter,
    pub http_errors: Counter,
    pub devices: Gauge,
    pub alerts_open: Gauge,
    pub rollouts_active: Gauge,
    pub runs: Gauge,
    registry: Arc<Registry>,
    offenders: Arc<Mutex<HashSet<DeviceId>>>,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("tinyops");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let connections_refused = counter(
            "mqtt_connections_refused",
            "Connections closed because the endpoint is full",
        );
        let connections_denied = counter(
            "mqtt_connections_denied",
            "Connections without a valid CONNECT or token",
        );
        let messages_up = counter("mqtt_messages_up", "Messages received from devices");
        let bytes_up = counter("mqtt_payload_up_bytes", "Payload received from devices");
        let messages_down = counter("mqtt_messages_down", "Messages sent to devices");
        let bytes_down = counter("mqtt_payload_down_bytes", "Payload sent to devices");
        let downlinks_dropped = counter(
            "mqtt_downlinks_dropped",
            "Messages that a device's queue had no room for",
        );
        let packets_malformed = counter(
            "mqtt_packets_malformed",
            "Connections closed for breaking the protocol",
        );
        let reports_kept = counter("reports_kept", "Reports durably stored");
        let reports_refused = counter("reports_refused", "Reports refused for good");
        let commit_failures = counter(
            "commit_failures",
            "Groups of reports that the store did not take",
        );
        let http_requests = counter("http_requests", "HTTP requests answered");
        let http_errors = counter("http_errors", "HTTP requests answered with 5xx");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let connections = gauge("mqtt_connections", "Devices connected");
        let devices = gauge("devices", "Devices registered");
        let alerts_open = gauge("alerts_open", "Alerts nobody has resolved");
        let rollouts_active = gauge("rollouts_active", "Rollouts under way or paused");
        let runs = gauge("runs_active", "Pipeline runs under way");
        let commit_seconds = Histogram::new(exponential_buckets(0.0005, 2.0, 12));
        registry.register_with_unit(
            "commit",
            "Time to store one group of reports durably",
            Unit::Seconds,
            commit_seconds.clone(),
        );
        let commit_messages = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        registry.register(
            "commit_messages",
            "Reports in one group",
            commit_messages.clone(),
        );
        Metrics {
            connections,
            connections_refused,
            connections_denied,
            messages_up,
            bytes_up,
            messages_down,
            bytes_down,
            downlinks_dropped,
            packets_malformed,
            reports_kept,
            reports_refused,
            commit_seconds,
            commit_messages,
            commit_failures,
            http_requests,
            http_errors,
            devices,
            alerts_open,
            rollouts_active,
            runs,
            registry: Arc::new(registry),
            offenders: Arc::default(),
        }
    }

    /// Whether this is a device's first offence, which is the one to log.
    pub(crate) fn first_offence(&self, device: DeviceId) -> bool {
        let mut offenders = self
            .offenders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        offenders.len() < OFFENDERS_MAX && offenders.insert(device)
    }

    /// Everything, in the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string takes any text");
        text
    }
}
