// Stable sort of (key, index) by the key, lowest digit first: linear in the count, the same time
// whatever the order, and ties stay in the order that they came in.
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

template <int kBits, typename Key>
Keyed<Key>* radix_sort_by_digits(Keyed<Key>* items, Keyed<Key>* spare, int64_t count) {
  constexpr int kDigits = (8 * static_cast<int>(sizeof(Key)) + kBits - 1) / kBits;
  constexpr Key kLowest = (Key{1} << kBits) - 1;
  uint32_t counts[kDigits][1 << kBits];
  std::memset(counts, 0, sizeof(counts));
  for (int64_t i = 0; i < count; ++i) {
    const Key key = items[i].key;
    for (int digit = 0; digit < kDigits; ++digit)
      ++counts[digit][(key >> (kBits * digit)) & kLowest];
  }
  for (int digit = 0; digit < kDigits; ++digit) {
    const int shift = kBits * digit;
    uint32_t* next = counts[digit];
    if (count == 0 || next[(items[0].key >> shift) & kLowest] == count) continue;  // one value
    uint32_t begin = 0;
    for (int value = 0; value < (1 << kBits); ++value) begin += std::exchange(next[value], begin);
    for (int64_t i = 0; i < count; ++i) {
      const Keyed<Key> item = items[i];
      spare[next[(item.key >> shift) & kLowest]++] = item;
    }
    std::swap(items, spare);
  }
  return items;
}

// Sorts `items`, using `spare` (room for `count`) as well. Returns whichever of the two holds the
// result. Fewer, longer digits pay once their counts are few beside the items.
template <typename Key>
Keyed<Key>* radix_sort(Keyed<Key>* items, Keyed<Key>* spare, int64_t count) {
  return count < 1500 ? radix_sort_by_digits<8>(items, spare, count)
                      : radix_sort_by_digits<11>(items, spare, count);
}

}  // namespace htc::cpu
