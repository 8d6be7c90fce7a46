#include "cpu/nms_plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/radix_sort.h"
#include "htc/ops/nms.h"
#include "htc/score_order.h"

namespace htc::cpu {
namespace {

// Below this many boxes of a class, comparing with all of them costs less than a grid.
constexpr int64_t kGridMinBoxes = 192;

// Numbers the distinct class ids from 0. Returns how many there are; segments[c].end is then the
// number of boxes of class c. `table` has room for table_size words.
int64_t number_classes(const int64_t* class_ids, int64_t num_boxes, Keyed<uint64_t>* items,
                       Keyed<uint64_t>* spare, uint32_t* table, uint64_t table_size,
                       uint32_t* class_of, NmsSegment* segments) {
  int64_t low = class_ids[0], high = class_ids[0];
  for (int64_t i = 1; i < num_boxes; ++i) {
    low = std::min(low, class_ids[i]);
    high = std::max(high, class_ids[i]);
  }
  int64_t classes = 0;
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  if (range < table_size) {  // few or close ids: look them up
    std::memset(table, 0, (range + 1) * sizeof(uint32_t));
    for (int64_t i = 0; i < num_boxes; ++i) {
      uint32_t& number = table[static_cast<uint64_t>(class_ids[i]) - static_cast<uint64_t>(low)];
      if (number == 0) {
        segments[classes] = NmsSegment{};
        number = static_cast<uint32_t>(++classes);
      }
      class_of[i] = number - 1;
      ++segments[number - 1].end;
    }
    return classes;
  }
  for (int64_t i = 0; i < num_boxes; ++i) {
    items[i] = {static_cast<uint64_t>(class_ids[i]), static_cast<uint32_t>(i)};
  }
  const Keyed<uint64_t>* sorted = radix_sort(items, spare, num_boxes);
  for (int64_t i = 0; i < num_boxes; ++i) {
    if (i == 0 || sorted[i].key != sorted[i - 1].key) segments[classes++] = NmsSegment{};
    class_of[sorted[i].index] = static_cast<uint32_t>(classes - 1);
    ++segments[classes - 1].end;
  }
  return classes;
}

template <typename T>
void place_box(const NmsPlan<T>& plan, uint32_t position, const Box<T>& box, T factor) {
  const T box_area = area(box);
  plan.x1[position] = box.x1;
  plan.y1[position] = box.y1;
  plan.x2[position] = box.x2;
  plan.y2[position] = box.y2;
  // An infinite area would hide the pair from the cheap test; 0 leaves it to the exact one.
  plan.area_bound[position] = is_finite(box_area) ? box_area * factor : T(0);
}

// The extent of the grid along one axis: where nearly all centres lie. From a sample, so that a few
// far-off boxes do not crowd all others into one cell.
template <typename T>
void grid_axis(T* sample, int count, int32_t cells, T* origin, T* cells_per_unit) {
  std::sort(sample, sample + count);
  const int border = count / 16;
  const T low = sample[border], high = sample[count - 1 - border];
  *origin = low;
  *cells_per_unit = high > low ? static_cast<T>(cells) / (high - low) : T(0);
}

// Arranges one class by grid cells. `visits` are its visits, in order; `cells` has room for as many
// numbers. False, with nothing done, if the class must go without a grid.
template <typename T>
bool build_grid(const T* boxes, const NmsPlan<T>& plan, const NmsSegment& segment,
                const uint32_t* visits, uint32_t* cells, T factor, uint32_t* starts,
                NmsGrid<T>* grid) {
  const int64_t count = segment.end - segment.begin;
  T max_width = 0, max_height = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Box<T> box = load_box(boxes, plan.order[visits[i]]);
    max_width = max_or(box.x2 - box.x1, max_width);
    max_height = max_or(box.y2 - box.y1, max_height);
  }
  // Where an area may overflow, the IoU of boxes far apart can come out as infinite.
  if (!is_finite(max_width * max_height)) return false;

  grid->max_width = max_width;
  grid->max_height = max_height;
  // Rows of some tens of boxes within a box's reach; columns are free, so they are finer.
  grid->rows = static_cast<int32_t>(
      std::clamp<int64_t>(std::lround(std::sqrt(static_cast<double>(count)) / 8), 2, 128));
  grid->columns = static_cast<int32_t>(std::clamp<int64_t>(count / (3 * grid->rows), 1, 512));
  grid->starts = starts;

  constexpr int kSample = 32;
  T sample_x[kSample], sample_y[kSample];
  for (int i = 0; i < kSample; ++i) {
    const Box<T> box = load_box(boxes, plan.order[visits[count * i / kSample]]);
    sample_x[i] = center_of(box.x1, box.x2);
    sample_y[i] = center_of(box.y1, box.y2);
  }
  grid_axis(sample_x, kSample, grid->columns, &grid->origin_x, &grid->cells_per_x);
  grid_axis(sample_y, kSample, grid->rows, &grid->origin_y, &grid->cells_per_y);

