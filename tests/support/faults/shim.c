/* Preloaded into a process: counts its system calls on files whose path holds a given text, and lets one of them go wrong.
 *
 * `fault_arm` begins the count. Every landed fault is written to the marker's descriptor as "<number> <call> <path>", and, where a
 * trace is asked for, every call is recorded with its data, so that what a loss of power would leave can be worked out later.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE, EIO_ONCE, EIO_ON, ENOSPC_ONCE, ENOSPC_ON, SHORT, FULL, KILL_BEFORE, KILL_AFTER, TORN };
static const char *const KINDS[] = {"none",  "eio",  "eio-on",      "enospc",     "enospc-on",
                                    "short", "full", "kill-before", "kill-after", "torn"};

static char needle[PATH_MAX];
static int kind = NONE, marker = -1, trace = -1, armed = 0;
static long at = 0, count = 0;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void record(char op, const char *path, const char *other, int64_t offset, const void *data, int64_t length) {
    if (trace < 0) return;
    char head[2 * PATH_MAX + 128];
    int n = snprintf(head, sizeof head, "%c %lld %lld %s%s%s\n", op, (long long)offset, (long long)length, path,
                     other ? "\t" : "", other ? other : "");
    syscall(SYS_write, trace, head, n);
    if (data && length > 0) syscall(SYS_write, trace, data, length);
}

int fault_arm(const char *text, const char *what, long number, int marker_fd, int trace_fd) {
    for (int k = 0; k < (int)(sizeof KINDS / sizeof *KINDS); k++) {
        if (strcmp(KINDS[k], what)) continue;
        snprintf(needle, sizeof needle, "%s", text);
        kind = k, at = number, count = 0, marker = marker_fd, trace = trace_fd, armed = 1;
        return 0;
    }
    return -1;
}

void fault_disarm(void) { armed = 0; }

long fault_count(void) { return count; }

void fault_note(const char *text) {
    pthread_mutex_lock(&lock);
    record('A', "note", NULL, 0, text, (int64_t)strlen(text));
    pthread_mutex_unlock(&lock);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, needle) != NULL;
}

static void landed(const char *call, const char *path) {
    char line[PATH_MAX + 64];
    int n = snprintf(line, sizeof line, "%ld %s %s\n", count, call, path);
    if (marker >= 0) syscall(SYS_write, marker, line, n);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What is to happen to the call that begins now: an error number, -1 to shorten it, -2 to kill after it, -3 to tear it, or 0. */
