//! The packets a broker for devices reads and writes, the same for MQTT 3.1.1 and 5.
//!
//! The bytes of each packet are `mqtt-protocol-core`'s business; here the two versions
//! become one set of words, and the limits of a small endpoint are set: no QoS 2, no
//! retained messages, no topic aliases, no wildcard subscriptions.

use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{
    MaximumPacketSize, MaximumQos, Property, Qos, ReceiveMaximum, RetainAvailable, ServerKeepAlive,
    SharedSubscriptionAvailable, SubEntry, SubscriptionIdentifierAvailable,
    WildcardSubscriptionAvailable, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};

/// Which of the two protocols a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V3,
    /// MQTT 5, protocol level 5.
    V5,
}

/// The frame of one packet at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// First byte: packet type in the high nibble, flags in the low.
    pub first: u8,
    /// Where the body starts.
    pub body_start: usize,
    /// Where the packet ends.
    pub end: usize,
}

/// Finds the frame of the packet that `bytes` starts with; `None` when more bytes are needed.
///
/// # Errors
/// A length of more than four digits, a body above `body_bytes_max`, or flags that the
/// packet's type does not have.
pub(crate) fn frame(bytes: &[u8], body_bytes_max: usize) -> Result<Option<Frame>, MqttError> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let flags_fit = match first >> 4 {
        3 => true,
        6 | 8 | 10 => first & 0x0f == 2,
        0 => false,
        _ => first & 0x0f == 0,
    };
    if !flags_fit {
        return Err(MqttError::MalformedPacket);
    }
    let mut body_bytes = 0usize;
    for digit in 0..4 {
        let Some(&byte) = bytes.get(1 + digit) else {
            return Ok(None);
        };
        body_bytes |= usize::from(byte & 0x7f) << (7 * digit);
        if byte & 0x80 == 0 {
            if body_bytes > body_bytes_max {
                return Err(MqttError::PacketTooLarge);
            }
            let body_start = 2 + digit;
            let end = body_start + body_bytes;
            return Ok((bytes.len() >= end).then_some(Frame {
                first,
                body_start,
                end,
            }));
        }
    }
    Err(MqttError::MalformedPacket)
}

/// What a client asks to be let in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub version: Version,
    pub user_name: Option<String>,
    pub password: Option<Vec<u8>>,
    /// Whether an earlier session is to be taken up again.
    pub resume: bool,
    /// Seconds that the session is to outlive the connection.
    pub expiry_s: u32,
    /// Seconds between packets at most; 0 for no limit.
    pub keep_alive_s: u16,
    /// Packets of QoS 1 the client takes before it has acknowledged the first.
    pub receive_max: u16,
    /// Largest packet the client takes, in bytes.
    pub packet_bytes_max: u32,
}

/// Reads the body of a CONNECT packet, whichever version it speaks.
pub(crate) fn decode_connect(body: &[u8]) -> Result<Hello, MqttError> {
    // Protocol name (length 4, "MQTT"), then the level (MQTT 5, section 3.1.2.2).
    if body.get(..6) != Some(b"\x00\x04MQTT") {
        return Err(MqttError::ProtocolError);
    }
    match body.get(6) {
        Some(4) => {
            let connect = exact(body, v3_1_1::Connect::parse)?;
            Ok(Hello {
                version: Version::V3,
                user_name: connect.user_name().map(str::to_owned),
                password: connect.password().map(<[u8]>::to_vec),
                resume: !connect.clean_session(),
                expiry_s: if connect.clean_session() { 0 } else { u32::MAX },
                keep_alive_s: connect.keep_alive(),
                receive_max: u16::MAX,
                packet_bytes_max: u32::MAX,
            })
        }
        Some(5) => {
            let connect = exact(body, v5_0::Connect::parse)?;
            let mut hello = Hello {
                version: Version::V5,
                user_name: connect.user_name().map(str::to_owned),
                password: connect.password().map(<[u8]>::to_vec),
                resume: !connect.clean_start(),
                expiry_s: 0,
                keep_alive_s: connect.keep_alive(),
                receive_max: u16::MAX,
                packet_bytes_max: u32::MAX,
            };
            for property in connect.props() {
                match property {
                    Property::SessionExpiryInterval(value) => hello.expiry_s = value.val(),
                    Property::ReceiveMaximum(value) => hello.receive_max = value.val(),
                    Property::MaximumPacketSize(value) => hello.packet_bytes_max = value.val(),
                    Property::AuthenticationMethod(_) => {
                        return Err(MqttError::BadAuthenticationMethod);
                    }
                    _ => {}
                }
            }
            Ok(hello)
        }
        Some(_) => Err(MqttError::UnsupportedProtocolVersion),
        None => Err(MqttError::MalformedPacket),
    }
}

