/* Who a device is: what its enrolment told it (`tinyops device enrol --identity FILE`), and the keys of
 * `tinyops keys export`. Copy this file, put in what they say, and keep the copy out of version control. */
#ifndef TINYOPS_IDENTITY_H
#define TINYOPS_IDENTITY_H

#include <stdint.h>

static const uint64_t identity_device = 0;
static const uint8_t identity_key[32] = {0};
static const uint32_t identity_first_uplink = 1;
static const uint32_t identity_key_set = 1;
static const uint8_t identity_release_key[32] = {0};
static const uint8_t identity_director_key[32] = {0};
/* Up to three root keys, one after another, and how many have to sign a newer key set; with none it takes
 * no newer one. */
static const uint8_t identity_root_threshold = 0;
static const uint8_t identity_root_count = 0;
static const uint8_t identity_root_keys[96] = {0};

#endif
