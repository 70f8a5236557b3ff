//! Puts the board's memory where the linker looks for it.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    fs::write(out.join("memory.x"), include_str!("memory.x")).expect("the folder is there");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed=memory.x");
    // Who the device is: the example's, or a file of its own.
    println!("cargo:rerun-if-env-changed=TINYOPS_IDENTITY");
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo says where");
    let identity =
        env::var("TINYOPS_IDENTITY").unwrap_or_else(|_| format!("{folder}/examples/identity.rs"));
    let text = fs::read_to_string(&identity).unwrap_or_else(|error| panic!("{identity}: {error}"));
    fs::write(out.join("identity.rs"), text).expect("the folder is there");
    println!("cargo:rerun-if-changed={identity}");
}
