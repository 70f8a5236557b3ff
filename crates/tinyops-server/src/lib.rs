#![forbid(unsafe_code)]
//! HTTP API, pages and MQTT; turns both loops.
//!
//! [`serve`] listens and turns the loops until its [`Running`] is stopped; [`router`] is the same
//! HTTP without a socket. Every rule about devices is in `tinyops-fleet`, every rule about models
//! in `tinyops-pipeline`: here is only who asks them, when, and how the answer looks.

mod app;
mod appraised;
mod event;
mod helper;
mod lineage;
mod listen;
mod serve;
mod stop;

// The doors.
mod api;
mod gate;
mod ingestion;
mod mlflow;
mod mqtt;
mod page;

// The loops.
mod loops;
mod release;
mod retrain;
mod webhook;

// What doors are made of.
mod access;
mod chart;
mod civil;
mod login;
mod metrics;
mod text;
mod tls;
mod tls_client;
mod watch;

pub use api::{
    AddedWebhook, AlertView, AnnotationView, AtWorkView, DeliveryView, ExpectedView,
    FieldWorthView, LabelView, RepairView, RoundView, StandingView, TriggerView, UploadDeviceView,
    UploadView, WebhookView, WithdrawnView,
};
pub use app::{App, Business, Clock};
pub use civil::Moment;
pub use event::Event;
pub use helper::{HelperConfig, HelperRunning, SumQuestion, serve_helper};
pub use lineage::{LineageEdge, LineageGraph, LineageNode, NodeKind, lineage};
pub use listen::{Stream, StreamListener};
pub use release::{ReleaseError, admit, release, requests};
pub use retrain::{RunWish, WishError, ask_for_run};
pub use serve::{Config, Loops, Running, ServeError, router, serve};
pub use text::{Text, hex, unhex};
pub use tls::{Tls, TlsError, TlsFiles};
pub use tls_client::trusting;
