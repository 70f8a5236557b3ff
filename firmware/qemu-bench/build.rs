//! Writes the linker's memory map: the board that the emulated machine stands for leaves this much.

use std::{env, fs, path::PathBuf};

/// Without a board: what an Arduino Nano 33 BLE Sense leaves beside its bootloader and radio.
const FLASH_BYTES: u32 = 960 * 1024;
const RAM_BYTES: u32 = 190 * 1024;

fn main() {
    let flash = bytes("TINYOPS_FLASH_BYTES", FLASH_BYTES);
    let ram = bytes("TINYOPS_RAM_BYTES", RAM_BYTES);
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let map = format!(
        "MEMORY\n{{\n  FLASH : ORIGIN = 0x00000000, LENGTH = {flash}\n  RAM : ORIGIN = 0x20000000, LENGTH = {ram}\n}}\n"
    );
    fs::write(folder.join("memory.x"), map).expect("OUT_DIR can be written");
    println!("cargo:rustc-link-search={}", folder.display());
    println!("cargo:rerun-if-changed=build.rs");
}

fn bytes(name: &str, default: u32) -> u32 {
    println!("cargo:rerun-if-env-changed={name}");
    match env::var(name) {
        Ok(text) => text.parse().expect("a number of bytes"),
        Err(_) => default,
    }
}
