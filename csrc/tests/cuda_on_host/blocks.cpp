// Runs the threads of a block as coroutines.
#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "cuda_runtime.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_host {
namespace {

constexpr unsigned kWarp = 32, kMaxThreads = 1024;
constexpr size_t kStackBytes = 256 << 10;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

struct Thread {
  ucontext_t start;
  jmp_buf resume;
  bool started = false;
  std::unique_ptr<char[]> stack;
  State state = State::kDone;
  uint64_t value = 0;  // brought to the barrier it waits at
  uint64_t shown = 0;  // brought to the barrier before
};

Order chosen_order = Order::kRising;
std::mt19937 generator(1);
std::vector<Thread> threads(kMaxThreads);
jmp_buf scheduler;
const std::function<void()>* running_kernel;
unsigned current;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "block (%u, %u), thread %u: %s\n", blockIdx.x, blockIdx.y, current, what);
  std::abort();
}

void run_thread() {
  (*running_kernel)();
  threads[current].state = State::kDone;
  _longjmp(scheduler, 1);
}

__attribute__((noinline)) void prepare(Thread& thread) {
  if (!thread.stack) thread.stack.reset(new char[kStackBytes]);
  getcontext(&thread.start);
  thread.start.uc_stack.ss_sp = thread.stack.get();
  thread.start.uc_stack.ss_size = kStackBytes;
  thread.start.uc_link = nullptr;
  makecontext(&thread.start, run_thread, 0);
  thread.started = false;
  thread.state = State::kReady;
}

// Coroutines start by setcontext and change over by longjmp, which makes no system call. None of
// these functions may become part of its caller, whose variables a jump would not bring back.
__attribute__((noinline)) void go_on(Thread& thread) {
  if (_setjmp(scheduler) != 0) return;
  if (thread.started) _longjmp(thread.resume, 1);
  thread.started = true;
  setcontext(&thread.start);
}

__attribute__((noinline)) void wait(State state, uint64_t value) {
  Thread& thread = threads[current];
  thread.state = state;
  thread.value = value;
  if (_setjmp(thread.resume) == 0) _longjmp(scheduler, 1);
}

std::vector<unsigned> order_of(unsigned count) {
  std::vector<unsigned> order(count);
  for (unsigned i = 0; i < count; ++i)
    order[i] = chosen_order == Order::kFalling ? count - 1 - i : i;
  if (chosen_order == Order::kShuffled) std::shuffle(order.begin(), order.end(), generator);
  return order;
}

// Lets the threads of [begin, end) go on if all of them wait at a barrier of this kind.
bool release(unsigned begin, unsigned end, State state) {
  for (unsigned t = begin; t < end; ++t) {
    if (threads[t].state != state) return false;
  }
  for (unsigned t = begin; t < end; ++t) {
    threads[t].state = State::kReady;
    threads[t].shown = threads[t].value;
  }
  return true;
}

void run_block(unsigned count) {
  for (unsigned t = 0; t < count; ++t) prepare(threads[t]);
  for (;;) {
    for (const unsigned t : order_of(count)) {
      if (threads[t].state != State::kReady) continue;
      current = t;
      threadIdx.x = t;
      go_on(threads[t]);
    }
    bool goes_on = false;
    for (unsigned begin = 0; begin < count; begin += kWarp) {
      goes_on |= release(begin, std::min(begin + kWarp, count), State::kAtWarpBarrier);
    }
    if (goes_on || release(0, count, State::kAtBlockBarrier)) continue;
    for (current = 0; current < count; ++current) {
      if (threads[current].state != State::kDone)
        fail("waits at a barrier that others never reach");
    }
    return;
  }
}

}  // namespace

void set_order(Order order) { chosen_order = order; }
void block_barrier(uint64_t value) { wait(State::kAtBlockBarrier, value); }
void warp_barrier(uint64_t value) { wait(State::kAtWarpBarrier, value); }
uint64_t shown_by_thread(unsigned thread) { return threads[thread].shown; }
uint64_t shown_by_lane(unsigned lane) { return threads[current / kWarp * kWarp + lane].shown; }

cudaError_t launch(dim3 grid, dim3 block, const std::function<void()>& kernel) {
  constexpr unsigned kMaxGridX = (1u << 31) - 1, kMaxGridYz = 65535;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > kMaxGridX || grid.y > kMaxGridYz ||
      grid.z > kMaxGridYz || block.x == 0 || block.x > kMaxThreads || block.y != 1 ||
      block.z != 1) {
    return cudaErrorInvalidConfiguration;
  }
  running_kernel = &kernel;
  gridDim = grid;
  blockDim = block;
  for (const unsigned y : order_of(grid.y)) {
    for (const unsigned x : order_of(grid.x)) {
      blockIdx = dim3(x, y);
      run_block(block.x);
    }
  }
  return cudaSuccess;
}

}  // namespace cuda_on_host
