// The smallest test kit that says what failed and where.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                \
    }                                                                              \
  } while (0)

#define CHECK_NEAR(actual, expected, tolerance)                                               \
  do {                                                                                        \
    const double actual_value = (actual), expected_value = (expected);                        \
    if (!(std::fabs(actual_value - expected_value) <= (tolerance))) {                         \
      std::fprintf(stderr, "%s:%d: %s is %.9g, expected %.9g\n", __FILE__, __LINE__, #actual, \
                   actual_value, expected_value);                                             \
      std::exit(1);                                                                           \
    }                                                                                         \
  } while (0)
