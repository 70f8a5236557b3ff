//! A pointer, a list of files or a list of pieces, as anybody may put them into a repository or on a remote: refused, or
//! what would be written.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_data::chunk::Recipe;
use tinyops_data::pointer::Pointer;
use tinyops_data::tree::{TREE_HEADER, TreeReader, path_fault};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(pointer) = Pointer::decode(bytes) {
        assert_eq!(Pointer::decode(pointer.encode().as_bytes()), Ok(pointer));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(recipe) = Recipe::decode(text)
    {
        assert_eq!(recipe.encode(), text);
    }
    let mut text = TREE_HEADER.to_owned();
    let Ok(reader) = TreeReader::new(bytes) else {
        return;
    };
    for entry in reader {
        let Ok(entry) = entry else {
            return;
        };
        assert_eq!(path_fault(&entry.path), None);
        entry.write_to(&mut text);
    }
    assert_eq!(text.as_bytes(), bytes);
});
