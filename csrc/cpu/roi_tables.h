// The weights of one RoI, laid out for vectors of the target. Read once per target.
//
// A table is built once an RoI and used for every channel. Columns that the RoI reads are gathered
// into vectors ("chunks") of kLanes neighbours; rows and columns that it does not read cost
// nothing.
#ifndef HTC_TARGET
#  error "include cpu/foreach_target.h first"
#endif

namespace htc::cpu::HTC_TARGET {

// A piece of memory handed out front to back, cut into pieces of known largest size beforehand.
class Arena {
 public:
  explicit Arena(char* memory) : next_(memory) {}

  template <typename E>
  E* take(int64_t count) {
    E* result = reinterpret_cast<E*>(next_);
    next_ += bytes<E>(count);
    return result;
  }

  template <typename E>
  static int64_t bytes(int64_t count) {
    constexpr int64_t kAlign = 16;
    return (count * static_cast<int64_t>(sizeof(E)) + kAlign - 1) / kAlign * kAlign;
  }

 private:
  char* next_;
};

template <typename C>
struct RowTap {
  int64_t row;  // offset of the row's first pixel in the plane
  C weight;
};

template <typename C>
struct BinTap {
  int64_t bin;
  C weight;
};

template <typename C>
int64_t max_chunks(int64_t columns) {
  return columns <= 0 ? 0 : columns / kLanes<C> + 2;
}

// Scratch of one worker for building tables.
template <typename C>
struct TableScratch {
  std::vector<AxisEntry<C>> entries;
  std::vector<int32_t> map, place;  // one number a pixel of the RoI's range

  void reserve(int64_t max_pixels, int64_t max_bins) {
    entries.resize(static_cast<size_t>(max_axis_entries(max_pixels, max_bins)));
    map.resize(static_cast<size_t>(max_pixels));
    place.resize(static_cast<size_t>(std::max(max_pixels, max_chunks<C>(max_pixels))));
  }
};

// Bins are computed in vectors too: blocks of kLanes of them, the last one drawn back so that it
// ends with the last bin (where there are that many).
template <typename C>
int64_t bin_blocks(int64_t bins) {
  return (bins + kLanes<C> - 1) / kLanes<C>;
}
template <typename C>
int64_t bin_block_start(int64_t block, int64_t bins) {
  return std::max<int64_t>(0, std::min<int64_t>(block * kLanes<C>, bins - kLanes<C>));
}

// Sets map[pixel - first] to the compact column of every pixel in `entries` and fills `starts`, the
// first column of each chunk. Chunks stay inside the row where it is as long as a vector, and
// follow on each other where the RoI reads every column and the row has room.
template <typename C>
int64_t gather_columns(const AxisEntry<C>* entries, int64_t count, const PlannedRoi<C>& roi,
                       int32_t* map, int64_t* starts) {
  std::fill_n(map, roi.columns(), -1);
  int64_t first = roi.columns(), last = -1;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t i = entries[k].pixel - roi.first_x;
    map[i] = 0;
    first = std::min(first, i);
    last = std::max(last, i);
  }
  const int64_t whole = (last - first + kLanes<C>) / kLanes<C> * kLanes<C>;
  int64_t room = whole <= roi.x.size ? roi.x.size - whole : roi.x.size - kLanes<C>;
  int64_t chunks = 0, start = 0, end = 0;
  for (int64_t i = first; i <= last; ++i) {
    if (map[i] < 0) continue;
    const int64_t pixel = roi.first_x + i;
    if (pixel >= end) {
      start = std::max<int64_t>(0, std::min(pixel, room));
      end = start + kLanes<C>;
      starts[chunks++] = start;
      room = roi.x.size - kLanes<C>;
    }
    map[i] = static_cast<int32_t>((chunks - 1) * kLanes<C> + pixel - start);
  }
  return chunks;
}

