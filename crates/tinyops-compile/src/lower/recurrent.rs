//! Ops that remember something between runs.

use tinyops_model::graph::{Data, Lstm, Op, Svdf};
use tinyops_nn::record::{OpCode, OpRecord};
use tinyops_nn::{Multiplier, lookup};

use super::Lowering;
use crate::compiled::CompileError;
use crate::constants::{filter_values, quantization};

impl Lowering<'_> {
    /// Lowers a filter over features and time.
    ///
    /// # Source
    /// TFLM, `PrepareSvdf`: both factors in single precision.
    pub(super) fn lower_svdf(
        &mut self,
        record: &mut OpRecord,
        op: &Op,
        svdf: &Svdf,
    ) -> Result<(), CompileError> {
        let graph = self.graph;
        let tensor = |input: usize| graph.tensor(op.inputs[input]);
        record.code = OpCode::Svdf;
        record.inputs[1] = self.record(op.inputs[3])?;
        let (features, time) = (filter_values(tensor(1)), filter_values(tensor(2)));
        let ((input_scale, zero_point), (feature_scale, _), (time_scale, _)) = (
            quantization(tensor(0)),
            quantization(tensor(1)),
            quantization(tensor(2)),
        );
        let (output_scale, _) = quantization(graph.tensor(op.output));
        let (_, state_zero_point) = quantization(tensor(3));
        let of_features = input_scale * feature_scale / svdf.state_scale;
        let of_time = svdf.state_scale * time_scale / output_scale;
        let mut bytes: Vec<u8> = features.iter().map(|&weight| weight as u8).collect();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes.extend(time.iter().map(|&weight| weight as u8));
        record.weights_offset = self.constants.put_array(&bytes);
        let filters = usize::from(tensor(1).shape[0]);
        let mut numbers = vec![
            filters as i32,
            i32::from(svdf.memory),
            i32::from(svdf.rank),
            if svdf.is_wide { 2 } else { 1 },
            i32::from(state_zero_point),
        ];
        for real in [of_features, of_time] {
            let multiplier = Multiplier::from_real(f64::from(real));
            numbers.extend([multiplier.value, i32::from(multiplier.shift)]);
        }
        let sum = |row: &[i8]| {
            let sum: i32 = row.iter().map(|&weight| i32::from(weight)).sum();
            sum.wrapping_mul(-i32::from(zero_point))
        };
        numbers.extend(features.chunks_exact(features.len() / filters).map(sum));
        match op
            .inputs
            .get(4)
            .and_then(|&bias| graph.tensor(bias).data.as_ref())
        {
            Some(Data::Int32(biases)) => numbers.extend(biases),
            _ => numbers.resize(numbers.len() + filters / usize::from(svdf.rank), 0),
        }
        record.channels_offset = self.constants.put_numbers(&numbers);
        Ok(())
    }

    /// Lowers a layer of long short-term memory.
    ///
    /// # Source
    /// TFLM, `PrepareGateParametersInteger`: gates have 12 bits after the point, what they make
    /// has 15.
    pub(super) fn lower_lstm(
        &mut self,
        record: &mut OpRecord,
        op: &Op,
        lstm: &Lstm,
    ) -> Result<(), CompileError> {
        const GATE_SCALE: f64 = 1.0 / 4096.0;
        const MADE_SCALE: f64 = 1.0 / 32_768.0;
        let graph = self.graph;
        let tensor = |input: usize| graph.tensor(op.inputs[input]);
        record.code = OpCode::Lstm;
        record.inputs[1] = self.record(op.inputs[1])?;
        let (input_scale, input_zero) = quantization(tensor(0));
        let (output_scale, output_zero) = quantization(graph.tensor(op.output));
        let cell_scale = f64::powi(2.0, i32::from(lstm.cell_exponent));
        let table = lookup::int16::sigmoid_table();
        let mut bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let most = (f64::from(lstm.cell_clip) / cell_scale).min(32_767.0);
        // A cell has so many more integer bits than the argument of the hyperbolic tangent.
        let left = i32::from(lstm.cell_exponent) + 12;
        let [multiplier, right] = if left < 0 { [3, -left] } else { [3 << left, 0] };
        let mut numbers = vec![
            i32::from(graph.tensor(op.output).shape[3]),
            i32::from(tensor(0).shape[3]),
            i32::from(output_zero),
            most as i32,
            multiplier,
            right,
        ];
        let mut put = |real: f64| {
            let multiplier = Multiplier::from_real(real);
            numbers.extend([multiplier.value, i32::from(multiplier.shift)]);
        };
        for gate in 0..4 {
            let sources = [(0, input_scale), (1, output_scale)];
            for (which, source) in sources {
                let (scale, _) = quantization(tensor(2 + 3 * gate + which));
                put(f64::from(source * scale) / GATE_SCALE);
            }
        }
        put(MADE_SCALE * cell_scale / cell_scale);
        put(MADE_SCALE * MADE_SCALE / cell_scale);
        put(MADE_SCALE * MADE_SCALE / f64::from(output_scale));
        for gate in 0..4 {
            let zero_points = [input_zero, output_zero].into_iter();
            for (which, zero_point) in zero_points.enumerate() {
                let weights = filter_values(tensor(2 + 3 * gate + which));
                bytes.extend(weights.iter().map(|&weight| weight as u8));
                let biases = match &tensor(4 + 3 * gate).data {
                    Some(Data::Int32(biases)) if which == 0 => Some(biases),
                    _ => None,
                };
                let units = usize::from(graph.tensor(op.output).shape[3]);
                let rows = weights.chunks_exact(weights.len() / units);
                numbers.extend(rows.enumerate().map(|(unit, row)| {
                    let sum: i32 = row.iter().map(|&weight| i32::from(weight)).sum();
                    let bias = biases.map_or(0, |biases| biases[unit]);
                    bias.wrapping_sub(sum.wrapping_mul(i32::from(zero_point)))
                }));
            }
        }
        record.weights_offset = self.constants.put_array(&bytes);
        record.channels_offset = self.constants.put_numbers(&numbers);
        Ok(())
    }
}
