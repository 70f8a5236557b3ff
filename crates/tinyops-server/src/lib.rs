#![forbid(unsafe_code)]
//! HTTP API, pages and MQTT; turns both loops.
