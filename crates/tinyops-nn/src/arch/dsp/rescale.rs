//! From a sum to an output byte.

/// One pixel's sum, rescaled for a shift below 0: `r12 = 2m`, `r10 = -2^(32+s)`, `lr = zp`.
macro_rules! rescale {
    ($x:literal) => {
        concat!(
            "smmlar ",
            $x,
            ", ",
            $x,
            ", r12, ",
            $x,
            "\n",
            "add ",
            $x,
            ", ",
            $x,
            ", ",
            $x,
            ", asr #31\n",
            "smmlsr ",
            $x,
            ", ",
            $x,
            ", r10, lr\n",
            "ssat ",
            $x,
            ", #8, ",
            $x,
            "\n",
        )
    };
}

/// As [`rescale`], where no value is less than the zero point.
macro_rules! rescale_plain {
    ($x:literal) => {
        concat!(
            "smmlar ",
            $x,
            ", ",
            $x,
            ", r12, ",
            $x,
            "\n",
            "smmlsr ",
            $x,
            ", ",
            $x,
            ", r10, lr\n",
            "ssat ",
            $x,
            ", #8, ",
            $x,
            "\n",
        )
    };
}
