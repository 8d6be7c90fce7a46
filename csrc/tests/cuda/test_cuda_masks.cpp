// Pasting, run-length codes and mask targets: the CUDA kernels on the host give the bits of the CPU
// kernels.
#include <limits>
#include <string>

#include "htc/ops/mask_targets.h"
#include "htc/ops/paste_masks.h"
#include "htc/ops/polygon_mask_targets.h"
#include "tests/cuda/in_every_order.h"

namespace {

using on_host::boxes;
using on_host::in_every_order;
using on_host::integer;
using on_host::memory;
using on_host::same_bits;
using on_host::uniform;

template <typename T>
std::vector<T> soft_masks(int64_t count, int64_t cells) {
  auto masks = memory<T>(count * cells);
  for (int64_t n = 0; n < count; ++n) {
    const int64_t kind = integer(0, 3);  // noise, all inside, steps that tie, noise with NaN
    for (int64_t i = 0; i < cells; ++i) {
      T value = static_cast<T>(uniform(0, 1));
      if (kind == 1) value = 1;
      if (kind == 2) value = static_cast<T>(integer(0, 2)) / 2;
      if (kind == 3 && integer(0, 9) == 0) value = std::numeric_limits<T>::quiet_NaN();
      masks[static_cast<size_t>(n * cells + i)] = value;
    }
  }
  return masks;
}

template <typename T>
std::vector<uint8_t> codes_on_cuda(const std::vector<T>& masks, const std::vector<double>& box,
                                   const htc::PasteMasksShape& shape, double threshold,
                                   std::vector<int64_t>& offsets) {
  const int64_t count = shape.num_masks;
  auto workspace = memory<char>(htc::cuda::paste_masks_workspace_bytes(shape));
  auto changes = memory<int64_t>(count), lengths = memory<int64_t>(count);
  CHECK(htc::cuda::paste_masks_rle_count<T>(masks.data(), box.data(), shape, threshold,
                                            workspace.data(), changes.data(), nullptr) == 0);
  const auto sums = [](const std::vector<int64_t>& values) {
    std::vector<int64_t> result = {0};
    for (const int64_t value : values) result.push_back(result.back() + value);
    return result;
  };
  const auto change_offsets = sums(changes);
  auto places = memory<int64_t>(change_offsets.back());
  CHECK(htc::cuda::paste_masks_rle_places<T>(masks.data(), shape, threshold, workspace.data(),
                                             change_offsets.data(), places.data(), lengths.data(),
                                             nullptr) == 0);
  offsets = sums(lengths);
  auto codes = memory<uint8_t>(offsets.back());
  CHECK(htc::cuda::paste_masks_rle_write(shape, change_offsets.data(), places.data(),
                                         offsets.data(), codes.data(), nullptr) == 0);
  return codes;
}

template <typename T>
void paste(int64_t count, int64_t mask_height, int64_t mask_width, int64_t height, int64_t width,
           double threshold) {
  const htc::PasteMasksShape shape{count, mask_height, mask_width, height, width};
  const auto masks = soft_masks<T>(count, mask_height * mask_width);
  auto box = boxes<double>(count, double(height), double(width), true);
  for (size_t n = 0; n + 4 <= box.size(); n += 12) {  // some span the picture: columns meet
    box[n + 1] = uniform(-3, 0);
    box[n + 3] = double(height) + uniform(0, 3);
  }
  auto expected = memory<uint8_t>(count * height * width);
  htc::cpu::paste_masks<T>(masks.data(), box.data(), shape, threshold, expected.data());
  const auto actual = in_every_order([&] {
    auto workspace = memory<char>(htc::cuda::paste_masks_workspace_bytes(shape));
    auto bitmaps = memory<uint8_t>(count * height * width);
    CHECK(htc::cuda::paste_masks<T>(masks.data(), box.data(), shape, threshold, workspace.data(),
                                    bitmaps.data(), nullptr) == 0);
    return bitmaps;
  });
  CHECK(same_bits(actual, expected));

  const int64_t bytes = count * height * htc::packed_row_bytes(width);
  auto expected_bits = memory<uint8_t>(bytes);
  htc::cpu::paste_masks_packed<T>(masks.data(), box.data(), shape, threshold, expected_bits.data());
  const auto actual_bits = in_every_order([&] {
    auto workspace = memory<char>(htc::cuda::paste_masks_workspace_bytes(shape));
    auto bits = memory<uint8_t>(bytes);
    CHECK(htc::cuda::paste_masks_packed<T>(masks.data(), box.data(), shape, threshold,
                                           workspace.data(), bits.data(), nullptr) == 0);
    return bits;
  });
  CHECK(same_bits(actual_bits, expected_bits));

  std::vector<int64_t> slots(static_cast<size_t>(count + 1));
  for (size_t n = 0; n < slots.size(); ++n) slots[n] = static_cast<int64_t>(n) * 20000;
  auto scratch = memory<char>(htc::cpu::paste_masks_rle_workspace_bytes<T>(shape, 1));
  auto codes = memory<uint8_t>(slots.back());
  auto lengths = memory<int64_t>(count);
  htc::cpu::paste_masks_rle<T>(masks.data(), box.data(), shape, threshold, 1, scratch.data(),
                               slots.data(), codes.data(), lengths.data());
  std::vector<uint8_t> packed;
  for (size_t n = 0; n < lengths.size(); ++n) {
    const auto from = codes.begin() + slots[n];
    CHECK(lengths[n] <= 20000);
    packed.insert(packed.end(), from, from + lengths[n]);
  }
  std::vector<int64_t> offsets;
  const auto on_cuda =
      in_every_order([&] { return codes_on_cuda(masks, box, shape, threshold, offsets); });
  CHECK(same_bits(on_cuda, packed));
  for (size_t n = 0; n < lengths.size(); ++n) CHECK(offsets[n + 1] - offsets[n] == lengths[n]);
}

template <typename T>
void mask_targets(int64_t count, int64_t gts, int64_t height, int64_t width, int64_t rows,
                  int64_t columns) {
  const htc::MaskTargetsShape shape{count, gts, height, width, rows, columns};
  auto bitmaps = memory<uint8_t>(gts * height * width);
  for (auto& pixel : bitmaps) pixel = static_cast<uint8_t>(integer(0, 1));
  const auto box = boxes<T>(count, double(height), double(width), true);
  std::vector<int64_t> index;
  for (int64_t r = 0; r < count; ++r) index.push_back(integer(-1, gts));
  const int threads = 1;
  auto scratch = memory<char>(htc::cpu::mask_targets_workspace_bytes<T>(shape, threads));
  auto expected = memory<float>(count * rows * columns);
  htc::cpu::mask_targets<T>(box.data(), bitmaps.data(), index.data(), shape, 0.5, threads,
                            scratch.data(), expected.data());
  const auto actual = in_every_order([&] {
    auto workspace = memory<char>(htc::cuda::mask_targets_workspace_bytes<T>(shape));
    auto targets = memory<float>(count * rows * columns);
    CHECK(htc::cuda::mask_targets<T>(box.data(), bitmaps.data(), index.data(), shape, 0.5,
                                     workspace.data(), targets.data(), nullptr) == 0);
    return targets;
  });
  CHECK(same_bits(actual, expected));
}

template <typename T>
void polygon_mask_targets(int64_t count, int64_t gts, int64_t rows, int64_t columns) {
  const auto box = boxes<T>(count, 60, 80, true);
  std::vector<double> points;
  std::vector<int64_t> part_offsets = {0}, gt_offsets = {0}, index;
  for (int64_t g = 0; g < gts; ++g) {
    for (int64_t part = integer(0, 3); part > 0; --part) {
      const int64_t corners = integer(3, 300);
      for (int64_t i = 0; i < 2 * corners; ++i) points.push_back(uniform(-10, 90));
      if (integer(0, 5) == 0) points.back() = std::numeric_limits<double>::quiet_NaN();
      part_offsets.push_back(static_cast<int64_t>(points.size()) / 2);
    }
    gt_offsets.push_back(static_cast<int64_t>(part_offsets.size()) - 1);
  }
  for (int64_t r = 0; r < count; ++r) index.push_back(integer(-1, gts));
  const htc::PolygonMaskTargetsShape shape{count, gts,    gt_offsets.back(), part_offsets.back(),
                                           rows,  columns};
  auto scratch = memory<char>(htc::cpu::polygon_mask_targets_workspace_bytes(shape, 1));
  auto expected = memory<float>(count * rows * columns);
  htc::cpu::polygon_mask_targets<T>(box.data(), points.data(), part_offsets.data(),
                                    gt_offsets.data(), index.data(), shape, 1, scratch.data(),
                                    expected.data());
  const auto actual = in_every_order([&] {
    auto workspace = memory<char>(htc::cuda::polygon_mask_targets_workspace_bytes(shape));
    auto targets = memory<float>(count * rows * columns);
    CHECK(htc::cuda::polygon_mask_targets<T>(box.data(), points.data(), part_offsets.data(),
                                             gt_offsets.data(), index.data(), shape,
                                             workspace.data(), targets.data(), nullptr) == 0);
    return targets;
  });
  CHECK(same_bits(actual, expected));
}

template <typename T>
void all() {
  for (const double threshold : {0.0, 0.5, 1.0}) {
    paste<T>(9, 28, 28, 60, 80, threshold);
    paste<T>(7, 5, 9, 37, 301, threshold);
    paste<T>(3, 1, 1, 5, 3, threshold);
    paste<T>(3, 14, 14, 1, 40, threshold);
    paste<T>(3, 14, 14, 40, 1, threshold);
  }
  paste<T>(0, 28, 28, 60, 80, 0.5);
  paste<T>(2, 28, 28, 0, 80, 0.5);
  paste<T>(2, 0, 0, 6, 8, 0.5);
  for (const int64_t size : {1, 7, 28}) {
    mask_targets<T>(20, 3, 60, 80, size, size);
    polygon_mask_targets<T>(20, 5, size, size);
  }
  mask_targets<T>(9, 1, 0, 5, 3, 4);
  mask_targets<T>(0, 1, 5, 5, 3, 4);
  mask_targets<T>(9, 0, 5, 5, 3, 4);
  polygon_mask_targets<T>(9, 4, 3, 200);
  polygon_mask_targets<T>(0, 4, 3, 4);
}

}  // namespace

int main() {
  all<float>();
  all<double>();
  return 0;
}