/// A packet from a client that is in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Received<'a> {
    /// A message; `packet_id` is present at QoS 1.
    Publish {
        topic: &'a str,
        packet_id: Option<u16>,
        payload: &'a [u8],
    },
    Puback(u16),
    /// Filters with the QoS asked for.
    Subscribe {
        packet_id: u16,
        filters: Vec<(String, u8)>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Pingreq,
    Disconnect,
}

/// Reads one packet of a client that is in.
pub(crate) fn decode(version: Version, first: u8, body: &[u8]) -> Result<Received<'_>, MqttError> {
    match (first >> 4, version) {
        (3, _) => message(version, first & 0x0f, body),
        (4, Version::V3) => Ok(Received::Puback(
            exact(body, v3_1_1::Puback::parse)?.packet_id(),
        )),
        (4, Version::V5) => Ok(Received::Puback(
            exact(body, v5_0::Puback::parse)?.packet_id(),
        )),
        (8, Version::V3) => {
            let packet = exact(body, v3_1_1::Subscribe::parse)?;
            Ok(Received::Subscribe {
                packet_id: nonzero(packet.packet_id())?,
                filters: packet.entries().iter().map(filter).collect(),
            })
        }
        (8, Version::V5) => {
            let packet = exact(body, v5_0::Subscribe::parse)?;
            Ok(Received::Subscribe {
                packet_id: nonzero(packet.packet_id())?,
                filters: packet.entries().iter().map(filter).collect(),
            })
        }
        (10, Version::V3) => {
            let packet = exact(body, v3_1_1::Unsubscribe::parse)?;
            Ok(Received::Unsubscribe {
                packet_id: nonzero(packet.packet_id())?,
                filters: packet
                    .entries()
                    .iter()
                    .map(|f| f.as_str().to_owned())
                    .collect(),
            })
        }
        (10, Version::V5) => {
            let packet = exact(body, v5_0::Unsubscribe::parse)?;
            Ok(Received::Unsubscribe {
                packet_id: nonzero(packet.packet_id())?,
                filters: packet
                    .entries()
                    .iter()
                    .map(|f| f.as_str().to_owned())
                    .collect(),
            })
        }
        (12, _) => Ok(Received::Pingreq),
        (14, _) => Ok(Received::Disconnect),
        // A second CONNECT, a packet only servers send, or QoS 2 and AUTH, which were not offered.
        _ => Err(MqttError::ProtocolError),
    }
}

fn exact<T>(
    body: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<(T, usize), MqttError>,
) -> Result<T, MqttError> {
    let (packet, read) = parse(body)?;
    if read == body.len() {
        Ok(packet)
    } else {
        Err(MqttError::MalformedPacket)
    }
}

/// Reads a PUBLISH where it lies: it is what nearly every packet is (MQTT 5, section 3.3).
fn message(version: Version, flags: u8, body: &[u8]) -> Result<Received<'_>, MqttError> {
    let malformed = MqttError::MalformedPacket;
    let (length, rest) = body.split_first_chunk().ok_or(malformed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (topic, rest) = rest.split_at_checked(length).ok_or(malformed)?;
    let topic = std::str::from_utf8(topic).map_err(|_| malformed)?;
    let (packet_id, rest) = match (flags >> 1) & 3 {
        0 => (None, rest),
        1 => {
            let (packet_id, rest) = rest.split_first_chunk().ok_or(malformed)?;
            (Some(nonzero(u16::from_be_bytes(*packet_id))?), rest)
        }
        2 => return Err(MqttError::QosNotSupported),
        _ => return Err(malformed),
    };
    let payload = match (version, rest.split_first()) {
        (Version::V3, _) => rest,
        (Version::V5, None) => return Err(malformed),
        (Version::V5, Some((0, payload))) => payload,
        (Version::V5, Some(_)) => {
            let packet = exact(body, |body| v5_0::Publish::parse(flags, Arc::from(body)))?;
            let is_alias = |property: &Property| matches!(property, Property::TopicAlias(_));
            if packet.props().iter().any(is_alias) {
                // Never offered: the CONNACK leaves the alias maximum at its default, 0.
                return Err(MqttError::TopicAliasInvalid);
            }
            &body[body.len() - packet.payload().len()..]
        }
    };
    Ok(Received::Publish {
        topic,
        packet_id,
        payload,
    })
}

fn nonzero(packet_id: u16) -> Result<u16, MqttError> {
    if packet_id == 0 {
        return Err(MqttError::ProtocolError);
    }
    Ok(packet_id)
}

fn filter(entry: &SubEntry) -> (String, u8) {
    (
        entry.topic_filter().to_owned(),
        entry.sub_opts().qos() as u8,
    )
}

