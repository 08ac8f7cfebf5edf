/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of statuses: enum, text, HTTP status, CLI exit code and whether trying again can help.
 * Numbers are part of the ABI: never renumber, only append.
 *
 *  name            num  text                                        http exit retry */
X(OK,               0,  "ok",                                        200, 0, 0)
X(INVALID,         -1,  "invalid argument",                          400, 2, 0)
X(NOT_FOUND,       -2,  "not found",                                 404, 3, 0)
X(NOMEM,           -3,  "out of memory",                             503, 8, 1)
X(IO,              -4,  "input/output error",                        500, 6, 1)
X(LOCK_LOST,       -5,  "lease lost",                                409, 4, 1)
X(BUSY,            -6,  "held by another writer",                    503, 5, 1)
X(CORRUPT,         -7,  "stored data is damaged",                    500, 7, 0)
X(TOO_NEW,         -8,  "written by a newer version",                500, 7, 0)
X(FULL,            -9,  "no space left",                             507, 6, 1)
X(TOO_LARGE,      -10,  "larger than the limit",                     413, 2, 0)
X(PARSE,          -11,  "cannot be parsed",                          400, 2, 0)
X(CANCELLED,      -12,  "cancelled",                                 499, 130, 1)
X(TIMEOUT,        -13,  "deadline passed",                           504, 5, 1)
X(UNSUPPORTED,    -14,  "not supported",                             501, 2, 0)
X(TOO_FEW_BARS,   -15,  "too few bars",                              422, 1, 0)
X(NO_DATA,        -16,  "no data",                                   404, 3, 0)
X(NO_FACTORS,     -17,  "no adjustment factors",                     422, 1, 0)
X(AMBIGUOUS,      -18,  "ambiguous",                                 400, 2, 0)
X(SOME_FAILED,    -19,  "some items failed",                         200, 1, 1)
X(CONFLICT,       -20,  "changed meanwhile",                         409, 5, 1)
X(DENIED,         -21,  "permission denied",                         403, 6, 0)
X(INTERNAL,       -22,  "internal error",                            500, 70, 0)
