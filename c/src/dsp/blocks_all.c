#include "../../include/tinyops_front_end.h"

static const tinyops_block *const list[] = {
    &tinyops_raw, &tinyops_flatten, &tinyops_spectral, &tinyops_mfe, &tinyops_mfcc, &tinyops_image,
};

const tinyops_blocks tinyops_blocks_all = {list, sizeof list / sizeof list[0]};
