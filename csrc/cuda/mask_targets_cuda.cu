#include "cuda/cuda_launch.h"
#include "htc/ops/mask_targets.h"

namespace htc::cuda {
namespace {

// Of each box: the pixels of its bin rows, then bin columns, and the two tables of weights.
template <typename T>
struct TargetTables {
  TargetTaps* taps;  // [R, target_height + target_width]
  T* weights;        // [R, row table + column table]
  int64_t bins, row_length, length;
};

template <typename T>
TargetTables<T> tables_of(const MaskTargetsShape& shape, void* workspace) {
  TargetTables<T> tables;
  tables.bins = shape.target_height + shape.target_width;
  tables.row_length = target_table_length(shape.target_height, shape.height);
  tables.length = tables.row_length + target_table_length(shape.target_width, shape.width);
  tables.taps = static_cast<TargetTaps*>(workspace);
  tables.weights = reinterpret_cast<T*>(tables.taps + shape.num_boxes * tables.bins);
  return tables;
}

template <typename T>
__device__ void axes_of(const T* __restrict__ boxes, int64_t r, const MaskTargetsShape& shape,
                        RoiAxis<T>& xs, RoiAxis<T>& ys) {
  const Box<T> box = load_box(boxes, r);
  xs = mask_target_axis(box.x1, box.x2, shape.target_width, shape.width);
  ys = mask_target_axis(box.y1, box.y2, shape.target_height, shape.height);
}

template <typename T>
__global__ void target_tables_kernel(const T* __restrict__ boxes, MaskTargetsShape shape,
                                     TargetTables<T> tables) {
  HTC_GRID_STRIDE(index, shape.num_boxes * tables.bins) {
    const int64_t r = index / tables.bins, bin = index - r * tables.bins;
    RoiAxis<T> xs, ys;
    axes_of(boxes, r, shape, xs, ys);
    T* weights = tables.weights + r * tables.length;
    tables.taps[index] = bin < shape.target_height ? set_target_taps(ys, bin, weights)
                                                   : set_target_taps(xs, bin - shape.target_height,
                                                                     weights + tables.row_length);
  }
}

// A thread makes one cell, in the order of the CPU kernel: down the columns first.
template <typename T>
__global__ void mask_targets_kernel(const T* __restrict__ boxes,
                                    const uint8_t* __restrict__ bitmaps,
                                    const int64_t* __restrict__ gt_index, MaskTargetsShape shape,
                                    TargetTables<T> tables, T threshold,
                                    float* __restrict__ targets) {
  const int64_t size = shape.target_height * shape.target_width;
  HTC_GRID_STRIDE(index, shape.num_boxes * size) {
    const int64_t r = index / size, cell = index - r * size;
    const int64_t py = cell / shape.target_width, px = cell - py * shape.target_width;
    const int64_t gt = gt_index[r];
    const TargetTaps* taps = tables.taps + r * tables.bins;
    const TargetTaps rows = taps[py], columns = taps[shape.target_height + px];
    T value = 0;
    if (gt >= 0 && gt < shape.num_gts && rows.count > 0 && columns.count > 0) {
      RoiAxis<T> xs, ys;
      axes_of(boxes, r, shape, xs, ys);
      const T* row_weights = tables.weights + r * tables.length + target_table_at(py, rows);
      const T* column_weights =
          tables.weights + r * tables.length + tables.row_length + target_table_at(px, columns);
      const uint8_t* bitmap =
          bitmaps + (gt * shape.height + rows.first) * shape.width + columns.first;
      T total = 0;
      for (int64_t x = 0; x < columns.count; ++x) {
        T sum = 0;
        for (int64_t y = 0; y < rows.count; ++y) {
          if (bitmap[y * shape.width + x] != 0) sum += row_weights[y];
        }
        total += column_weights[x] * sum;
      }
      value = total / (xs.grid * ys.grid);
    }
    targets[index] = value >= threshold ? 1.0f : 0.0f;
  }
}

}  // namespace

template <typename T>
int64_t mask_targets_workspace_bytes(const MaskTargetsShape& shape) {
  const TargetTables<T> tables = tables_of<T>(shape, nullptr);
  return shape.num_boxes * (tables.bins * static_cast<int64_t>(sizeof(TargetTaps)) +
                            tables.length * static_cast<int64_t>(sizeof(T)));
}

template <typename T>
int mask_targets(const T* boxes, const uint8_t* bitmaps, const int64_t* gt_index,
                 const MaskTargetsShape& shape, double threshold, void* workspace, float* targets,
                 void* stream) {
  const int64_t work = shape.num_boxes * shape.target_height * shape.target_width;
  if (work == 0) return cudaSuccess;
  const TargetTables<T> tables = tables_of<T>(shape, workspace);
  const int status = launch(target_tables_kernel<T>, blocks_for(shape.num_boxes * tables.bins),
                            kThreads, stream, boxes, shape, tables);
  if (status != cudaSuccess) return status;
  return launch(mask_targets_kernel<T>, blocks_for(work), kThreads, stream, boxes, bitmaps,
                gt_index, shape, tables, static_cast<T>(threshold), targets);
}

#define HTC_INSTANTIATE(T)                                                                        \
  template int64_t mask_targets_workspace_bytes<T>(const MaskTargetsShape&);                      \
  template int mask_targets<T>(const T*, const uint8_t*, const int64_t*, const MaskTargetsShape&, \
                               double, void*, float*, void*);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cuda
