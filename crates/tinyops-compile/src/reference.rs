//! Outputs of other runtimes for the same inputs: the files that a network is held against.
//!
//! Two forms are read. `*.cases.json` is `{model, tolerance, cases: [{name, inputs: [base64],
//! outputs: [base64], layers: [{tensor, values: base64}]}]}`, where `layers` may be absent;
//! `stream: true` says that each case goes on where the one before ended.
//! `*.golden.json` is that of the MLPerf Tiny goldens: inputs in hex or base64, `output_tflm` as a
//! list, and `layers_litert_ref` with a tensor index, a checksum and for short layers the bytes.

use serde_json::Value;

use crate::layers::Values;

/// A file of cases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// The file name of the network, beside the file of cases.
    pub model: String,
    /// The greatest difference in the last place that counts as equal.
    pub tolerance: u32,
    /// Each case goes on where the one before ended: for networks that remember.
    pub is_stream: bool,
    /// The cases.
    pub cases: Vec<ReferenceCase>,
    /// Who made the outputs, and who the layers where somebody else did.
    pub made_by: String,
}

/// One input and what was made of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReferenceCase {
    /// For people.
    pub name: String,
    /// The bytes of each input.
    pub inputs: Vec<Vec<u8>>,
    /// The bytes of each output.
    pub outputs: Vec<Vec<u8>>,
    /// What is known of the layers.
    pub layers: Vec<ReferenceLayer>,
}

/// What is known of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceLayer {
    /// The tensor's name, where the file gives it.
    pub tensor: Option<String>,
    /// Its index in the network's file, where the file of cases gives that.
    pub index: Option<usize>,
    /// The operator, where the file gives it.
    pub kind: Option<String>,
    /// The values.
    pub values: Values,
}

/// Why a file is no file of cases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Not JSON.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
    /// Another document.
    #[error("holds no `model` and `cases`")]
    Form,
    /// A case without something that is needed, or with something that does not decode.
    #[error("case `{case}`: {what}")]
    Case {
        /// Its name.
        case: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl Reference {
    /// Reads a file of either form.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn from_json(text: &str) -> Result<Reference, ReferenceError> {
        let file: Value = serde_json::from_str(text)?;
        let (Some(model), Some(cases)) = (file["model"].as_str(), file["cases"].as_array()) else {
            return Err(ReferenceError::Form);
        };
        let is_golden = cases.iter().any(|case| !case["output_tflm"].is_null());
        let read = if is_golden { golden_case } else { plain_case };
        let cases: Result<Vec<_>, _> = cases
            .iter()
            .map(|case| {
                let name = case["name"].as_str().unwrap_or("?").to_owned();
                read(case, &name).map_err(|what| ReferenceError::Case { case: name, what })
            })
            .collect();
        let cases = cases?;
        let has_layers = cases.iter().any(|case| !case.layers.is_empty());
        let made_by = match (is_golden, has_layers) {
            (true, true) => "outputs of TFLM, layers of LiteRT's reference kernels",
            (true, false) => "outputs of TFLM",
            (false, true) => "outputs and layers",
            (false, false) => "outputs",
        };
        Ok(Reference {
            model: model.to_owned(),
            tolerance: file["tolerance"].as_u64().unwrap_or(0) as u32,
            is_stream: file["stream"].as_bool().unwrap_or(false),
            cases,
            made_by: made_by.to_owned(),
        })
    }
}

fn plain_case(case: &Value, name: &str) -> Result<ReferenceCase, &'static str> {
    let tensors = |key: &str| -> Option<Vec<Vec<u8>>> {
        let list = case[key].as_array()?;
        list.iter().map(|one| base64(one.as_str()?)).collect()
    };
    let layer = |layer: &Value| {
        Some(ReferenceLayer {
            tensor: Some(layer["tensor"].as_str()?.to_owned()),
            index: None,
            kind: layer["op"].as_str().map(str::to_owned),
            values: Values::Bytes(base64(layer["values"].as_str()?)?),
        })
    };
    let layers = case["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let layers: Option<Vec<_>> = layers.iter().map(layer).collect();
    Ok(ReferenceCase {
        name: name.to_owned(),
        inputs: tensors("inputs").ok_or("`inputs` is no list of base64")?,
        outputs: tensors("outputs").ok_or("`outputs` is no list of base64")?,
        layers: layers.ok_or("`layers` is no list of `tensor` and `values` in base64")?,
    })
}

