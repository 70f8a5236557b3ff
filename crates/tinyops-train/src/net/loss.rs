//! What training makes small.

/// Softmax cross entropy of each row against target shares, averaged by weight.
///
/// `loss = Σ_i w[i] · -Σ_k t[i,k] · ln softmax(z[i])[k] / Σ_i w[i]`
///
/// Writes the gradient over the logits and returns the loss.
pub(crate) fn cross_entropy(
    logits: &[f32],
    targets: &[f32],
    weights: &[f32],
    grad: &mut [f32],
) -> f32 {
    let classes = logits.len() / weights.len().max(1);
    let total: f32 = weights.iter().sum::<f32>().max(f32::MIN_POSITIVE);
    let mut loss = 0.0f64;
    let rows = logits
        .chunks_exact(classes)
        .zip(targets.chunks_exact(classes));
    for (((logits, targets), grad), weight) in rows.zip(grad.chunks_exact_mut(classes)).zip(weights)
    {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|z| (z - largest).exp()).sum();
        let log_sum = sum.ln() + largest;
        let share = weight / total;
        for ((grad, z), t) in grad.iter_mut().zip(logits).zip(targets) {
            loss -= f64::from(t * (z - log_sum) * share);
            *grad = ((z - log_sum).exp() - t) * share;
        }
    }
    loss as f32
}

/// Mean of the squared differences over all rows and columns, rows weighted.
pub(crate) fn squared_error(
    outputs: &[f32],
    targets: &[f32],
    weights: &[f32],
    grad: &mut [f32],
) -> f32 {
    let width = outputs.len() / weights.len().max(1);
    let total: f32 = weights.iter().sum::<f32>().max(f32::MIN_POSITIVE) * width as f32;
    let mut loss = 0.0f64;
    let rows = outputs.chunks_exact(width).zip(targets.chunks_exact(width));
    for (((outputs, targets), grad), weight) in rows.zip(grad.chunks_exact_mut(width)).zip(weights)
    {
        let share = weight / total;
        for ((grad, y), t) in grad.iter_mut().zip(outputs).zip(targets) {
            loss += f64::from((y - t) * (y - t) * share);
            *grad = 2.0 * (y - t) * share;
        }
    }
    loss as f32
}