  const int64_t num_cells = static_cast<int64_t>(grid->rows) * grid->columns;
  std::memset(starts, 0, static_cast<size_t>(num_cells + 1) * sizeof(uint32_t));
  for (int64_t i = 0; i < count; ++i) {
    const Box<T> box = load_box(boxes, plan.order[visits[i]]);
    const int32_t row =
        grid_cell(center_of(box.y1, box.y2), grid->origin_y, grid->cells_per_y, grid->rows);
    const int32_t column =
        grid_cell(center_of(box.x1, box.x2), grid->origin_x, grid->cells_per_x, grid->columns);
    cells[i] = static_cast<uint32_t>(row * grid->columns + column);
    ++starts[cells[i]];
  }
  // Counts become ends, and placing the boxes from the last to the first turns ends into starts.
  uint32_t end = segment.begin;
  for (int64_t cell = 0; cell < num_cells; ++cell) starts[cell] = end += starts[cell];
  starts[num_cells] = end;
  for (int64_t i = count - 1; i >= 0; --i) {
    const uint32_t position = --starts[cells[i]];
    plan.position[visits[i]] = position;
    place_box(plan, position, load_box(boxes, plan.order[visits[i]]), factor);
  }
  return true;
}

}  // namespace

template <typename T>
NmsPlan<T> plan_nms(const T* boxes, const T* scores, const int64_t* class_ids, int64_t num_boxes,
                    double iou_threshold, Workspace& workspace) {
  using Key = typename ScoreKey<T>::type;
  const int64_t max_grids = num_boxes / kGridMinBoxes;
  NmsPlan<T> plan;
  plan.order = workspace.take<uint32_t>(num_boxes);
  plan.position = workspace.take<uint32_t>(num_boxes);
  plan.class_of = workspace.take<uint32_t>(num_boxes);
  plan.segments = workspace.take<NmsSegment>(num_boxes);
  plan.grids = workspace.take<NmsGrid<T>>(max_grids);
  uint32_t* starts = workspace.take<uint32_t>(num_boxes);
  for (T** part : {&plan.x1, &plan.y1, &plan.x2, &plan.y2, &plan.area_bound}) {
    *part = workspace.take<T>(num_boxes + kNmsSlack);
  }
  // The sort's memory is free again once the order and the classes are known.
  char* scratch = workspace.take<char>(2 * num_boxes * sizeof(Keyed<uint64_t>) + 4096);
  if (scratch == nullptr || num_boxes == 0) return plan;

  auto* items = reinterpret_cast<Keyed<Key>*>(scratch);
  for (int64_t i = 0; i < num_boxes; ++i) {
    items[i] = {falling_key(scores[i]), static_cast<uint32_t>(i)};
  }
  items = radix_sort(items, items + num_boxes, num_boxes);
  for (int64_t visit = 0; visit < num_boxes; ++visit) plan.order[visit] = items[visit].index;

  int64_t classes = 1;
  if (class_ids) {
    auto* wide = reinterpret_cast<Keyed<uint64_t>*>(scratch);
    const uint64_t table_size = static_cast<uint64_t>(4 * num_boxes + 1024);
    classes = number_classes(class_ids, num_boxes, wide, wide + num_boxes,
                             reinterpret_cast<uint32_t*>(scratch), table_size, plan.class_of,
                             plan.segments);
  } else {
    plan.class_of = nullptr;
    plan.segments[0] = {0, static_cast<uint32_t>(num_boxes), -1};
  }

  uint32_t begin = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const uint32_t count = plan.segments[c].end;
    plan.segments[c] = {begin, begin, count >= kGridMinBoxes ? 0 : -1};
    begin += count;
  }
  auto* visits = reinterpret_cast<uint32_t*>(scratch);  // by position: the boxes in score order
  auto* cells = visits + num_boxes;
  const T factor = NmsRule<T>(iou_threshold).factor;
  for (int64_t visit = 0; visit < num_boxes; ++visit) {
    const uint32_t index = plan.order[visit];
    const Box<T> box = load_box(boxes, index);
    plan.position[visit] = NmsPlan<T>::kNowhere;
    if (!can_overlap(box)) continue;
    NmsSegment& segment = plan.segments[plan.class_of ? plan.class_of[index] : 0];
    const uint32_t position = segment.end++;
    plan.position[visit] = position;
    visits[position] = static_cast<uint32_t>(visit);
    if (segment.grid < 0) place_box(plan, position, box, factor);
  }

  int32_t grids = 0;
  for (int64_t c = 0; c < classes; ++c) {
    NmsSegment& segment = plan.segments[c];
    if (segment.grid < 0) continue;
    if (segment.end - segment.begin >= kGridMinBoxes &&
        build_grid(boxes, plan, segment, visits + segment.begin, cells, factor, starts,
                   &plan.grids[grids])) {
      starts += static_cast<int64_t>(plan.grids[grids].rows) * plan.grids[grids].columns + 1;
      segment.grid = grids++;
      continue;
    }
    segment.grid = -1;
    for (uint32_t position = segment.begin; position < segment.end; ++position) {
      place_box(plan, position, load_box(boxes, plan.order[visits[position]]), factor);
    }
  }
  return plan;
}

#define HTC_INSTANTIATE(T) \
  template NmsPlan<T> plan_nms<T>(const T*, const T*, const int64_t*, int64_t, double, Workspace&);
HTC_INSTANTIATE(float)
HTC_INSTANTIATE(double)
#undef HTC_INSTANTIATE

}  // namespace htc::cpu