// For pooling: bin by bin the rows to add, then block by block of bins the columns to add.
template <typename C>
struct PoolTable {
  const PlannedRoi<C>* plan = nullptr;
  int64_t chunks = 0;
  int64_t* starts = nullptr;        // [chunks]
  int32_t* row_begin = nullptr;     // [pooled_height + 1]
  RowTap<C>* rows = nullptr;        // [row_begin[pooled_height]]
  int32_t* column_begin = nullptr;  // [blocks + 1]
  int32_t* columns = nullptr;       // compact columns, [column_begin[blocks]]
  C* column_weights = nullptr;      // [column_begin[blocks], kLanes]: one lane a bin

  static int64_t max_columns(const PlannedRoi<C>& roi, const RoiAlignShape& shape) {
    const int64_t blocks = bin_blocks<C>(shape.pooled_width);
    return blocks == 1 ? roi.columns() : 2 * (roi.columns() + 2 * blocks);
  }

  static int64_t bytes(const PlannedRoi<C>& roi, const RoiAlignShape& shape) {
    const int64_t blocks = bin_blocks<C>(shape.pooled_width);
    const int64_t columns = max_columns(roi, shape);
    return Arena::bytes<int64_t>(max_chunks<C>(roi.columns())) +
           Arena::bytes<int32_t>(shape.pooled_height + 1) +
           Arena::bytes<RowTap<C>>(max_axis_entries(roi.rows(), shape.pooled_height)) +
           Arena::bytes<int32_t>(blocks + 1) + Arena::bytes<int32_t>(columns) +
           Arena::bytes<C>(columns * kLanes<C>);
  }

  void build(const PlannedRoi<C>& planned, const RoiAlignShape& shape, char* memory,
             TableScratch<C>& scratch) {
    const int64_t blocks = bin_blocks<C>(shape.pooled_width);
    Arena arena(memory);
    plan = &planned;
    starts = arena.template take<int64_t>(max_chunks<C>(planned.columns()));
    row_begin = arena.template take<int32_t>(shape.pooled_height + 1);
    rows = arena.template take<RowTap<C>>(max_axis_entries(planned.rows(), shape.pooled_height));
    column_begin = arena.template take<int32_t>(blocks + 1);
    columns = arena.template take<int32_t>(max_columns(planned, shape));
    column_weights = arena.template take<C>(max_columns(planned, shape) * kLanes<C>);

    AxisEntry<C>* entries = scratch.entries.data();
    int64_t count = axis_entries(planned.y, shape.pooled_height, entries);
    int64_t k = 0;
    for (int64_t bin = 0; bin < shape.pooled_height; ++bin) {
      row_begin[bin] = static_cast<int32_t>(k);
      for (; k < count && entries[k].bin == bin; ++k) {
        rows[k] = {entries[k].pixel * planned.x.size, entries[k].weight};
      }
    }
    row_begin[shape.pooled_height] = static_cast<int32_t>(k);

    count = axis_entries(planned.x, shape.pooled_width, entries);
    chunks = gather_columns(entries, count, planned, scratch.map.data(), starts);
    int32_t used = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first_bin = bin_block_start<C>(block, shape.pooled_width);
      column_begin[block] = used;
      used = add_block(entries, count, first_bin, planned, scratch, used);
    }
    column_begin[blocks] = used;
  }

 private:
  // Columns that the kLanes bins from first_bin on read.
  int32_t add_block(const AxisEntry<C>* entries, int64_t count, int64_t first_bin,
                    const PlannedRoi<C>& planned, TableScratch<C>& scratch, int32_t used) {
    int32_t* place = scratch.place.data();  // of a pixel in this block's columns
    std::fill_n(place, planned.columns(), -1);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t lane = entries[k].bin - first_bin;
      if (lane < 0 || lane >= kLanes<C>) continue;
      const int64_t pixel = entries[k].pixel - planned.first_x;
      if (place[pixel] < 0) {
        place[pixel] = used;
        columns[used] = scratch.map[static_cast<size_t>(pixel)];
        std::fill_n(column_weights + used * kLanes<C>, kLanes<C>, C(0));
        ++used;
      }
      column_weights[place[pixel] * kLanes<C> + lane] += entries[k].weight;
    }
    return used;
  }
};

