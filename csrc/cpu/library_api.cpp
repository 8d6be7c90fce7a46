// What htc_ops/_library.py calls through ctypes.
#include "cpu/cpu_target.h"
#include "htc/large_blocks.h"
#include "htc/parallel.h"

extern "C" {

__attribute__((visibility("default"))) int htc_ops_get_num_threads() { return htc::num_threads(); }

__attribute__((visibility("default"))) void htc_ops_set_num_threads(int count) {
  htc::set_num_threads(count);
}

__attribute__((visibility("default"))) const char* htc_ops_cpu_target() {
  return htc::cpu_target_name(htc::cpu_target());
}

__attribute__((visibility("default"))) const char* htc_ops_best_cpu_target() {
  return htc::cpu_target_name(htc::best_cpu_target());
}

__attribute__((visibility("default"))) void htc_ops_release_memory() { htc::release_kept_blocks(); }

}  // extern "C"
