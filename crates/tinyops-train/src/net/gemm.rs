//! Matrix products over checked slices.

/// A matrix read from a slice: element `(i, j)` lies at `i * row + j * column`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> View<'a> {
    /// Rows one after another, each of `width` elements.
    pub(crate) fn rows(data: &'a [f32], width: usize) -> Self {
        Self {
            data,
            row: width,
            column: 1,
        }
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            data: self.data,
            row: self.column,
            column: self.row,
        }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// `out = a · b + keep * out`, with `a` of `[m, k]`, `b` of `[k, n]` and `out` rows of `n`.
pub(crate) fn multiply(
    [m, k, n]: [usize; 3],
    a: View<'_>,
    b: View<'_>,
    keep: f32,
    out: &mut [f32],
) {
    assert!(
        a.holds(m, k) && b.holds(k, n) && out.len() >= m * n,
        "matrix larger than its slice"
    );
    // SAFETY: the assertion holds every element of the three matrices inside its slice, and `out`
    // is borrowed exclusively, so it overlaps neither `a` nor `b`.
    #[expect(unsafe_code, reason = "matrixmultiply takes pointers and strides")]
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.data.as_ptr(),
            a.row as isize,
            a.column as isize,
            b.data.as_ptr(),
            b.row as isize,
            b.column as isize,
            keep,
            out.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_transposed_views() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // [2, 3]
        let b = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]; // [3, 2]
        let mut out = [1.0; 4];
        multiply(
            [2, 3, 2],
            View::rows(&a, 3),
            View::rows(&b, 2),
            1.0,
            &mut out,
        );
        assert_eq!(out, [5.0, 6.0, 11.0, 12.0]);
        let mut gram = [0.0; 9];
        multiply(
            [3, 2, 3],
            View::rows(&a, 3).transposed(),
            View::rows(&a, 3),
            0.0,
            &mut gram,
        );
        assert_eq!(gram, [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]);
    }

    #[test]
    #[should_panic(expected = "matrix larger than its slice")]
    fn a_short_slice_is_refused() {
        multiply(
            [2, 2, 2],
            View::rows(&[0.0; 3], 2),
            View::rows(&[0.0; 4], 2),
            0.0,
            &mut [0.0; 4],
        );
    }
}
