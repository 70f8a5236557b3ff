#![forbid(unsafe_code)]
//! Boots firmware and packages in an emulator and compares with golden vectors.
