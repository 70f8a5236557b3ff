/* Verification of Ed25519 signatures, strictly. Nothing here is secret, so nothing takes care of time.
 *
 * Numbers modulo p = 2^255 - 19 are eight words of 32 bits, the lowest first, below 2^256: 2^256 is
 * 38 modulo p. Points are in extended coordinates (x = X/Z, y = Y/Z, xy = T/Z), whose addition law is
 * complete.
 *
 * Source: RFC 8032, sections 5.1.3, 5.1.4 and 5.1.7; Hisil, Wong, Carter and Dawson, 2008, "Twisted
 * Edwards curves revisited", section 3.1. */
#include <string.h>

#include "../../include/tinyops_capsule.h"
#include "../bytes.h"
#include "sha512.h"

#define WORDS 8

typedef struct field {
  uint32_t word[WORDS];
} field;

typedef struct point {
  field x, y, z, t;
} point;

/* p, and the order of the base point, l = 2^252 + 27742317777372353535851937790883648493. */
static const uint32_t prime[WORDS] = {0xffffffed, 0xffffffff, 0xffffffff, 0xffffffff,
                                      0xffffffff, 0xffffffff, 0xffffffff, 0x7fffffff};
static const uint32_t order[WORDS] = {0x5cf5d3ed, 0x5812631a, 0xa2f79cd6, 0x14def9de, 0, 0, 0,
                                      0x10000000};
/* -121665 / 121666, and a root of -1. */
static const field curve_d = {{0x135978a3, 0x75eb4dca, 0x4141d8ab, 0x00700a4d, 0x7779e898,
                               0x8cc74079, 0x2b6ffe73, 0x52036cee}};
static const field root_of_minus_one = {{0x4a0ea0b0, 0xc4ee1b27, 0xad2fe478, 0x2f431806,
                                         0x3dfbd7a7, 0x2b4d0099, 0x4fc1df0b, 0x2b832480}};

/* a - b, and whether it is below 0 and so 2^256 too much. */
static uint32_t subtract(uint32_t *to, const uint32_t *a, const uint32_t *b) {
  uint32_t borrow = 0;
  int index;
  for (index = 0; index < WORDS; index++) {
    const uint64_t difference = (uint64_t)a[index] - b[index] - borrow;
    to[index] = (uint32_t)difference;
    borrow = (uint32_t)(difference >> 63);
  }
  return borrow;
}

static bool is_below(const uint32_t *a, const uint32_t *b) {
  uint32_t rest[WORDS];
  return subtract(rest, a, b) == 1;
}

/* Adds 38 times what stands above 2^256. */
static void fold(field *to, uint32_t above) {
  while (above > 0) {
    uint64_t carry = (uint64_t)above * 38;
    int index;
    for (index = 0; index < WORDS; index++) {
      carry += to->word[index];
      to->word[index] = (uint32_t)carry;
      carry >>= 32;
    }
    above = (uint32_t)carry;
  }
}

static field add(const field *a, const field *b) {
  field sum;
  uint64_t carry = 0;
  int index;
  for (index = 0; index < WORDS; index++) {
    carry += (uint64_t)a->word[index] + b->word[index];
    sum.word[index] = (uint32_t)carry;
    carry >>= 32;
  }
  fold(&sum, (uint32_t)carry);
  return sum;
}

static field sub(const field *a, const field *b) {
  static const uint32_t thirty_eight[WORDS] = {38, 0, 0, 0, 0, 0, 0, 0};
  field difference = {{0}};
  uint32_t borrow = subtract(difference.word, a->word, b->word);
  while (borrow > 0) borrow = subtract(difference.word, difference.word, thirty_eight);
  return difference;
}

