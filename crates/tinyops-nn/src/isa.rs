//! Which instructions compute on the host. All give the same bytes.

/// An instruction set that the kernels of [`crate::Prepared`] are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// The portable kernels, the ones that [`crate::Plan::run`] uses on any host.
    Portable,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX2 and AVX-VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, VL, VBMI and VNNI.
    Avx512,
    /// AArch64 with the dot products of Armv8.2.
    Neon,
}

impl Isa {
    /// All, the fastest last.
    pub const ALL: [Isa; 5] = [
        Isa::Portable,
        Isa::Neon,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::Avx512,
    ];

    /// The fastest that this processor has.
    #[must_use]
    pub fn detect() -> Isa {
        let fastest = Isa::available().last();
        fastest.unwrap_or(Isa::Portable)
    }

    /// Those that this processor has, the fastest last.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// Whether this processor, and the system that runs on it, know the instructions.
    #[must_use]
    pub fn is_available(self) -> bool {
        self == Isa::Portable || crate::arch::has(self)
    }

    /// The name for people and for [`Isa::from_name`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avx-vnni",
            Isa::Avx512 => "avx-512",
            Isa::Neon => "neon",
        }
    }

    /// The set of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Values that the kernels multiply as one group of four bytes; 0 without kernels.
    pub(crate) fn group(self) -> usize {
        match self {
            Isa::Portable => 0,
            Isa::Avx2 => 2,
            Isa::AvxVnni | Isa::Avx512 | Isa::Neon => 4,
        }
    }

    /// What the kernels add to a value before they multiply it.
    pub(crate) fn value_offset(self) -> u8 {
        match self {
            Isa::AvxVnni | Isa::Avx512 => 0x80,
            Isa::Portable | Isa::Avx2 | Isa::Neon => 0,
        }
    }
}