/// What the endpoint promises in its CONNACK.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// The client's earlier session is taken up.
    pub session_present: bool,
    pub packet_bytes_max: u32,
    pub receive_max: u16,
    /// Told to a MQTT 5 client where it differs from what the client asked for.
    pub keep_alive_s: Option<u16>,
}

/// Writes the CONNACK that lets a client in.
pub(crate) fn connack_accepted(version: Version, offer: Offer, out: &mut Vec<u8>) {
    let bytes = match version {
        Version::V3 => v3_1_1::Connack::builder()
            .session_present(offer.session_present)
            .return_code(ConnectReturnCode::Accepted)
            .build()
            .expect("every field is set")
            .to_continuous_buffer(),
        Version::V5 => v5_0::Connack::builder()
            .session_present(offer.session_present)
            .reason_code(ConnectReasonCode::Success)
            .props(offer_properties(offer))
            .build()
            .expect("every field is set")
            .to_continuous_buffer(),
    };
    out.extend_from_slice(&bytes);
}

fn offer_properties(offer: Offer) -> Vec<Property> {
    let valid = "the value is in the property's range";
    let mut properties = vec![
        Property::ReceiveMaximum(ReceiveMaximum::new(offer.receive_max).expect(valid)),
        Property::MaximumQos(MaximumQos::new(1).expect(valid)),
        Property::RetainAvailable(RetainAvailable::new(0).expect(valid)),
        Property::MaximumPacketSize(MaximumPacketSize::new(offer.packet_bytes_max).expect(valid)),
        Property::WildcardSubscriptionAvailable(
            WildcardSubscriptionAvailable::new(0).expect(valid),
        ),
        Property::SubscriptionIdentifierAvailable(
            SubscriptionIdentifierAvailable::new(0).expect(valid),
        ),
        Property::SharedSubscriptionAvailable(SharedSubscriptionAvailable::new(0).expect(valid)),
    ];
    if let Some(seconds) = offer.keep_alive_s {
        properties.push(Property::ServerKeepAlive(
            ServerKeepAlive::new(seconds).expect(valid),
        ));
    }
    properties
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    Version,
    Credentials,
    Unavailable,
}

/// Writes the CONNACK that turns a client away.
pub(crate) fn connack_denied(version: Version, denied: Denied, out: &mut Vec<u8>) {
    let bytes = match version {
        Version::V3 => v3_1_1::Connack::builder()
            .session_present(false)
            .return_code(match denied {
                Denied::Version => ConnectReturnCode::UnacceptableProtocolVersion,
                Denied::Credentials => ConnectReturnCode::BadUserNameOrPassword,
                Denied::Unavailable => ConnectReturnCode::ServerUnavailable,
            })
            .build()
            .expect("every field is set")
            .to_continuous_buffer(),
        Version::V5 => v5_0::Connack::builder()
            .session_present(false)
            .reason_code(match denied {
                Denied::Version => ConnectReasonCode::UnsupportedProtocolVersion,
                Denied::Credentials => ConnectReasonCode::BadUserNameOrPassword,
                Denied::Unavailable => ConnectReasonCode::ServerUnavailable,
            })
            .build()
            .expect("every field is set")
            .to_continuous_buffer(),
    };
    out.extend_from_slice(&bytes);
}

/// The acknowledgement of one message that is kept, the same four bytes in both versions (MQTT 5, section 3.4.2.1).
pub(crate) fn puback_kept(packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [0x40, 2, high, low]
}

/// Writes the acknowledgement of one message; `kept` is false for one that was refused for good.
pub(crate) fn puback(version: Version, packet_id: u16, kept: bool, out: &mut Vec<u8>) {
    if version == Version::V3 || kept {
        out.extend_from_slice(&puback_kept(packet_id));
        return;
    }
    let bytes = v5_0::Puback::builder()
        .packet_id(packet_id)
        .reason_code(PubackReasonCode::PayloadFormatInvalid)
        .build()
        .expect("the packet id is not 0")
        .to_continuous_buffer();
    out.extend_from_slice(&bytes);
}

/// Writes a SUBACK: per filter the QoS granted, or `None` where it is refused.
pub(crate) fn suback(version: Version, packet_id: u16, granted: &[Option<u8>], out: &mut Vec<u8>) {
    let bytes = match version {
        Version::V3 => v3_1_1::Suback::builder()
            .packet_id(packet_id)
            .return_codes(
                granted
                    .iter()
                    .map(|qos| match qos {
                        Some(0) => SubackReturnCode::SuccessMaximumQos0,
                        Some(_) => SubackReturnCode::SuccessMaximumQos1,
                        None => SubackReturnCode::Failure,
                    })
                    .collect(),
            )
            .build()
            .expect("a subscription has a filter")
            .to_continuous_buffer(),
        Version::V5 => v5_0::Suback::builder()
            .packet_id(packet_id)
            .reason_codes(
                granted
                    .iter()
                    .map(|qos| match qos {
                        Some(0) => SubackReasonCode::GrantedQos0,
                        Some(_) => SubackReasonCode::GrantedQos1,
                        None => SubackReasonCode::NotAuthorized,
                    })
                    .collect(),
            )
            .build()
            .expect("a subscription has a filter")
            .to_continuous_buffer(),
    };
    out.extend_from_slice(&bytes);
}

