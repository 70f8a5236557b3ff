//! The table of operations: routes and their documentation are made from the same rows.

use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use tinyops_fleet::access::Right;

use super::error::Problem;
use crate::app::App;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anyone who can connect; enrolment proves in its body that it may.
    Open,
    /// Whoever has this right by a token, and anyone on loopback.
    Right(Right),
    /// A device that shows its password.
    Device,
    /// A device, or whoever has this right.
    DeviceOr(Right),
    /// A device that polls the DDI, or a gateway that speaks for it; the handler learns which.
    Target,
}

/// What an operation leaves in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    /// An entry, if it changes anything.
    Entry,
    /// None: what devices send is a record itself.
    Record,
}

/// What goes in or out: JSON of a type, or bytes.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// A document of the DDI, as JSON or CBOR.
    Ddi,
    Bytes,
    Nothing,
}

impl Content {
    pub(super) fn json<T: JsonSchema>() -> Content {
        Content::Json(|generator| generator.subschema_for::<T>())
    }
}

/// One row: a method on a path.
pub(super) struct Operation {
    /// Lower case, as OpenAPI writes it.
    pub method: &'static str,
    pub path: &'static str,
    pub summary: &'static str,
    pub access: Access,
    pub trace: Trace,
    /// Names and meanings of query parameters.
    pub query: &'static [(&'static str, &'static str)],
    pub request: Content,
    pub status: u16,
    pub response: Content,
    pub handler: MethodRouter<App>,
}

/// The OpenAPI 3.1 document of these operations.
pub(super) fn document(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in operations {
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[operation.method] = describe(operation, &mut generator, &problem);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "TinyOps",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Devices, reports, models, runs, rollouts, alerts and lineage of a fleet. \
                            Times are Unix milliseconds; digests, device ids and model ids are hex text.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "An access token, or that of the admin token file; not asked for on loopback. \
                                    `x-right` is what its role must have (docs/guide/access.md).",
                },
                "target": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "`TargetToken TOKEN` or `GatewayToken TOKEN`, as hawkBit's clients show it.",
                },
                "device": {
                    "type": "http", "scheme": "bearer",
                    "description": "`DEVICE.PASSWORD`, the id and password that the device shows to MQTT.",
                },
            },
        },
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let in_path = operation
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        });
    let in_query = operation.query.iter().map(|(name, meaning)| {
        json!({ "name": name, "in": "query", "description": meaning, "schema": { "type": "string" } })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut described = json!({
        "summary": operation.summary,
        "operationId": operation_id(operation),
        "parameters": parameters,
        "responses": {
            operation.status.to_string(): { "description": "done", "content": content(operation.response, generator) },
            "default": {
                "description": "not done, and why",
                "content": { "application/json": { "schema": problem } },
            },
        },
    });
    if !matches!(operation.request, Content::Nothing) {
        described["requestBody"] =
            json!({ "required": true, "content": content(operation.request, generator) });
    }
    let (security, right) = match operation.access {
        Access::Open => (json!([]), None),
        Access::Right(right) => (json!([{ "token": [] }]), Some(right)),
        Access::Device => (json!([{ "device": [] }]), None),
        Access::DeviceOr(right) => (json!([{ "device": [] }, { "token": [] }]), Some(right)),
        Access::Target => (json!([{ "target": [] }]), None),
    };
    described["security"] = security;
    if operation.method != "get" {
        described["x-audited"] = json!(operation.trace == Trace::Entry);
    }
    if let Some(right) = right {
        described["x-right"] = json!(right.word());
    }
    described
}

fn content(content: Content, generator: &mut SchemaGenerator) -> Value {
    match content {
        Content::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Content::Ddi => {
            json!({ "application/json": { "schema": { "type": "object" } }, "application/cbor": {} })
        }
        Content::Bytes => json!({ "application/octet-stream": {} }),
        Content::Nothing => json!({}),
    }
}

/// `post_devices_device_revoke`: unique, since method and path are.
fn operation_id(operation: &Operation) -> String {
    let words = operation.path.trim_start_matches("/api/v1");
    let words = words.replace(['{', '}'], "").replace(['/', '.'], "_");
    format!("{}{words}", operation.method)
}
