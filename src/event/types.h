/* SPDX-License-Identifier: Apache-2.0 */
/* The types of a task's events, and what follows from them. */
#ifndef TL_EVENT_TYPES_H
#define TL_EVENT_TYPES_H

#include <stdbool.h>

#define TL_TYPE_STARTED   "task.started.v1"
#define TL_TYPE_PROGRESS  "task.progress.v1"
#define TL_TYPE_COMPLETED "task.completed.v1"
#define TL_TYPE_FAILED    "task.failed.v1"
#define TL_TYPE_CANCELLED "task.cancelled.v1"
#define TL_TYPE_CONTROL   "task.control.v1"

/* completed, failed, cancelled. */
bool tl_event_type_ends(const char *type);
/* Its data is a tl_task_progress: progress, started and those that end. */
bool tl_event_type_bears_state(const char *type);
/* "task.<words>.v<number>". */
bool tl_event_type_of_task(const char *type);

#endif
