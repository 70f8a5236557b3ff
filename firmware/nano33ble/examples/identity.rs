// Who the device is: what its enrolment told it (`tinyops device enrol --identity FILE`), and what `tinyops keys export`
// writes. Copy this file, put in what they say, name the copy in TINYOPS_IDENTITY, and keep it out of version control.

/// Its id.
pub const DEVICE: u64 = 0;
/// The secret that it shares with its server.
pub const KEY: [u8; 32] = [0; 32];
/// The first number of its envelopes.
pub const FIRST_UPLINK: u32 = 1;
/// Who may sign key sets, and how many of them have to: any valid keys here, nobody's.
pub const ROOTS: [[u8; 32]; 1] = [NOBODY];
pub const ROOTS_NEEDED: u8 = 1;
/// The firmware's own key set.
pub const KEY_SET: u32 = 1;
pub const RELEASE_KEY: [u8; 32] = NOBODY;
pub const DIRECTOR_KEY: [u8; 32] = NOBODY;

/// The key of test 1 of RFC 8032, section 7.1: whoever reads it can sign, so no device in use has it.
const NOBODY: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