static field multiply(const field *a, const field *b) {
  uint32_t product[2 * WORDS] = {0};
  field result;
  uint64_t carry;
  int row, column;
  for (row = 0; row < WORDS; row++) {
    carry = 0;
    for (column = 0; column < WORDS; column++) {
      carry += (uint64_t)a->word[row] * b->word[column] + product[row + column];
      product[row + column] = (uint32_t)carry;
      carry >>= 32;
    }
    product[row + WORDS] = (uint32_t)carry;
  }
  carry = 0;
  for (row = 0; row < WORDS; row++) {
    carry += (uint64_t)product[row + WORDS] * 38 + product[row];
    result.word[row] = (uint32_t)carry;
    carry >>= 32;
  }
  fold(&result, (uint32_t)carry);
  return result;
}

/* The one representative below p. */
static field canonical(const field *a) {
  field result = *a;
  while (!is_below(result.word, prime)) (void)subtract(result.word, result.word, prime);
  return result;
}

static bool is_equal(const field *a, const field *b) {
  const field one = canonical(a), other = canonical(b);
  return memcmp(&one, &other, sizeof one) == 0;
}

/* a^(2^count). */
static field square_often(const field *a, int count) {
  field result = *a;
  for (; count > 0; count--) result = multiply(&result, &result);
  return result;
}

/* a^(2^252 - 3), which is (p - 5) / 8; every bit but the second is set. */
static field power_for_root(const field *a) {
  field result = *a;
  int bit;
  for (bit = 250; bit >= 0; bit--) {
    result = multiply(&result, &result);
    if (bit != 1) result = multiply(&result, a);
  }
  return result;
}

/* a^(p - 2), where p - 2 = 8 * (2^252 - 3) + 3. */
static field inverse(const field *a) {
  const field root = power_for_root(a), eighth = square_often(&root, 3);
  const field square = multiply(a, a), cube = multiply(&square, a);
  return multiply(&eighth, &cube);
}

static field small(uint32_t value) {
  field result = {{0}};
  result.word[0] = value;
  return result;
}

static point add_points(const point *p, const point *q) {
  const field p_minus = sub(&p->y, &p->x), q_minus = sub(&q->y, &q->x);
  const field p_plus = add(&p->y, &p->x), q_plus = add(&q->y, &q->x);
  const field a = multiply(&p_minus, &q_minus), b = multiply(&p_plus, &q_plus);
  const field times = multiply(&p->t, &q->t), twice_d = add(&curve_d, &curve_d);
  const field c = multiply(&times, &twice_d), zz = multiply(&p->z, &q->z);
  const field d = add(&zz, &zz);
  const field e = sub(&b, &a), f = sub(&d, &c), g = add(&d, &c), h = add(&b, &a);
  point sum;
  sum.x = multiply(&e, &f);
  sum.y = multiply(&g, &h);
  sum.z = multiply(&f, &g);
  sum.t = multiply(&e, &h);
  return sum;
}

static point neutral(void) {
  point result;
  result.x = result.t = small(0);
  result.y = result.z = small(1);
  return result;
}

/* Whether a point times 8 is the neutral one. */
static bool is_of_small_order(const point *p) {
  const field zero = small(0);
  point eighth = *p;
  int index;
  for (index = 0; index < 3; index++) eighth = add_points(&eighth, &eighth);
  return is_equal(&eighth.x, &zero) && is_equal(&eighth.y, &eighth.z);
}

static void encode(const point *p, uint8_t bytes[32]) {
  const field by_z = inverse(&p->z);
  const field product_x = multiply(&p->x, &by_z), product_y = multiply(&p->y, &by_z);
  const field x = canonical(&product_x), y = canonical(&product_y);
  int index;
  for (index = 0; index < 32; index++) {
    bytes[index] = (uint8_t)(y.word[index / 4] >> (8 * (index % 4)) & 0xFF);
  }
  bytes[31] = (uint8_t)(bytes[31] | (x.word[0] & 1) << 7);
}

static void read_words(const uint8_t bytes[32], uint32_t words[WORDS]) {
  int index;
  for (index = 0; index < WORDS; index++) words[index] = tinyops_read_u32(bytes + 4 * index);
}

