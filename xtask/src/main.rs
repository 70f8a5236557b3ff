//! Every chore of the project, in Rust: `cargo xtask test | ci | golden | bench`.

fn main() {}