fn golden_case(case: &Value, name: &str) -> Result<ReferenceCase, &'static str> {
    let input = match (case["input_hex"].as_str(), case["input_b64"].as_str()) {
        (Some(text), _) => hex(text),
        (None, Some(text)) => base64(text),
        (None, None) => None,
    };
    let numbers = case["output_tflm"].as_array();
    let output: Option<Vec<u8>> = numbers.and_then(|numbers| {
        let byte = |number: &Value| Some(i8::try_from(number.as_i64()?).ok()? as u8);
        numbers.iter().map(byte).collect()
    });
    let layers = case["layers_litert_ref"].as_array();
    let layer = |layer: &Value| {
        let values = match layer["bytes_hex"].as_str() {
            Some(text) => Values::Bytes(hex(text)?),
            None => Values::Crc32 {
                bytes: layer["n"].as_u64()? as usize,
                crc32: u32::from_str_radix(layer["crc32"].as_str()?, 16).ok()?,
            },
        };
        Some(ReferenceLayer {
            tensor: None,
            index: layer["tensor"].as_u64().map(|index| index as usize),
            kind: layer["op"].as_str().map(str::to_owned),
            values,
        })
    };
    let layers: Option<Vec<_>> = layers
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(layer)
        .collect();
    Ok(ReferenceCase {
        name: name.to_owned(),
        inputs: vec![input.ok_or("has neither `input_hex` nor `input_b64`")?],
        outputs: vec![output.ok_or("`output_tflm` is no list of int8")?],
        layers: layers.ok_or("`layers_litert_ref` has a layer without bytes or checksum")?,
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| {
        let &[high, low] = pair else { return None };
        let [high, low] = [high, low].map(|digit| char::from(digit).to_digit(16));
        Some((high? * 16 + low?) as u8)
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut bit_count) = (0u32, 0);
    for symbol in text.bytes().take_while(|&symbol| symbol != b'=') {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push((bits >> bit_count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_hex_decode() {
        assert_eq!(base64("AAEC/w==").as_deref(), Some(&[0, 1, 2, 255][..]));
        assert_eq!(base64("AAE").as_deref(), Some(&[0, 1][..]));
        assert_eq!(base64("A*=="), None);
        assert_eq!(hex("00fF7f").as_deref(), Some(&[0, 255, 127][..]));
        assert_eq!((hex("0"), hex("0g"), hex("+1")), (None, None, None));
    }

    #[test]
    fn both_forms_are_read() {
        let plain = r#"{"model": "a.tflite", "tolerance": 1, "stream": true, "cases": [
            {"name": "x", "inputs": ["AAE="], "outputs": ["/w=="], "layers": [{"tensor": "conv", "values": "Ag=="}]}]}"#;
        let read = Reference::from_json(plain).expect("sound");
        assert_eq!((read.model.as_str(), read.tolerance), ("a.tflite", 1));
        assert!(read.is_stream);
        assert_eq!(read.cases[0].inputs, [[0, 1]]);
        assert_eq!(read.cases[0].layers[0].values, Values::Bytes(vec![2]));
        let golden = r#"{"model": "a.tflite", "cases": [{"name": "x", "input_hex": "0001", "output_tflm": [-1],
            "layers_litert_ref": [{"op": "CONV_2D", "tensor": 7, "n": 9, "crc32": "000000ff"}]}]}"#;
        let read = Reference::from_json(golden).expect("sound");
        assert_eq!(read.cases[0].outputs, [[255]]);
        let layer = &read.cases[0].layers[0];
        assert_eq!(
            (layer.index, layer.values.bytes(), layer.values.crc32()),
            (Some(7), 9, 255)
        );
    }

    #[test]
    fn what_is_no_file_of_cases_says_why() {
        let says = |text: &str| Reference::from_json(text).expect_err("refused").to_string();
        assert_eq!(says("[]"), "holds no `model` and `cases`");
        let text = r#"{"model": "m", "cases": [{"name": "x", "inputs": ["AA=="], "outputs": 3}]}"#;
        assert_eq!(says(text), "case `x`: `outputs` is no list of base64");
        assert!(matches!(
            Reference::from_json("{"),
            Err(ReferenceError::Json(_))
        ));
    }
}
