//! Writes the machine's memory map, for the linker and for the program.
//!
//! `tinyops-emulate` sets the variables from its table of machines and from the board that the machine stands for.
//! Without them: `mps2-an386` with what an Arduino Nano 33 BLE Sense leaves beside its bootloader and radio.

use std::{env, fs, path::PathBuf};

fn main() {
    let number = |name: &str, default: u32| {
        let text = variable(name).unwrap_or(default.to_string());
        text.parse::<u32>().expect("a number")
    };
    let flash = (number("FLASH_ORIGIN", 0), number("FLASH_BYTES", 960 << 10));
    let ram = (
        number("RAM_ORIGIN", 0x2000_0000),
        number("RAM_BYTES", 190 << 10),
    );
    let loaded = (
        number("LOADED_ORIGIN", 0x0020_0000),
        number("LOADED_BYTES", 2 << 20),
    );
    let more_ram = (
        number("MORE_RAM_ORIGIN", 0x2100_0000),
        number("MORE_RAM_BYTES", 0),
    );
    // Bytes of each piece of the board's RAM, the greatest number for the one that the linker has.
    let pieces = variable("PIECES").unwrap_or(u32::MAX.to_string());
    let pieces: Vec<u32> = (pieces.split(' '))
        .map(|bytes| bytes.parse().expect("a number"))
        .collect();
    let chip = variable("CHIP").unwrap_or("cmsdk".to_owned());
    let uart_address = number("UART_ADDRESS", 0x4000_4000);

    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let memory = format!(
        "MEMORY\n{{\n  FLASH : ORIGIN = {:#x}, LENGTH = {}\n  RAM : ORIGIN = {:#x}, LENGTH = {}\n}}\n",
        flash.0, flash.1, ram.0, ram.1
    );
    fs::write(folder.join("memory.x"), memory).expect("OUT_DIR can be written");
    let map = format!(
        "use super::{chip} as chip;\npub(crate) const UART: usize = {uart_address:#x};\npub(crate) const LOADED: usize = {:#x};\npub(crate) const LOADED_BYTES: usize = {};\npub(crate) const MORE_RAM: usize = {:#x};\npub(crate) const MORE_RAM_BYTES: usize = {};\npub(crate) const PIECES: &[usize] = &{pieces:?};\n",
        loaded.0, loaded.1, more_ram.0, more_ram.1
    );
    fs::write(folder.join("map.rs"), map).expect("OUT_DIR can be written");
    println!("cargo:rustc-link-search={}", folder.display());
    println!("cargo:rerun-if-changed=build.rs");
}

fn variable(name: &str) -> Option<String> {
    let name = format!("TINYOPS_{name}");
    println!("cargo:rerun-if-env-changed={name}");
    env::var(name).ok()
}