// For the gradient: row by row the bins that add to it, and chunk by chunk likewise.
template <typename C>
struct GradTable {
  const PlannedRoi<C>* plan = nullptr;
  int64_t chunks = 0, num_rows = 0;
  int64_t* starts = nullptr;       // [chunks]
  int64_t* rows = nullptr;         // [num_rows], offsets in the plane
  int32_t* row_begin = nullptr;    // [num_rows + 1]
  BinTap<C>* row_bins = nullptr;   // [row_begin[num_rows]]
  int32_t* chunk_begin = nullptr;  // [chunks + 1]
  int32_t* chunk_bins = nullptr;   // [chunk_begin[chunks]]
  C* chunk_weights = nullptr;      // [chunk_begin[chunks], kLanes]: one lane a column

  static int64_t bytes(const PlannedRoi<C>& roi, const RoiAlignShape& shape) {
    const int64_t chunks = max_chunks<C>(roi.columns());
    const int64_t entries = max_axis_entries(roi.columns(), shape.pooled_width);
    return Arena::bytes<int64_t>(chunks) + Arena::bytes<int64_t>(roi.rows()) +
           Arena::bytes<int32_t>(roi.rows() + 1) +
           Arena::bytes<BinTap<C>>(max_axis_entries(roi.rows(), shape.pooled_height)) +
           Arena::bytes<int32_t>(chunks + 1) + Arena::bytes<int32_t>(entries) +
           Arena::bytes<C>(entries * kLanes<C>);
  }

  void build(const PlannedRoi<C>& planned, const RoiAlignShape& shape, char* memory,
             TableScratch<C>& scratch) {
    Arena arena(memory);
    plan = &planned;
    starts = arena.template take<int64_t>(max_chunks<C>(planned.columns()));
    rows = arena.template take<int64_t>(planned.rows());
    row_begin = arena.template take<int32_t>(planned.rows() + 1);
    row_bins =
        arena.template take<BinTap<C>>(max_axis_entries(planned.rows(), shape.pooled_height));
    chunk_begin = arena.template take<int32_t>(max_chunks<C>(planned.columns()) + 1);
    const int64_t most = max_axis_entries(planned.columns(), shape.pooled_width);
    chunk_bins = arena.template take<int32_t>(most);
    chunk_weights = arena.template take<C>(most * kLanes<C>);

    AxisEntry<C>* entries = scratch.entries.data();
    int64_t count = axis_entries(planned.y, shape.pooled_height, entries);
    build_rows(entries, count, planned, scratch.map.data());

    count = axis_entries(planned.x, shape.pooled_width, entries);
    chunks = gather_columns(entries, count, planned, scratch.map.data(), starts);
    build_chunks(entries, count, planned, scratch);
  }

 private:
  // Counting sort of the entries by row; bins stay ascending within one.
  void build_rows(const AxisEntry<C>* entries, int64_t count, const PlannedRoi<C>& planned,
                  int32_t* map) {
    std::fill_n(map, planned.rows(), 0);
    for (int64_t k = 0; k < count; ++k) ++map[entries[k].pixel - planned.first_y];
    int32_t at = 0;
    num_rows = 0;
    for (int64_t i = 0; i < planned.rows(); ++i) {
      if (map[i] == 0) continue;
      rows[num_rows] = (planned.first_y + i) * planned.x.size;
      row_begin[num_rows++] = at;
      const int32_t in_row = map[i];
      map[i] = at;
      at += in_row;
    }
    row_begin[num_rows] = at;
    for (int64_t k = 0; k < count; ++k) {
      row_bins[map[entries[k].pixel - planned.first_y]++] = {entries[k].bin, entries[k].weight};
    }
  }

