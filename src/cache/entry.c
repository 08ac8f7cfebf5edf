/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/entry.h"
