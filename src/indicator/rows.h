/* SPDX-License-Identifier: Apache-2.0 */
/* What a family of indicators includes: the declarations of all rows, and short forms for parameters.
 * To add an indicator: write its kernel and its row (`const struct tl_indicator tl_ind_NAME = {...}`) in the file of
 * its family, add X(NAME) to indicators.tbl.h, and a new family's file to meson.build. Nothing else. */
#ifndef TL_INDICATOR_ROWS_H
#define TL_INDICATOR_ROWS_H

#include "indicator/kernel.h"

#define X(name) extern const struct tl_indicator tl_ind_##name;
#include "indicator/indicators.tbl.h"
#undef X

/* Initialisers of struct tl_param. Periods end at 100000 and real numbers at 3e37, as in TA-Lib. */
#define TL_PERIOD(param_name, least, usual)                                                                            \
    {                                                                                                                  \
        .name = (param_name), .kind = TL_PARAM_INT, .min = (least), .max = 100000, .def = (usual)                      \
    }
#define TL_REAL(param_name, least, usual)                                                                              \
    {                                                                                                                  \
        .name = (param_name), .kind = TL_PARAM_REAL, .min = (least), .max = 3e37, .def = (usual)                       \
    }
#define TL_MA_TYPE(param_name)                                                                                         \
    {                                                                                                                  \
        .name = (param_name), .kind = TL_PARAM_MA_TYPE, .min = 0, .max = 4, .def = 0                                   \
    }

#endif
