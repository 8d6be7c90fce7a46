// Stable sort of (key, index) by the key, least significant byte first: linear in the count, the
// same time whatever the order, and ties stay in the order that they came in.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace htc::cpu {

template <typename Key>
struct Keyed {
  Key key;
  uint32_t index;
};

// Sorts `items`, using `spare` (room for `count`) as well. Returns whichever of the two holds the
// result.
template <typename Key>
Keyed<Key>* radix_sort(Keyed<Key>* items, Keyed<Key>* spare, int64_t count) {
  constexpr int kDigits = sizeof(Key);
  uint32_t counts[kDigits][256];
  std::memset(counts, 0, sizeof(counts));
  for (int64_t i = 0; i < count; ++i) {
    const Key key = items[i].key;
    for (int digit = 0; digit < kDigits; ++digit) ++counts[digit][(key >> (8 * digit)) & 0xff];
  }
  for (int digit = 0; digit < kDigits; ++digit) {
    const int shift = 8 * digit;
    uint32_t* next = counts[digit];
    if (count == 0 || next[(items[0].key >> shift) & 0xff] == count) continue;  // one value only
    uint32_t begin = 0;
    for (int value = 0; value < 256; ++value) begin += std::exchange(next[value], begin);
    for (int64_t i = 0; i < count; ++i) {
      const Keyed<Key> item = items[i];
      spare[next[(item.key >> shift) & 0xff]++] = item;
    }
    std::swap(items, spare);
  }
  return items;
}

}  // namespace htc::cpu
