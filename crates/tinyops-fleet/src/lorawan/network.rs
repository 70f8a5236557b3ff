//! The JSON of network servers: ChirpStack v4 and The Things Stack v3.
//!
//! Both leave out fields that have their default value, so every field is optional here, and what is not known is
//! passed over. Written after `integration.proto` of ChirpStack and the "Data formats" page of The Things Stack.

use serde::Deserialize;
use serde_json::{Value, json};
use tinyops_store::DeviceId;
use tinyops_wire::base64;

use super::Payload;

/// Whose JSON it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// ChirpStack v4.
    ChirpStack,
    /// The Things Stack v3.
    TheThingsStack,
}

/// An application payload that a device sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadioUplink {
    /// The device: its DevEUI.
    pub device: DeviceId,
    /// 0 for a frame without one.
    pub port: u8,
    /// The link's own counter.
    pub frame_counter: u32,
    /// The bytes.
    pub payload: Vec<u8>,
    /// 7 to 12; 12 where it is not said, so that what goes down fits any rate.
    pub spreading_factor: u8,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// A device sent something.
    Uplink(RadioUplink),
    /// A device has joined the network.
    Joined(DeviceId),
    /// A downlink went to the air, or was confirmed by the device.
    Sent(DeviceId),
    /// A downlink did not go out, and why as far as it is said.
    NotSent(DeviceId, String),
    /// Something that is no business of ours: a status, a location, a log line.
    Other,
}

