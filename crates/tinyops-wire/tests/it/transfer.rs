//! Blocks that are lost, repeated and reordered still make the capsule.

use proptest::prelude::*;
use tinyops_wire::Digest;
use tinyops_wire::block::BlockMap;

proptest! {
    #[test]
    fn every_transfer_ends_with_the_same_bytes(
        capsule in prop::collection::vec(any::<u8>(), 1..5000),
        block_bytes in 1..200_u16,
        losses in prop::collection::vec(any::<bool>(), 400),
        backwards: bool,
    ) {
        let digest = Digest::of(&capsule);
        let blocks = capsule.len().div_ceil(usize::from(block_bytes));
        let mut bits = vec![0; blocks.div_ceil(8)];
        let mut slot = vec![0xff; capsule.len()];
        let mut map = BlockMap::new(&mut bits, capsule.len() as u32, block_bytes).expect("room");
        let mut losses = losses.into_iter().chain(std::iter::repeat(false));
        let mut requests = 0;
        while let Some(request) = map.request(&digest) {
            prop_assert!(request.is_of(&digest));
            let mut answer: Vec<(u32, &[u8])> = request.cut(&capsule).collect();
            prop_assert_eq!(answer.len() as u32, request.wanted.count_ones());
            if backwards {
                answer.reverse();
            }
            for (offset, bytes) in answer {
                if losses.next() == Some(true) {
                    continue;
                }
                let index = map.index_of(offset, bytes.len()).expect("a block that was asked for");
                prop_assert!(!map.has(index));
                slot[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                map.set(index);
            }
            requests += 1;
            prop_assert!(requests < 10_000, "the transfer does not end");
        }
        prop_assert_eq!(slot, capsule);
    }

    #[test]
    fn blocks_that_do_not_belong_are_told_apart(offset: u32, len in 0..70_usize) {
        let mut bits = [0; 2];
        let map = BlockMap::new(&mut bits, 1000, 64).expect("room");
        let last = 1000 - 15 * 64;
        let belongs = offset % 64 == 0
            && (offset < 960 && len == 64 || offset == 960 && len == last);
        prop_assert_eq!(map.index_of(offset, len).is_some(), belongs);
    }
}

#[test]
fn a_map_too_small_or_a_block_of_nothing_is_refused() {
    assert!(BlockMap::new(&mut [0; 1], 1000, 64).is_none());
    assert!(BlockMap::new(&mut [0; 8], 1000, 0).is_none());
}