  // The same by chunk, one row of weights a bin.
  void build_chunks(const AxisEntry<C>* entries, int64_t count, const PlannedRoi<C>& planned,
                    TableScratch<C>& scratch) {
    int32_t* last_bin = scratch.place.data();  // seen in a chunk
    const auto each_bin = [&](auto&& visit) {
      std::fill_n(last_bin, chunks, -1);
      for (int64_t k = 0; k < count; ++k) {
        const int64_t column = scratch.map[static_cast<size_t>(entries[k].pixel - planned.first_x)];
        const int64_t chunk = column / kLanes<C>;
        visit(chunk, column % kLanes<C>, entries[k], last_bin[chunk] != entries[k].bin);
        last_bin[chunk] = entries[k].bin;
      }
    };
    std::fill_n(chunk_begin, chunks + 1, 0);
    each_bin([&](int64_t chunk, int64_t, const AxisEntry<C>&, bool fresh) {
      chunk_begin[chunk + 1] += fresh;
    });
    for (int64_t chunk = 0; chunk < chunks; ++chunk) chunk_begin[chunk + 1] += chunk_begin[chunk];
    // chunk_begin moves to each chunk's end here and back below.
    each_bin([&](int64_t chunk, int64_t lane, const AxisEntry<C>& entry, bool fresh) {
      if (fresh) {
        const int32_t at = chunk_begin[chunk]++;
        chunk_bins[at] = entry.bin;
        std::fill_n(chunk_weights + at * kLanes<C>, kLanes<C>, C(0));
      }
      chunk_weights[(chunk_begin[chunk] - 1) * kLanes<C> + lane] += entry.weight;
    });
    for (int64_t chunk = chunks; chunk > 0; --chunk) chunk_begin[chunk] = chunk_begin[chunk - 1];
    chunk_begin[0] = 0;
  }
};

// Tables of a run of RoIs, in one piece of memory. A run is as long as its tables stay in the cache
// (or one RoI), which bounds the memory for any number of RoIs.
template <typename Table, typename C>
class TableRun {
 public:
  TableRun(const std::vector<PlannedRoi<C>>& plan, const RoiAlignShape& shape)
      : plan_(plan), shape_(shape), scratch_(static_cast<size_t>(num_threads())) {
    int64_t pixels = 0, largest = 0;
    for (const auto& roi : plan) {
      pixels = std::max({pixels, roi.rows(), roi.columns()});
      largest = std::max(largest, Table::bytes(roi, shape));
    }
    const int64_t bins = std::max(shape.pooled_height, shape.pooled_width);
    for (auto& scratch : scratch_) scratch.reserve(pixels, bins);
    int64_t total = 0;
    for (const auto& roi : plan) {
      total += Table::bytes(roi, shape);
      if (total >= kMostBytes) break;
    }
    memory_.reset(new char[static_cast<size_t>(std::min(total, kMostBytes) + largest)]);
    max_columns_ = pixels;
  }

  int64_t max_columns() const { return max_columns_; }

  // Builds the tables from `begin` on and returns the end of the run, `limit` at most.
  size_t build(size_t begin, size_t limit) {
    if (begin == begin_ && limit == limit_) return begin + tables_.size();
    std::vector<int64_t> offsets;
    int64_t total = 0;
    size_t end = begin;
    while (end < limit && (end == begin || total < kMostBytes)) {
      offsets.push_back(total);
      total += Table::bytes(plan_[end++], shape_);
    }
    tables_.resize(end - begin);
    parallel_for(static_cast<int64_t>(end - begin), 16, [&](int worker, int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) {
        tables_[static_cast<size_t>(i)].build(plan_[begin + static_cast<size_t>(i)], shape_,
                                              memory_.get() + offsets[static_cast<size_t>(i)],
                                              scratch_[static_cast<size_t>(worker)]);
      }
    });
    begin_ = begin;
    limit_ = limit;
    return end;
  }

  const std::vector<Table>& tables() const { return tables_; }

 private:
  static constexpr int64_t kMostBytes = int64_t{8} << 20;
  const std::vector<PlannedRoi<C>>& plan_;
  const RoiAlignShape& shape_;
  std::vector<TableScratch<C>> scratch_;
  std::unique_ptr<char[]> memory_;
  std::vector<Table> tables_;
  int64_t max_columns_ = 0;
  size_t begin_ = SIZE_MAX, limit_ = SIZE_MAX;  // what tables_ holds
};

}  // namespace htc::cpu::HTC_TARGET
