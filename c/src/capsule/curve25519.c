/* Ed25519, verified strictly, and signed; and X25519. Where a number is secret no branch and no place in memory
 * depends on it: on a core whose products take as long whatever they are of, as those of a Cortex-M4 do, time
 * tells nothing of it.
 *
 * Numbers modulo p = 2^255 - 19 are eight words of 32 bits, the lowest first, below 2^256: 2^256 is
 * 38 modulo p. Points are in extended coordinates (x = X/Z, y = Y/Z, xy = T/Z), whose addition law is
 * complete.
 *
 * Source: RFC 8032, sections 5.1.3 to 5.1.7; RFC 7748, section 5; Hisil, Wong, Carter and Dawson, 2008, "Twisted
 * Edwards curves revisited", section 3.1. */
#include <string.h>

#include "../bytes.h"
#include "curve25519.h"
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

/* Adds 38 times what stands above 2^256: the second time there is one of it at most, and then none. */
static void fold(field *to, uint32_t above) {
  int time, index;
  for (time = 0; time < 2; time++) {
    uint64_t carry = (uint64_t)above * 38;
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
  uint32_t above[WORDS] = {0};
  field difference = {{0}};
  uint32_t borrow = subtract(difference.word, a->word, b->word);
  int time;
  for (time = 0; time < 2; time++) {
    above[0] = 38 & (0u - borrow);
    borrow = subtract(difference.word, difference.word, above);
  }
  return difference;
}

/* Adds a product to what is there, which has no more than its lower half. */
static void add_product(uint32_t to[2 * WORDS], const uint32_t *a, const uint32_t *b) {
  int row, column;
  for (row = 0; row < WORDS; row++) {
    uint64_t carry = 0;
    for (column = 0; column < WORDS; column++) {
      carry += (uint64_t)a[row] * b[column] + to[row + column];
      to[row + column] = (uint32_t)carry;
      carry >>= 32;
    }
    to[row + WORDS] = (uint32_t)carry;
  }
}

static field multiply(const field *a, const field *b) {
  uint32_t product[2 * WORDS] = {0};
  uint64_t carry = 0;
  field result;
  int row;
  add_product(product, a->word, b->word);
  for (row = 0; row < WORDS; row++) {
    carry += (uint64_t)product[row + WORDS] * 38 + product[row];
    result.word[row] = (uint32_t)carry;
    carry >>= 32;
  }
  fold(&result, (uint32_t)carry);
  return result;
}

/* a - b, where that is not below 0. */
static void subtract_once(uint32_t *a, const uint32_t *b) {
  uint32_t rest[WORDS], borrow = subtract(rest, a, b);
  int index;
  for (index = 0; index < WORDS; index++) {
    a[index] = rest[index] ^ ((rest[index] ^ a[index]) & (0u - borrow));
  }
}

/* The one representative below p. */
static field canonical(const field *a) {
  field result = *a;
  subtract_once(result.word, prime);
  subtract_once(result.word, prime);
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
    subtract_once(rest, order);
  }
}

static uint32_t has_bit(const uint32_t words[WORDS], int bit) {
  return words[bit / 32] >> (bit % 32) & 1;
}

/* a * p + b * q. */
static point combine(const uint32_t a[WORDS], const point *p, const uint32_t b[WORDS],
                     const point *q) {
  const point both = add_points(p, q);
  point sum = neutral();
  int bit;
  for (bit = 255; bit >= 0; bit--) {
    const bool has_a = has_bit(a, bit) != 0, has_b = has_bit(b, bit) != 0;
    sum = add_points(&sum, &sum);
    if (has_a || has_b) sum = add_points(&sum, has_a && has_b ? &both : has_a ? p : q);
  }
  return sum;
}

/* The base point, whose y is 4 / 5. */
static point base_point(void) {
  static const uint8_t encoded[32] = {0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                      0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                      0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                      0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66};
  point base;
  (void)decode(encoded, &base);
  return base;
}

/* The digest of up to three parts, modulo the order. */
static void reduce_parts(const uint8_t *first, const uint8_t *second, const uint8_t *message, size_t len,
                         uint32_t rest[WORDS]) {
  uint8_t digest[64];
  tinyops_sha512 hash;
  tinyops_sha512_begin(&hash);
  tinyops_sha512_add(&hash, first, 32);
  if (second != NULL) tinyops_sha512_add(&hash, second, 32);
  tinyops_sha512_add(&hash, message, len);
  tinyops_sha512_end(&hash, digest);
  reduce(digest, rest);
}

bool tinyops_ed25519_verify(void *context, const uint8_t key[TINYOPS_KEY_BYTES],
                            const uint8_t *message, size_t len,
                            const uint8_t signature[TINYOPS_SIGNATURE_BYTES]) {
  const field zero = small(0);
  uint32_t s[WORDS], h[WORDS];
  uint8_t expected[32];
  point base, minus_key, r;
  (void)context;
  read_words(signature + 32, s);
  if (!is_below(s, order) || !decode(key, &minus_key) || is_of_small_order(&minus_key)) return false;
  base = base_point();
  minus_key.x = sub(&zero, &minus_key.x);
  minus_key.t = sub(&zero, &minus_key.t);
  reduce_parts(signature, key, message, len, h);
  /* R = s B - h A, and its encoding is canonical. */
  r = combine(s, &base, h, &minus_key);
  encode(&r, expected);
  return memcmp(expected, signature, 32) == 0 && !is_of_small_order(&r);
}

