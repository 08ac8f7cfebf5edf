/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager's side of a server: telling systemd how it goes (sd_notify(3)), and taking the sockets that it
 * listens on for us (sd_listen_fds(3)). Both protocols are a few lines of text; nothing of libsystemd is needed.
 * Without a manager everything here does nothing. */
#ifndef TL_SERVER_NOTIFY_H
#define TL_SERVER_NOTIFY_H

#include "base/log.h"

#include <sys/socket.h>
#include <sys/un.h>

enum { TL_NOTIFY_STATUS_MAX = 256 };

struct tl_notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un to;
    socklen_t to_n;
    uint32_t watchdog_ms; /* how often tl_notify_watchdog is to be called; 0: never */
    const struct tl_log *log;
    bool failing; /* the last message was not taken; one line in the log for a row of failures */
};

/* envp: as in environ. NOTIFY_SOCKET: a path, or @ and an abstract name. WATCHDOG_USEC, where WATCHDOG_PID is this
 * process: watchdog_ms is half of it. INVALID: a variable that cannot be what it must be. IO: no socket. */
TL_MUSTCHECK enum tl_status tl_notify_open(struct tl_notify *, char *const *envp, const struct tl_log *,
                                           struct tl_err *err);
void tl_notify_close(struct tl_notify *);

/* What must arrive (ready, reloading, stopping) waits for the manager up to a second; the rest is dropped when it does
 * not keep up. A message that is not taken is logged, and nothing else: the service goes on. */
void tl_notify_ready(struct tl_notify *);     /* after the start, and again when a reload is done */
void tl_notify_reloading(struct tl_notify *); /* with the monotonic time, as Type=notify-reload wants it */
void tl_notify_stopping(struct tl_notify *);
void tl_notify_watchdog(struct tl_notify *);
/* One line for `systemctl status`; cut to TL_NOTIFY_STATUS_MAX - 1 bytes, control characters become '?'. */
void tl_notify_status(struct tl_notify *, const char *fmt, ...) TL_PRINTF(2, 3);

/* ---- socket activation ---- */

enum { TL_LISTEN_FDS_MAX = 32, TL_LISTEN_NAME_MAX = 64 };

struct tl_listen_fd {
    int fd;                        /* from 3 on; nonblocking, closed on exec [own] */
    int family;                    /* AF_INET, AF_INET6, AF_UNIX */
    char name[TL_LISTEN_NAME_MAX]; /* of LISTEN_FDNAMES; "unknown" without one */
};
/* The sockets that were handed to this process; *n 0: none. INVALID: LISTEN_FDS or LISTEN_FDNAMES is malformed, or a
 * descriptor is no stream socket that listens: its number and name are in the text. Then none is taken. A descriptor is
 * the caller's afterwards; call it once, and not in children. */
TL_MUSTCHECK enum tl_status tl_listen_fds(char *const *envp, struct tl_listen_fd out[TL_LISTEN_FDS_MAX], size_t *n,
                                          struct tl_err *err);

#endif