/// Writes an UNSUBACK: per filter whether there was such a subscription.
pub(crate) fn unsuback(version: Version, packet_id: u16, existed: &[bool], out: &mut Vec<u8>) {
    let bytes = match version {
        Version::V3 => v3_1_1::Unsuback::builder()
            .packet_id(packet_id)
            .build()
            .expect("the packet id is not 0")
            .to_continuous_buffer(),
        Version::V5 => v5_0::Unsuback::builder()
            .packet_id(packet_id)
            .reason_codes(
                existed
                    .iter()
                    .map(|existed| match existed {
                        true => UnsubackReasonCode::Success,
                        false => UnsubackReasonCode::NoSubscriptionExisted,
                    })
                    .collect(),
            )
            .build()
            .expect("the packet id is not 0 and a filter is there")
            .to_continuous_buffer(),
    };
    out.extend_from_slice(&bytes);
}

/// Writes a message to a client; `packet_id` makes it QoS 1.
pub(crate) fn publish(
    version: Version,
    topic: &str,
    packet_id: Option<u16>,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let valid = "a topic of ours is a valid topic, and a packet id is not 0";
    let qos = match packet_id {
        Some(_) => Qos::AtLeastOnce,
        None => Qos::AtMostOnce,
    };
    let bytes = match version {
        Version::V3 => {
            let mut packet = v3_1_1::Publish::builder()
                .topic_name(topic)
                .expect(valid)
                .qos(qos)
                .payload(payload);
            if let Some(packet_id) = packet_id {
                packet = packet.packet_id(packet_id);
            }
            packet.build().expect(valid).to_continuous_buffer()
        }
        Version::V5 => {
            let mut packet = v5_0::Publish::builder()
                .topic_name(topic)
                .expect(valid)
                .qos(qos)
                .payload(payload);
            if let Some(packet_id) = packet_id {
                packet = packet.packet_id(packet_id);
            }
            packet.build().expect(valid).to_continuous_buffer()
        }
    };
    out.extend_from_slice(&bytes);
}

/// Writes the answer to a PINGREQ.
pub(crate) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// Writes why the connection ends, which only MQTT 5 can say.
pub(crate) fn disconnect(version: Version, reason: DisconnectReasonCode, out: &mut Vec<u8>) {
    if version == Version::V5 {
        let bytes = v5_0::Disconnect::builder()
            .reason_code(reason)
            .build()
            .expect("every field is set")
            .to_continuous_buffer();
        out.extend_from_slice(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes packets off `bytes` as a connection does; must come to an end without a panic.
    fn take_all(version: Version, mut bytes: &[u8]) {
        while let Ok(Some(frame)) = frame(bytes, 4096) {
            let body = &bytes[frame.body_start..frame.end];
            drop(decode_connect(body));
            drop(decode(version, frame.first, body));
            bytes = &bytes[frame.end..];
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_at_worst(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            take_all(Version::V3, &bytes);
            take_all(Version::V5, &bytes);
        }

        #[test]
        fn any_body_of_any_packet_is_an_error_at_worst(
            first in any::<u8>(),
            body in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            for version in [Version::V3, Version::V5] {
                drop(decode(version, first, &body));
            }
            let named = [b"\x00\x04MQTT\x05".as_slice(), &body].concat();
            drop(decode_connect(&named));
            let named = [b"\x00\x04MQTT\x04".as_slice(), &body].concat();
            drop(decode_connect(&named));
        }

        #[test]
        fn a_message_comes_back_as_it_was(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            id in prop::option::of(1u16..),
        ) {
            for version in [Version::V3, Version::V5] {
                let mut bytes = Vec::new();
                publish(version, "t/17/up", id, &payload, &mut bytes);
                let whole = frame(&bytes, 4096).unwrap().unwrap();
                prop_assert_eq!(whole.end, bytes.len());
                prop_assert_eq!(frame(&bytes[..bytes.len() - 1], 4096).unwrap(), None);
                let received = decode(version, whole.first, &bytes[whole.body_start..]).unwrap();
                let Received::Publish { topic, packet_id, payload: got } = received else {
                    panic!("not a message");
                };
                prop_assert_eq!((topic, packet_id), ("t/17/up", id));
                prop_assert_eq!(got, &payload[..]);
            }
        }
    }
}