bool tinyops_ed25519_is_key(const uint8_t key[TINYOPS_KEY_BYTES]) {
  point p;
  return decode(key, &p) && !is_of_small_order(&p);
}

/* Swaps two numbers where `is_swapped` is 1, and takes as long where it is 0. */
static void swap(uint32_t *a, uint32_t *b, size_t words, uint32_t is_swapped) {
  size_t index;
  for (index = 0; index < words; index++) {
    const uint32_t difference = (a[index] ^ b[index]) & (0u - is_swapped);
    a[index] ^= difference;
    b[index] ^= difference;
  }
}

/* A secret times the base point, encoded: every bit costs the same. */
static void encode_times_base(const uint32_t secret[WORDS], uint8_t bytes[32]) {
  const point base = base_point();
  point sum = neutral();
  int bit;
  for (bit = 255; bit >= 0; bit--) {
    point more;
    sum = add_points(&sum, &sum);
    more = add_points(&sum, &base);
    swap(sum.x.word, more.x.word, WORDS, has_bit(secret, bit));
    swap(sum.y.word, more.y.word, WORDS, has_bit(secret, bit));
    swap(sum.z.word, more.z.word, WORDS, has_bit(secret, bit));
    swap(sum.t.word, more.t.word, WORDS, has_bit(secret, bit));
  }
  encode(&sum, bytes);
}

/* The bytes of a scalar as RFC 7748 and RFC 8032 have it. */
static void clamp(uint8_t secret[32]) {
  secret[0] = (uint8_t)(secret[0] & 248);
  secret[31] = (uint8_t)((secret[31] & 127) | 64);
}

void tinyops_ed25519_sign(const uint8_t seed[32], const uint8_t *message, size_t len,
                          uint8_t signature[TINYOPS_SIGNATURE_BYTES]) {
  uint32_t secret[WORDS], r[WORDS], h[WORDS], sum[2 * WORDS] = {0};
  uint8_t expanded[64], key[32], wide[64];
  tinyops_sha512 hash;
  int index;
  tinyops_sha512_begin(&hash);
  tinyops_sha512_add(&hash, seed, 32);
  tinyops_sha512_end(&hash, expanded);
  clamp(expanded);
  read_words(expanded, secret);
  encode_times_base(secret, key);
  reduce_parts(expanded + 32, NULL, message, len, r);
  encode_times_base(r, signature);
  reduce_parts(signature, key, message, len, h);
  /* S = r + h * secret. */
  memcpy(sum, r, sizeof r);
  add_product(sum, h, secret);
  for (index = 0; index < 2 * WORDS; index++) tinyops_write_u32(wide + 4 * index, sum[index]);
  reduce(wide, r);
  for (index = 0; index < WORDS; index++) tinyops_write_u32(signature + 32 + 4 * index, r[index]);
}

/* One step of the ladder: (x2 : z2) becomes its double, (x3 : z3) the sum of both. */
static void climb(const field *u, field *x2, field *z2, field *x3, field *z3) {
  const field by = small(121665), a = add(x2, z2), b = sub(x2, z2), c = add(x3, z3), d = sub(x3, z3);
  const field aa = multiply(&a, &a), bb = multiply(&b, &b), e = sub(&aa, &bb);
  const field da = multiply(&d, &a), cb = multiply(&c, &b), sum = add(&da, &cb);
  const field difference = sub(&da, &cb), square = multiply(&difference, &difference);
  const field part = multiply(&by, &e), whole = add(&aa, &part);
  *x3 = multiply(&sum, &sum);
  *z3 = multiply(u, &square);
  *x2 = multiply(&aa, &bb);
  *z2 = multiply(&e, &whole);
}

bool tinyops_x25519(const uint8_t secret[32], const uint8_t public_key[32], uint8_t shared[32]) {
  field x2 = small(1), z2 = small(0), x3, z3 = small(1), u = small(0), result;
  uint8_t clamped[32], any = 0;
  uint32_t scalar[WORDS], swapped = 0;
  int bit;
  read_words(public_key, u.word);
  if (!is_below(u.word, prime)) return false;
  memcpy(clamped, secret, sizeof clamped);
  clamp(clamped);
  read_words(clamped, scalar);
  x3 = u;
  for (bit = 254; bit >= 0; bit--) {
    const uint32_t now = has_bit(scalar, bit);
    swap(x2.word, x3.word, WORDS, swapped ^ now);
    swap(z2.word, z3.word, WORDS, swapped ^ now);
    swapped = now;
    climb(&u, &x2, &z2, &x3, &z3);
  }
  swap(x2.word, x3.word, WORDS, swapped);
  swap(z2.word, z3.word, WORDS, swapped);
  result = inverse(&z2);
  result = multiply(&x2, &result);
  result = canonical(&result);
  for (bit = 0; bit < WORDS; bit++) {
    tinyops_write_u32(shared + 4 * bit, result.word[bit]);
    any = (uint8_t)(any | (result.word[bit] != 0));
  }
  /* A point of small order makes the same secret, zero, with everybody. */
  return any != 0;
}

bool tinyops_x25519_is_key(const uint8_t public_key[32]) {
  uint32_t words[WORDS];
  read_words(public_key, words);
  return is_below(words, prime);
}

void tinyops_x25519_public(const uint8_t secret[32], uint8_t public_key[32]) {
  static const uint8_t base[32] = {9};
  (void)tinyops_x25519(secret, base, public_key);
}
