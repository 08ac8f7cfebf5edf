/* SPDX-License-Identifier: Apache-2.0 */
/* The one C++ file: C has no shortest and no exact locale-free conversion of doubles, the C++17 library has both. */
#include "base/num_shortest.h"

#include <charconv>

extern "C" size_t tl_num_shortest(char *out, size_t cap, double v) noexcept
{
    return static_cast<size_t>(std::to_chars(out, out + cap, v).ptr - out);
}

extern "C" int tl_num_from_chars(const char *p, size_t n, double *out) noexcept
{
    double v = 0;
    auto [end, ec] = std::from_chars(p, p + n, v);
    if (ec == std::errc::result_out_of_range) return 1;
    if (ec != std::errc() || end != p + n) return 2;
    *out = v;
    return 0;
}
