//! The machines that QEMU has for the cores that boards have.

use tinyops_compile::Board;

/// A machine of QEMU, and how programs for its core are built.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    /// The name in commands and files.
    pub id: &'static str,
    /// The core whose instructions run, as boards name it.
    pub core: &'static str,
    /// QEMU's name.
    pub qemu: &'static str,
    /// Rust's target.
    pub target: &'static str,
    /// The core's name for code generation.
    pub target_cpu: &'static str,
    /// How the kernels are optimised: where assembly does the work, what is left is better small.
    pub opt_level: &'static str,
    /// Features of the firmware that this core has kernels behind.
    pub features: &'static [&'static str],
    /// Where programs lie, from the vectors on.
    pub flash: Region,
    /// Where data, arena and stack lie.
    pub ram: Region,
    /// A RAM of its own, where the board has other pieces than the one that the linker knows.
    pub more_ram: Region,
    /// Where the emulator's loader puts a plan and its cases.
    pub loaded: Region,
    /// What the loader calls the first byte of [`Self::loaded`]: its bus knows no secure addresses.
    pub loader_address: u32,
    /// The serial port.
    pub uart: Uart,
}

/// A part of the address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The first address.
    pub origin: u32,
    /// How many bytes.
    pub bytes: u32,
}

/// A serial port, by whose registers it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uart {
    /// Arm's Cortex-M System Design Kit; the address of its registers.
    Cmsdk(u32),
    /// Nordic's nRF51; the address of its registers.
    Nrf51(u32),
}

const fn region(origin: u32, bytes: u32) -> Region {
    Region { origin, bytes }
}

/// Arm's MPS2 board with a core of ARMv7-M: 4 MiB of SSRAM at 0, here half code and half what is
/// loaded, and 4 MiB at 0x2000_0000; PSRAM of 16 MiB apart from these.
const MPS2: Machine = Machine {
    id: "m4f",
    core: "Cortex-M4F",
    qemu: "mps2-an386",
    target: "thumbv7em-none-eabihf",
    target_cpu: "cortex-m4",
    opt_level: "\"s\"",
    features: &[],
    flash: region(0, 2 * MIB),
    ram: region(0x2000_0000, 4 * MIB),
    more_ram: region(0x2100_0000, 16 * MIB),
    loaded: region(0x0020_0000, 2 * MIB),
    loader_address: 0x0020_0000,
    uart: Uart::Cmsdk(0x4000_4000),
};

const MIB: u32 = 1 << 20;
const KIB: u32 = 1 << 10;

/// For what does not fit a micro:bit: the same code, and so the same instructions.
const M0_ON_M3: Machine = Machine {
    id: "m0-on-m3",
    core: "Cortex-M0",
    qemu: "mps2-an385",
    target: "thumbv6m-none-eabi",
    target_cpu: "cortex-m0",
    opt_level: "3",
    ..MPS2
};

/// Every machine, from the smallest core to the largest.
///
/// # Sources
/// Memory maps: Arm application notes AN385, AN386, AN500, AN505 and AN547; nRF51822 product
/// specification 3.4; what of them QEMU 7.2 has, its own `info mtree`.
pub static MACHINES: [Machine; 7] = [
    // 256 KiB of flash and 16 KiB of RAM: the smallest of all, and all that it has.
    Machine {
        id: "m0",
        core: "Cortex-M0",
        qemu: "microbit",
        target: "thumbv6m-none-eabi",
        target_cpu: "cortex-m0",
        opt_level: "3",
        flash: region(0, 176 * KIB),
        ram: region(0x2000_0000, 16 * KIB),
        more_ram: region(0, 0),
        loaded: region(176 * KIB, 80 * KIB),
        loader_address: 176 * KIB,
        uart: Uart::Nrf51(0x4000_2000),
        ..MPS2
    },
    M0_ON_M3,
    Machine {
        id: "m3",
        core: "Cortex-M3",
        qemu: "mps2-an385",
        target: "thumbv7m-none-eabi",
        target_cpu: "cortex-m3",
        opt_level: "3",
        ..MPS2
    },
    MPS2,
    Machine {
        id: "m7",
        core: "Cortex-M7",
        qemu: "mps2-an500",
        target_cpu: "cortex-m7",
        ..MPS2
    },
    // Starts in the secure state, whose addresses have bit 28 set.
    Machine {
        id: "m33",
        core: "Cortex-M33",
        qemu: "mps2-an505",
        target: "thumbv8m.main-none-eabihf",
        target_cpu: "cortex-m33",
        flash: region(0x1000_0000, 2 * MIB),
        ram: region(0x3800_0000, 4 * MIB),
        more_ram: region(0x8000_0000, 16 * MIB),
        loaded: region(0x1020_0000, 2 * MIB),
        loader_address: 0x0020_0000,
        uart: Uart::Cmsdk(0x5020_0000),
        ..MPS2
    },
    // Programs in ITCM, data in the second SRAM, what is loaded in the first; DTCM is apart from these.
    Machine {
        id: "m55",
        core: "Cortex-M55",
        qemu: "mps3-an547",
        target: "thumbv8m.main-none-eabihf",
        target_cpu: "cortex-m55",
        opt_level: MPS2.opt_level,
        features: &["mve"],
        flash: region(0x1000_0000, 512 * KIB),
        ram: region(0x3100_0000, 4 * MIB),
        more_ram: region(0x3000_0000, 512 * KIB),
        loaded: region(0x1100_0000, 2 * MIB),
        loader_address: 0x0100_0000,
        uart: Uart::Cmsdk(0x5930_3000),
    },
];

impl Machine {
    /// The machine of a name.
    #[must_use]
    pub fn named(id: &str) -> Option<&'static Machine> {
        MACHINES.iter().find(|machine| machine.id == id)
    }

    /// The machine for a board, and what is not the board's own about it, as a sentence.
    ///
    /// A core that QEMU has no machine for is stood in for by the Cortex-M4F.
    #[must_use]
    pub fn of_board(board: &Board) -> (&'static Machine, Option<String>) {
        let id = match board.arch.as_str() {
            "Cortex-M0" | "Cortex-M0+" => "m0",
            "Cortex-M3" => "m3",
            "Cortex-M4" | "Cortex-M4F" => "m4f",
            "Cortex-M7" => "m7",
            "Cortex-M33" => "m33",
            "Cortex-M55" => "m55",
            other => {
                let reason = format!("QEMU has no machine with {other}: a Cortex-M4F stands in");
                return (&MPS2, Some(reason));
            }
        };
        let machine = Machine::named(id).unwrap_or(&MPS2);
        let whole = machine.loaded.origin + machine.loaded.bytes - machine.flash.origin;
        if id == "m0" && (board.flash.bytes > whole || board.ram.bytes > machine.ram.bytes) {
            let reason = "more memory than QEMU's Cortex-M0 has: its code runs on a Cortex-M3";
            return (&M0_ON_M3, Some(reason.to_owned()));
        }
        (machine, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_regions_apart() {
        for (index, machine) in MACHINES.iter().enumerate() {
            assert_eq!(Machine::named(machine.id), Some(machine));
            assert!(MACHINES[..index].iter().all(|other| other.id != machine.id));
            let regions = [machine.flash, machine.ram, machine.more_ram, machine.loaded];
            for (index, one) in regions.iter().enumerate() {
                for other in &regions[..index] {
                    let apart = one.origin >= other.origin + other.bytes
                        || other.origin >= one.origin + one.bytes;
                    assert!(apart, "{}", machine.id);
                }
            }
        }
    }
}
