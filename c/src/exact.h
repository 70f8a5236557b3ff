/* Single precision as it is written: a product and a sum that a compiler makes one operation of, as
 * GCC does by itself where the processor has one, are rounded once instead of twice, and the bits are
 * others. `-ffp-contract=off` says so too, but not every build can be told: an Arduino library cannot.
 * To be included before anything that computes. */
#ifndef TINYOPS_EXACT_H
#define TINYOPS_EXACT_H

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#endif
