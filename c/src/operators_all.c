/* Every operator there is; a program that names its own leaves this file out. */
#include "operator.h"

static const tinyops_operator *const list[] = {
    &tinyops_conv_2d,
    &tinyops_depthwise_conv_2d,
    &tinyops_max_pool_2d,
    &tinyops_average_pool_2d,
    &tinyops_mean,
    &tinyops_add,
    &tinyops_softmax,
    &tinyops_lookup,
    &tinyops_pad,
    &tinyops_copy,
    &tinyops_binary,
    &tinyops_reduce,
    &tinyops_resize_bilinear,
    &tinyops_constant,
    &tinyops_product,
    &tinyops_extreme,
    &tinyops_normalize,
    &tinyops_svdf,
    &tinyops_lstm,
    &tinyops_conv_2d_int16,
    &tinyops_depthwise_conv_2d_int16,
    &tinyops_max_pool_2d_int16,
    &tinyops_average_pool_2d_int16,
    &tinyops_softmax_int16,
    &tinyops_function_int16,
    &tinyops_copy_int16,
    &tinyops_binary_int16,
    &tinyops_reduce_int16,
};

const tinyops_operators tinyops_operators_all = {list, sizeof list / sizeof list[0]};