/* The point of a canonical encoding; false if there is none. */
static bool decode(const uint8_t bytes[32], point *p) {
  const field one = small(1), zero = small(0);
  const uint32_t sign = bytes[31] >> 7;
  field yy, u, v, v3, v7, root, found;
  memset(p, 0, sizeof *p);
  read_words(bytes, p->y.word);
  p->y.word[WORDS - 1] &= 0x7fffffff;
  if (!is_below(p->y.word, prime)) return false;
  /* x^2 = u / v; a candidate for the root is u v^3 (u v^7)^((p - 5) / 8). */
  yy = multiply(&p->y, &p->y);
  u = sub(&yy, &one);
  v = multiply(&yy, &curve_d);
  v = add(&v, &one);
  v3 = multiply(&v, &v);
  v3 = multiply(&v3, &v);
  v7 = multiply(&v3, &v3);
  v7 = multiply(&v7, &v);
  root = multiply(&u, &v7);
  root = power_for_root(&root);
  root = multiply(&root, &v3);
  root = multiply(&root, &u);
  found = multiply(&root, &root);
  found = multiply(&found, &v);
  if (!is_equal(&found, &u)) {
    root = multiply(&root, &root_of_minus_one);
    found = multiply(&root, &root);
    found = multiply(&found, &v);
    if (!is_equal(&found, &u)) return false;
  }
  root = canonical(&root);
  if (is_equal(&root, &zero) && sign == 1) return false;
  p->x = (root.word[0] & 1) == sign ? root : sub(&zero, &root);
  p->z = one;
  p->t = multiply(&p->x, &p->y);
  return true;
}

/* A number of 512 bits modulo the order. */
static void reduce(const uint8_t bytes[64], uint32_t rest[WORDS]) {
  int bit, index;
  memset(rest, 0, WORDS * sizeof rest[0]);
  for (bit = 511; bit >= 0; bit--) {
    for (index = WORDS - 1; index > 0; index--) {
      rest[index] = rest[index] << 1 | rest[index - 1] >> 31;
    }
    rest[0] = rest[0] << 1 | (uint32_t)(bytes[bit / 8] >> (bit % 8) & 1);
    if (!is_below(rest, order)) (void)subtract(rest, rest, order);
  }
}

static bool has_bit(const uint32_t words[WORDS], int bit) {
  return (words[bit / 32] >> (bit % 32) & 1) != 0;
}

/* a * p + b * q. */
static point combine(const uint32_t a[WORDS], const point *p, const uint32_t b[WORDS],
                     const point *q) {
  const point both = add_points(p, q);
  point sum = neutral();
  int bit;
  for (bit = 255; bit >= 0; bit--) {
    const bool has_a = has_bit(a, bit), has_b = has_bit(b, bit);
    sum = add_points(&sum, &sum);
    if (has_a || has_b) sum = add_points(&sum, has_a && has_b ? &both : has_a ? p : q);
  }
  return sum;
}

bool tinyops_ed25519_verify(void *context, const uint8_t key[TINYOPS_KEY_BYTES],
                            const uint8_t *message, size_t len,
                            const uint8_t signature[TINYOPS_SIGNATURE_BYTES]) {
  static const uint8_t base_encoded[32] = {0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                           0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                           0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                           0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66};
  const field zero = small(0);
  uint32_t s[WORDS], h[WORDS];
  uint8_t digest[64], expected[32];
  tinyops_sha512 hash;
  point base, minus_key, r;
  (void)context;
  read_words(signature + 32, s);
  if (!is_below(s, order) || !decode(key, &minus_key) || is_of_small_order(&minus_key) ||
      !decode(base_encoded, &base)) {
    return false;
  }
  minus_key.x = sub(&zero, &minus_key.x);
  minus_key.t = sub(&zero, &minus_key.t);
  tinyops_sha512_begin(&hash);
  tinyops_sha512_add(&hash, signature, 32);
  tinyops_sha512_add(&hash, key, 32);
  tinyops_sha512_add(&hash, message, len);
  tinyops_sha512_end(&hash, digest);
  reduce(digest, h);
  /* R = s B - h A, and its encoding is canonical. */
  r = combine(s, &base, h, &minus_key);
  encode(&r, expected);
  return memcmp(expected, signature, 32) == 0 && !is_of_small_order(&r);
}