/// Why an event was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The document is not of this kind.
    #[error("the event is not JSON of {0}")]
    Shape(&'static str),
    /// There is no DevEUI, or none of 16 hex digits.
    #[error("the event names no DevEUI")]
    DevEui,
    /// The payload is not base64.
    #[error("the payload is not base64")]
    Payload,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ChirpStackEvent {
    device_info: ChirpStackDevice,
    dr: u32,
    f_cnt: u32,
    f_port: u8,
    data: Option<String>,
    tx_info: ChirpStackTx,
    acknowledged: bool,
    level: Option<Value>,
    code: Option<Value>,
    description: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ChirpStackDevice {
    dev_eui: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChirpStackTx {
    modulation: ChirpStackModulation,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChirpStackModulation {
    lora: Option<Lora>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lora {
    #[serde(alias = "spreadingFactor")]
    spreading_factor: u8,
}

impl Lora {
    /// What goes down is cut for the slowest rate where an event names none that there is.
    fn factor(&self) -> u8 {
        match self.spreading_factor {
            told @ 7..=12 => told,
            _ => 12,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StackEvent {
    end_device_ids: StackDevice,
    uplink_message: Option<StackUplink>,
    join_accept: Option<Value>,
    downlink_ack: Option<Value>,
    downlink_sent: Option<Value>,
    downlink_nack: Option<Value>,
    downlink_failed: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StackDevice {
    dev_eui: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StackUplink {
    f_port: u8,
    f_cnt: u32,
    frm_payload: Option<String>,
    settings: StackSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StackSettings {
    data_rate: StackRate,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StackRate {
    lora: Option<Lora>,
}

impl Network {
    /// Reads an event. `kind` is what ChirpStack says beside it, in its topic or as `?event=`; The Things Stack says it within.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn read(self, kind: &str, document: &[u8]) -> Result<Heard, NetworkError> {
        match self {
            Network::ChirpStack => read_chirpstack(kind, document),
            Network::TheThingsStack => read_stack(document),
        }
    }

    /// The document that queues a payload for a device: ChirpStack's `command/down`, The Things Stack's `down/push`.
    pub fn write(self, device: DeviceId, payload: &Payload) -> Value {
        let mut text = vec![0; base64::encoded_len(payload.bytes.len())];
        base64::encode(&payload.bytes, &mut text).expect("the room is as long as the text");
        let text = String::from_utf8(text).expect("base64 is ASCII");
        match self {
            Network::ChirpStack => json!({
                "devEui": device.to_string(),
                "confirmed": false,
                "fPort": payload.port,
                "data": text,
            }),
            Network::TheThingsStack => json!({
                "downlinks": [{
                    "f_port": payload.port,
                    "frm_payload": text,
                    "priority": "NORMAL",
                    "confirmed": false,
                }],
            }),
        }
    }
}

fn read_chirpstack(kind: &str, document: &[u8]) -> Result<Heard, NetworkError> {
    let event: ChirpStackEvent =
        serde_json::from_slice(document).map_err(|_| NetworkError::Shape("ChirpStack v4"))?;
    let device = || dev_eui(&event.device_info.dev_eui);
    Ok(match kind {
        "up" => {
            let lora = event.tx_info.modulation.lora;
            // Where only the data rate is said it is read as Europe's: 0 is SF12, 5 is SF7.
            let spreading_factor = lora.map_or_else(
                || 12_u32.saturating_sub(event.dr).max(7) as u8,
                |lora| lora.factor(),
            );
            Heard::Uplink(RadioUplink {
                device: device()?,
                port: event.f_port,
                frame_counter: event.f_cnt,
                payload: payload(event.data.as_deref())?,
                spreading_factor,
            })
        }
        "join" => Heard::Joined(device()?),
        "txack" => Heard::Sent(device()?),
        "ack" if event.acknowledged => Heard::Sent(device()?),
        "ack" => Heard::NotSent(device()?, "not acknowledged".to_owned()),
        "log" if event.level.as_ref().and_then(Value::as_str) == Some("ERROR") => {
            let code = event.code.as_ref().and_then(Value::as_str);
            let why = format!("{} {}", code.unwrap_or_default(), event.description);
            Heard::NotSent(device()?, why.trim().to_owned())
        }
        _ => Heard::Other,
    })
}

fn read_stack(document: &[u8]) -> Result<Heard, NetworkError> {
    let event: StackEvent =
        serde_json::from_slice(document).map_err(|_| NetworkError::Shape("The Things Stack v3"))?;
    let device = || dev_eui(&event.end_device_ids.dev_eui);
    if let Some(uplink) = &event.uplink_message {
        let lora = &uplink.settings.data_rate.lora;
        return Ok(Heard::Uplink(RadioUplink {
            device: device()?,
            port: uplink.f_port,
            frame_counter: uplink.f_cnt,
            payload: payload(uplink.frm_payload.as_deref())?,
            spreading_factor: lora.as_ref().map_or(12, Lora::factor),
        }));
    }
    Ok(if event.join_accept.is_some() {
        Heard::Joined(device()?)
    } else if event.downlink_sent.is_some() || event.downlink_ack.is_some() {
        Heard::Sent(device()?)
    } else if let Some(failed) = &event.downlink_failed {
        let error = &failed["error"];
        let said = error["message_format"].as_str().or(error["name"].as_str());
        Heard::NotSent(device()?, said.unwrap_or("no reason given").to_owned())
    } else if event.downlink_nack.is_some() {
        Heard::NotSent(device()?, "not acknowledged".to_owned())
    } else {
        Heard::Other
    })
}

fn dev_eui(text: &str) -> Result<DeviceId, NetworkError> {
    text.parse().map_err(|_| NetworkError::DevEui)
}

fn payload(text: Option<&str>) -> Result<Vec<u8>, NetworkError> {
    let text = text.unwrap_or_default().as_bytes();
    let mut bytes = vec![0; text.len()];
    let len = base64::decode(text, &mut bytes).ok_or(NetworkError::Payload)?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId(0x0011_2233_4455_6677);

    #[test]
    fn an_uplink_of_chirpstack() {
        let document = br#"{
            "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d", "time": "2026-11-29T08:00:00.5+00:00",
            "deviceInfo": {"tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242", "tenantName": "hall", "applicationId": "17c82e96-be03-4f38-aef3-f83d48582d97",
                "applicationName": "pumps", "deviceProfileId": "14855bf7-d10d-4aee-b618-ebfcb64dc7ad", "deviceProfileName": "class A",
                "deviceName": "pump 7", "devEui": "0011223344556677", "deviceClassEnabled": "CLASS_A", "tags": {"key": "value"}},
            "devAddr": "00189440", "adr": true, "dr": 1, "fCnt": 10, "fPort": 71, "confirmed": true, "data": "AQID",
            "rxInfo": [{"gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "gwTime": "2026-11-29T08:00:00+00:00", "rssi": -36, "snr": 10.5,
                "location": {}, "context": "E3OWOQ==", "metadata": {"region_name": "eu868"}, "crcStatus": "CRC_OK"}],
            "txInfo": {"frequency": 867100000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 11, "codeRate": "CR_4_5"}}},
            "regionConfigId": "eu868"}"#;
        let expected = RadioUplink {
            device: DEVICE,
            port: 71,
            frame_counter: 10,
            payload: vec![1, 2, 3],
            spreading_factor: 11,
        };
        let read = Network::ChirpStack.read("up", document);
        assert_eq!(read, Ok(Heard::Uplink(expected)));
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let read =
            Network::ChirpStack.read("up", br#"{"deviceInfo":{"devEui":"0011223344556677"}}"#);
        let Ok(Heard::Uplink(uplink)) = read else {
            panic!("{read:?}")
        };
        assert_eq!(
            (uplink.port, uplink.frame_counter, uplink.spreading_factor),
            (0, 0, 12)
        );
        assert!(uplink.payload.is_empty());
        let by_rate = Network::ChirpStack.read(
            "up",
            br#"{"deviceInfo":{"devEui":"0011223344556677"},"dr":5}"#,
        );
        assert!(matches!(by_rate, Ok(Heard::Uplink(uplink)) if uplink.spreading_factor == 7));
        let read = Network::TheThingsStack.read(
            "",
            br#"{"end_device_ids":{"dev_eui":"0011223344556677"},"uplink_message":{}}"#,
        );
        assert!(
            matches!(read, Ok(Heard::Uplink(uplink)) if uplink.port == 0 && uplink.spreading_factor == 12)
        );
    }

    #[test]
    fn a_data_rate_that_there_is_not_is_the_slowest() {
        for told in [0, 6, 13, 255] {
            let settings = format!(r#"{{"data_rate":{{"lora":{{"spreading_factor":{told}}}}}}}"#);
            let document = format!(
                r#"{{"end_device_ids":{{"dev_eui":"0011223344556677"}},"uplink_message":{{"settings":{settings}}}}}"#
            );
            let read = Network::TheThingsStack.read("", document.as_bytes());
            assert!(
                matches!(&read, Ok(Heard::Uplink(uplink)) if uplink.spreading_factor == 12),
                "{read:?}"
            );
        }
    }

    #[test]
    fn an_uplink_of_the_things_stack() {
        let document = br#"{
            "end_device_ids": {"device_id": "pump-7", "application_ids": {"application_id": "pumps"}, "dev_eui": "0011223344556677",
                "join_eui": "800000000000000C", "dev_addr": "00BCB929"},
            "correlation_ids": ["as:up:01E0WZGT6Y7657CPFPE5WEYDSQ"], "received_at": "2026-11-29T08:00:00.1Z",
            "uplink_message": {"session_key_id": "AXA50tHUVUgBh6W6Rl8Qkg==", "f_port": 72, "f_cnt": 3, "frm_payload": "BQACcGFydA==",
                "rx_metadata": [{"gateway_ids": {"gateway_id": "gtw1", "eui": "9C5C8E00001A05C4"}, "timestamp": 2463457000, "rssi": -35,
                    "channel_rssi": -35, "snr": 5.2, "uplink_token": "ChIKEA=="}],
                "settings": {"data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 9, "coding_rate": "4/5"}}, "frequency": "868300000"},
                "received_at": "2026-11-29T08:00:00Z", "consumed_airtime": "0.185s"}}"#;
        let read = Network::TheThingsStack.read("", document);
        let Ok(Heard::Uplink(uplink)) = read else {
            panic!("{read:?}")
        };
        assert_eq!(
            (
                uplink.device,
                uplink.port,
                uplink.frame_counter,
                uplink.spreading_factor
            ),
            (DEVICE, 72, 3, 9)
        );
        assert_eq!(uplink.payload, b"\x05\x00\x02part");
    }

    #[test]
    fn joins_and_fates_of_downlinks() {
        let device = r#""deviceInfo":{"devEui":"0011223344556677"}"#;
        for (kind, rest, expected) in [
            ("join", r#","devAddr":"00189440""#, Heard::Joined(DEVICE)),
            (
                "txack",
                r#","downlinkId":3,"queueItemId":"u","fCntDown":7,"gatewayId":"g","txInfo":{}"#,
                Heard::Sent(DEVICE),
            ),
            (
                "ack",
                r#","queueItemId":"u","acknowledged":true,"fCntDown":7"#,
                Heard::Sent(DEVICE),
            ),
            (
                "ack",
                r#","queueItemId":"u""#,
                Heard::NotSent(DEVICE, "not acknowledged".into()),
            ),
            (
                "log",
                r#","level":"ERROR","code":"DOWNLINK_PAYLOAD_SIZE","description":"too long""#,
                Heard::NotSent(DEVICE, "DOWNLINK_PAYLOAD_SIZE too long".into()),
            ),
            ("status", r#","margin":7"#, Heard::Other),
            ("integration", "", Heard::Other),
        ] {
            let document = format!("{{{device}{rest}}}");
            assert_eq!(
                Network::ChirpStack.read(kind, document.as_bytes()),
                Ok(expected),
                "{kind}"
            );
        }
        let device = r#""end_device_ids":{"device_id":"pump-7","dev_eui":"0011223344556677"}"#;
        for (rest, expected) in [
            (
                r#","join_accept":{"session_key_id":"k"}"#,
                Heard::Joined(DEVICE),
            ),
            (
                r#","downlink_sent":{"f_port":71,"f_cnt":2}"#,
                Heard::Sent(DEVICE),
            ),
            (r#","downlink_ack":{"f_cnt":2}"#, Heard::Sent(DEVICE)),
            (
                r#","downlink_nack":{"f_cnt":2}"#,
                Heard::NotSent(DEVICE, "not acknowledged".into()),
            ),
            (
                r#","downlink_failed":{"downlink":{},"error":{"namespace":"ns","name":"application_downlink_too_long","message_format":"too long"}}"#,
                Heard::NotSent(DEVICE, "too long".into()),
            ),
            (r#","location_solved":{}"#, Heard::Other),
        ] {
            let document = format!("{{{device}{rest}}}");
            assert_eq!(
                Network::TheThingsStack.read("", document.as_bytes()),
                Ok(expected),
                "{rest}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for network in [Network::ChirpStack, Network::TheThingsStack] {
            assert!(matches!(
                network.read("up", b"[1"),
                Err(NetworkError::Shape(_))
            ));
        }
        let chirpstack = |document: &[u8]| Network::ChirpStack.read("up", document);
        assert_eq!(chirpstack(b"{}"), Err(NetworkError::DevEui));
        assert_eq!(
            chirpstack(br#"{"deviceInfo":{"devEui":"xyz"}}"#),
            Err(NetworkError::DevEui)
        );
        let payload = br#"{"deviceInfo":{"devEui":"0011223344556677"},"data":"A"}"#;
        assert_eq!(chirpstack(payload), Err(NetworkError::Payload));
        assert!(matches!(
            chirpstack(br#"{"fPort":300}"#),
            Err(NetworkError::Shape(_))
        ));
    }

    #[test]
    fn downlinks_are_theirs() {
        let payload = Payload {
            port: 73,
            bytes: vec![1, 2, 3],
        };
        assert_eq!(
            Network::ChirpStack.write(DEVICE, &payload),
            json!({"devEui": "0011223344556677", "confirmed": false, "fPort": 73, "data": "AQID"})
        );
        assert_eq!(
            Network::TheThingsStack.write(DEVICE, &payload),
            json!({"downlinks": [{"f_port": 73, "frm_payload": "AQID", "priority": "NORMAL", "confirmed": false}]})
        );
    }
}
