//! What a virtual device keeps while it has no power: its id and key in one file, its flash in another.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tinyops_store::{Readers, write_whole};

use crate::{
    failure::Failure,
    virtual_device::{Room, VirtualDevice},
};

/// Who the device is, or how far it has come with becoming someone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Identity {
    /// It is enrolled.
    Enrolled {
        device: String,
        /// The key that it shares with its server.
        key: String,
        #[serde(default)]
        first_uplink: u32,
    },
    /// It has asked, and has no answer yet: the same request is answered the same.
    Asking {
        /// The private half of the key that it made.
        secret: String,
        request: String,
    },
}

/// The two files, and what of the flash is in them.
pub(super) struct Chip {
    path: PathBuf,
    flash_bytes: usize,
    /// As it was when the device got power; none for a new one.
    flash: Option<Vec<u8>>,
    /// Operations of the flash that the file has.
    kept: u64,
}

impl Chip {
    /// The files of the device whose identity lies, or shall lie, at `path`.
    pub(super) fn open(path: &Path, room: Room) -> Result<Self, Failure> {
        let mut chip = Self {
            path: path.to_path_buf(),
            flash_bytes: VirtualDevice::flash_bytes(room),
            flash: None,
            kept: 0,
        };
        let flash = chip.flash_path();
        match fs::read(&flash) {
            Ok(bytes) if bytes.len() == chip.flash_bytes => chip.flash = Some(bytes),
            // What is new lies at the end.
            Ok(mut bytes) if bytes.len() == VirtualDevice::flash_bytes_before_own_heads(room) => {
                bytes.resize(chip.flash_bytes, 0xff);
                chip.flash = Some(bytes);
            }
            Ok(bytes) => {
                return Err(Failure::question(format!(
                    "`{}` is no flash of a virtual device",
                    flash.display()
                ))
                .because(format!(
                    "it has {} bytes, not {}",
                    bytes.len(),
                    chip.flash_bytes
                ))
                .hint("remove it together with the identity: the device then enrols anew"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&flash, &error)),
        }
        Ok(chip)
    }

    /// Who it is, if that is known, because it ran before.
    pub(super) fn identity(&self) -> Result<Option<Identity>, Failure> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&self.path, &error)),
        };
        let identity = serde_json::from_slice(&bytes);
        identity
            .map(Some)
            .map_err(|error| self.no_identity().cause(&error))
    }

    /// Forgets who it is: the next run asks anew.
    pub(super) fn forget_identity(&self) -> Result<(), Failure> {
        fs::remove_file(&self.path).map_err(|error| unwritable(&self.path, &error))
    }

    /// What is said of a file that holds no identity.
    pub(super) fn no_identity(&self) -> Failure {
        Failure::question(format!(
            "`{}` is no identity of a device",
            self.path.display()
        ))
        .hint("remove it: the device then enrols anew; or name another file with `--identity`")
    }

    /// Writes down who it is.
    pub(super) fn keep_identity(&self, identity: &Identity) -> Result<(), Failure> {
        let text = serde_json::to_vec(identity).expect("an identity has string keys");
        write_whole(&self.path, Readers::Owner, &text)
            .map_err(|error| unwritable(&self.path, &error))
    }

    /// What the flash held when the power came.
    pub(super) fn flash(&self) -> Vec<u8> {
        self.flash
            .clone()
            .unwrap_or_else(|| vec![0xff; self.flash_bytes])
    }

    /// Writes the flash to its file if the device has written to it.
    pub(super) fn keep(&mut self, device: &mut VirtualDevice) -> Result<(), Failure> {
        let path = self.flash_path();
        let (operations, bytes) = device.flash();
        if operations == self.kept {
            return Ok(());
        }
        write_whole(&path, Readers::Owner, bytes).map_err(|error| unwritable(&path, &error))?;
        self.kept = operations;
        Ok(())
    }

    fn flash_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".flash");
        name.into()
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("cannot read `{}`", path.display())).cause(error)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("cannot write `{}`", path.display())).cause(error)
}