static int fate(const char *call, const char *path, int is_write, int needs_space) {
    count++;
    int is_it = count == at, is_on = count >= at && at > 0;
    switch (kind) {
    case EIO_ONCE: if (is_it) { landed(call, path); return EIO; } break;
    case EIO_ON: if (is_on) { landed(call, path); return EIO; } break;
    case ENOSPC_ONCE: if (is_it && needs_space) { landed(call, path); return ENOSPC; } break;
    case ENOSPC_ON: if (is_on && needs_space) { landed(call, path); return ENOSPC; } break;
    case SHORT: if (is_it && is_write) { landed(call, path); return -1; } break;
    case FULL:
        if (is_it && is_write) { landed(call, path); return -1; }
        if (is_on && !is_it && needs_space) { landed(call, path); return ENOSPC; }
        break;
    case KILL_BEFORE: if (is_it) { landed(call, path); die(); } break;
    case KILL_AFTER: if (is_it) { landed(call, path); return -2; } break;
    case TORN: if (is_on && is_write) { landed(call, path); return -3; } break;
    default: break;
    }
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static ssize_t put(int fd, const void *data, size_t length, off64_t offset, const char *call, const char *path) {
    int what = fate(call, path, length > 1, 1);
    if (what > 0) { errno = what; return -1; }
    size_t some = what == -1 || what == -3 ? length / 2 : length;
    off64_t where = offset >= 0 ? offset : lseek64(fd, 0, SEEK_CUR);
    ssize_t done = offset >= 0 ? syscall(SYS_pwrite64, fd, data, some, offset) : syscall(SYS_write, fd, data, some);
    if (done > 0) record('W', path, NULL, where, data, done);
    if (what < -1) die();
    return done;
}

ssize_t write(int fd, const void *data, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    char path[PATH_MAX];
    if (!real) real = REAL(write);
    if (!armed || !path_of(fd, path)) return real(fd, data, length);
    pthread_mutex_lock(&lock);
    ssize_t done = put(fd, data, length, -1, "write", path);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static ssize_t pwrite_at(int fd, const void *data, size_t length, off64_t offset) {
    char path[PATH_MAX];
    if (!armed || !path_of(fd, path)) return syscall(SYS_pwrite64, fd, data, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = put(fd, data, length, offset, "pwrite", path);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite_at(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite_at(fd, data, length, offset); }

/* Calls that answer 0 or -1: `run` is the call itself, `op` its letter in the trace. */
#define SIMPLE(call, path, space, op, other, number, run)                                                                          \
    do {                                                                                                                           \
        pthread_mutex_lock(&lock);                                                                                                 \
        int what = fate(call, path, 0, space), done = -1, error;                                                                   \
        if (what > 0) errno = what;                                                                                                \
        else done = (run);                                                                                                         \
        error = errno;                                                                                                             \
        if (done >= 0) record(op, path, other, number, NULL, 0);                                                                   \
        if (what < -1) die();                                                                                                      \
        pthread_mutex_unlock(&lock);                                                                                               \
        errno = error;                                                                                                             \
        return done;                                                                                                               \
    } while (0)

int fsync(int fd) {
    char path[PATH_MAX];
    if (!armed || !path_of(fd, path)) return syscall(SYS_fsync, fd);
    SIMPLE("fsync", path, 1, 'S', NULL, 0, syscall(SYS_fsync, fd));
}

int fdatasync(int fd) {
    char path[PATH_MAX];
    if (!armed || !path_of(fd, path)) return syscall(SYS_fdatasync, fd);
    SIMPLE("fdatasync", path, 1, 'S', NULL, 0, syscall(SYS_fdatasync, fd));
}

static int truncate_at(int fd, off64_t length) {
    char path[PATH_MAX];
    if (!armed || !path_of(fd, path)) return syscall(SYS_ftruncate, fd, length);
    SIMPLE("ftruncate", path, 1, 'T', NULL, length, syscall(SYS_ftruncate, fd, length));
}

int ftruncate(int fd, off_t length) { return truncate_at(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_at(fd, length); }

int unlink(const char *path) {
    if (!armed || !strstr(path, needle)) return syscall(SYS_unlink, path);
    SIMPLE("unlink", path, 0, 'U', NULL, 0, syscall(SYS_unlink, path));
}

int rename(const char *path, const char *target) {
    if (!armed || !(strstr(path, needle) || strstr(target, needle))) return syscall(SYS_rename, path, target);
    SIMPLE("rename", path, 1, 'R', target, 0, syscall(SYS_rename, path, target));
}

static int open_at(int folder, const char *path, int flags, mode_t mode) {
    if (!armed || !strstr(path, needle)) return syscall(SYS_openat, folder, path, flags, mode);
    int creates = (flags & O_CREAT) != 0;
    SIMPLE("open", path, creates, flags & O_TRUNC ? 'N' : 'O', NULL, creates, syscall(SYS_openat, folder, path, flags, mode));
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) & ~O_DIRECTORY ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name, folder, large)                                                                                                  \
    va_list arguments;                                                                                                             \
    va_start(arguments, flags);                                                                                                    \
    mode_t mode = mode_of(flags, arguments);                                                                                       \
    va_end(arguments);                                                                                                             \
    return open_at(folder, path, flags | large, mode)

int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD, 0); }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD, O_LARGEFILE); }
int openat(int folder, const char *path, int flags, ...) { OPEN(openat, folder, 0); }
int openat64(int folder, const char *path, int flags, ...) { OPEN(openat64, folder, O_LARGEFILE); }
