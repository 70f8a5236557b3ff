//! Base64 (RFC 4648, section 4) over lent memory: what consoles and network servers carry bytes in.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters that so many bytes make, padding among them.
pub const fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Writes bytes as characters; answers how many, or `None` for too little room.
pub fn encode(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    let out = out.get_mut(..encoded_len(bytes.len()))?;
    for (three, four) in bytes.chunks(3).zip(out.chunks_exact_mut(4)) {
        let bits = (0..3).fold(0_u32, |bits, index| {
            bits << 8 | u32::from(three.get(index).copied().unwrap_or(0))
        });
        for (index, character) in four.iter_mut().enumerate() {
            *character = if index <= three.len() {
                DIGITS[(bits >> (18 - 6 * index)) as usize & 63]
            } else {
                b'='
            };
        }
    }
    Some(out.len())
}

/// Reads characters, padded; answers how many bytes, or `None` for what is not base64 or too little room.
pub fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|&&c| c == b'=').count();
    if padding > 2 {
        return None;
    }
    let total = text.len() / 4 * 3 - padding;
    let out = out.get_mut(..total)?;
    let mut written = 0;
    for (index, four) in text.chunks_exact(4).enumerate() {
        let is_last = 4 * (index + 1) == text.len();
        let digits = if is_last { 4 - padding } else { 4 };
        let mut bits = 0_u32;
        for &character in &four[..digits] {
            bits = bits << 6 | u32::from(value(character)?);
        }
        bits <<= 6 * (4 - digits);
        let bytes = bits.to_be_bytes();
        let count = digits * 6 / 8;
        // The bits that no byte holds are zero, or two texts would stand for the same bytes.
        if bytes[1 + count..].iter().any(|&byte| byte != 0) {
            return None;
        }
        out[written..written + count].copy_from_slice(&bytes[1..1 + count]);
        written += count;
    }
    Some(written)
}

fn value(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = [0; 16];
            let len = encode(bytes.as_bytes(), &mut out).unwrap();
            assert_eq!(&out[..len], text.as_bytes());
            let len = decode(text.as_bytes(), &mut out).unwrap();
            assert_eq!(&out[..len], bytes.as_bytes());
        }
        for wrong in [
            "Zg=", "Zg", "Z===", "Zh==", "Zm9=", "Zm9v\n", "Zg==Zg==", "====", "Zm9-",
        ] {
            assert_eq!(decode(wrong.as_bytes(), &mut [0; 16]), None, "{wrong}");
        }
        assert_eq!(decode(b"Zm9v", &mut [0; 2]), None);
        assert_eq!(encode(b"foo", &mut [0; 3]), None);
    }
}
