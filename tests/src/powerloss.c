/* A disk that forgets, fails, fills up or stalls: preload this into a process.
 *
 *   cc -O2 -shared -fPIC -o powerloss.so powerloss.c -ldl -lpthread
 *   LD_PRELOAD=powerloss.so SHIM_ROOT=<data directory> [SHIM_...] program ...
 *
 * Only files below SHIM_ROOT are concerned. Everything else is up to further variables:
 *
 * SHIM_SHADOW=<directory>   Keeps what the disk would hold after a power cut at this moment:
 *     files/<identity>      a file as of its last fsync or fdatasync; sync_file_range adds its range as far as that length
 *                           reaches, for the call flushes no metadata;
 *     dirs/<identity>       the entries of a directory as of its last fsync: "f|d <identity> <name>" per line;
 *     root                  the identity of SHIM_ROOT.
 *   An identity is inode number and birth, so a rename, a removal or a new file counts only once its directory was
 *   synchronised, as POSIX has it. An empty SHIM_SHADOW begins with all that is there.
 *   Without it, synchronisations are the kernel's own, after whatever else befalls them.
 * SHIM_OFF=<file>           Once this file exists the power is off: nothing reaches the shadow and no call of fsync returns.
 *                           Several processes that share it lose power at the same instant; then kill them.
 * SHIM_CUT_AT=<k>           The k-th synchronisation does not happen: SHIM_OFF is made instead, and the process ends.
 * SHIM_FAIL_AT=<k>          The k-th synchronisation fails with EIO as on Linux: once for each handle of that file.
 * SHIM_FULL_AT=<bytes>      After so many bytes were written the disk is full: ENOSPC, for ever.
 * SHIM_STALL_MS=<ms>        Each synchronisation takes so much longer ...
 * SHIM_STALL_EVERY=<n>      ... or only each n-th, 1 unless told ...
 * SHIM_STALL_WHILE=<file>   ... or only while this file exists.
 *
 * Synchronisations are fsync and fdatasync of files and directories, counted from 1 over the whole process.
 *
 * Before EIO or the first ENOSPC is returned all other synchronisations are held up, for good, and the process is left to
 * come to rest; then one line "failed <k> <path>" is written to standard output. So whatever the program says after that line
 * was said in spite of the failure. When a handle that was told of the failure is synchronised again, which then succeeds, one
 * line "again <path>" is written.
 *
 * All is done before the call returns, so that killing the process at any moment leaves a state that was true. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, COPY_BYTES = 65536, IDENTITY_BYTES = 80, TOLD_MAX = 16, REST_SAMPLES = 5, REST_MS = 4 };

static const char *root, *shadow, *off, *stall_while;
static long fail_at, cut_at, full_at = -1, stall_ms, stall_every = 1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long syncs, written;
/* The failure, once there was one: the thread that was told, the file, and the handles of it that were told. */
static pid_t failed_thread;
static char failed_file[IDENTITY_BYTES];
static int told[TOLD_MAX], tolds;

static void sleep_ms(long ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {}
}

static void for_ever(void) {
    for (;;) pause();
}

static int power_is_off(void) { return off && access(off, F_OK) == 0; }

static void say(const char *form, ...) {
    char line[PATH_BYTES + 64];
    va_list arguments;
    va_start(arguments, form);
    int length = vsnprintf(line, sizeof line, form, arguments);
    va_end(arguments);
    if (length > 0) syscall(SYS_write, 1, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

/* ---- names and identities ---- */

static int is_below_root(int fd, char *path) {
    char link[64];
    if (!root) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, path, PATH_BYTES - 1);
    if (got < 0) return 0;
    path[got] = 0;
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int identity(int fd, const char *name, char *out, int *is_directory) {
    struct statx status;
    int flags = *name ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
    if (statx(fd, name, flags, STATX_INO | STATX_TYPE | STATX_BTIME, &status) != 0) return -1;
    if (!S_ISDIR(status.stx_mode) && !S_ISREG(status.stx_mode)) return -1;
    *is_directory = S_ISDIR(status.stx_mode);
    snprintf(out, IDENTITY_BYTES, "%llu-%lld-%u", (unsigned long long)status.stx_ino,
             (long long)status.stx_btime.tv_sec, status.stx_btime.tv_nsec);
    return 0;
}

/* ---- the shadow ---- */

/* Makes `temporary` the shadow's `kind`/`name`, unless the power went off meanwhile. */
static void commit(const char *temporary, const char *kind, const char *name) {
    char final[PATH_BYTES];
    snprintf(final, sizeof final, "%s/%s%s", shadow, kind, name);
    if (!power_is_off()) syscall(SYS_renameat2, AT_FDCWD, temporary, AT_FDCWD, final, 0);
}

static void copy(int from, int to, off_t offset, off_t length) {
    char bytes[COPY_BYTES];
    while (length > 0) {
        ssize_t got = pread(from, bytes, length < COPY_BYTES ? (size_t)length : COPY_BYTES, offset);
        if (got <= 0 || syscall(SYS_pwrite64, to, bytes, (size_t)got, offset) != got) break;
        offset += got;
        length -= got;
    }
}

/* A handle of our own: the program's may be write-only. */
static int reopen(int fd) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return open(link, O_RDONLY | O_CLOEXEC);
}

static void keep_file(int fd, const char *name) {
    char temporary[PATH_BYTES];
    struct stat status;
    int from = reopen(fd);
    if (from < 0) return;
    snprintf(temporary, sizeof temporary, "%s/new", shadow);
    int to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to >= 0 && fstat(from, &status) == 0) {
        copy(from, to, 0, status.st_size);
        if (lseek(to, 0, SEEK_END) < status.st_size && ftruncate(to, status.st_size) != 0) abort();
        commit(temporary, "files/", name);
    }
    if (to >= 0) close(to);
    close(from);
}

static void keep_range(int fd, const char *name, off_t offset, off_t length) {
    char path[PATH_BYTES];
    struct stat status;
    snprintf(path, sizeof path, "%s/files/%s", shadow, name);
    int to = open(path, O_WRONLY | O_CLOEXEC);
    if (to < 0) return;
    int from = reopen(fd);
    if (from >= 0 && fstat(to, &status) == 0 && offset < status.st_size && !power_is_off()) {
        copy(from, to, offset, length == 0 || offset + length > status.st_size ? status.st_size - offset : length);
    }
    if (from >= 0) close(from);
    close(to);
}

/* Keeps the entries of a directory; with `deep`, everything below it too. */
static void keep_directory(int fd, const char *name, int deep) {
    char temporary[PATH_BYTES], child[IDENTITY_BYTES];
    struct dirent *entry;
    int is_directory, own = reopen(fd);
    DIR *directory = own >= 0 ? fdopendir(own) : NULL;
    if (!directory) return;
    /* One name per depth, since a deep walk has several unfinished ones at a time. */
    snprintf(temporary, sizeof temporary, "%s/new-%s", shadow, name);
    FILE *list = fopen(temporary, "we");
    while (list && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (identity(dirfd(directory), entry->d_name, child, &is_directory) != 0) continue;
        fprintf(list, "%c %s %s\n", is_directory ? 'd' : 'f', child, entry->d_name);
        int opened = deep ? openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC) : -1;
        if (opened >= 0 && is_directory) keep_directory(opened, child, 1);
        if (opened >= 0 && !is_directory) keep_file(opened, child);
        if (opened >= 0) close(opened);
    }
    if (list) fclose(list);
    commit(temporary, "dirs/", name);
    closedir(directory);
}

/* ---- what may go wrong ---- */

static int all_others_rest(void) {
    char path[300], text[512];
    struct dirent *entry;
    int resting = 1;
    DIR *tasks = opendir("/proc/self/task");
    while (tasks && (entry = readdir(tasks))) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == (int)gettid()) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        ssize_t got = read(fd, text, sizeof text - 1);
        close(fd);
        text[got > 0 ? got : 0] = 0;
        char *end = strrchr(text, ')');
        if (end && end[1] && end[2] != 'S') resting = 0;
    }
    if (tasks) closedir(tasks);
    return resting;
}

/* With the lock held, so that no synchronisation can end: what was said before is out when this returns. */
static void announce(long number, const char *path) {
    for (int rests = 0; rests < REST_SAMPLES; sleep_ms(REST_MS)) rests = all_others_rest() ? rests + 1 : 0;
    failed_thread = gettid();
    say("failed %ld %s\n", number, path);
}

/* Whether this handle of the failed file has still to be told. */
static int must_be_told(int fd) {
    for (int at = 0; at < tolds; at++) {
        if (told[at] == fd) return 0;
    }
    if (tolds < TOLD_MAX) told[tolds++] = fd;
    return 1;
}

/* What the k-th synchronisation meets; -1 for EIO. The lock is held, and given back while waiting for ever. */
static int fate(int fd, const char *name, const char *path) {
    syncs++;
    if (power_is_off() || (failed_thread && failed_thread != gettid() && strcmp(name, failed_file) != 0)) {
        pthread_mutex_unlock(&lock);
        for_ever();
    }
    if (cut_at && syncs == cut_at) {
        int made = off ? open(off, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
        if (made >= 0) close(made);
        _exit(77);
    }
    if (fail_at && syncs == fail_at) {
        strcpy(failed_file, name);
        announce(syncs, path);
    }
    if (!failed_thread || strcmp(name, failed_file) != 0) return 0;
    if (must_be_told(fd)) return -1;
    say("again %s\n", path);
    return 0;
}

static void stall(void) {
    static long calls;
    if (!stall_ms || (stall_while && access(stall_while, F_OK) != 0)) return;
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % stall_every == 0) sleep_ms(stall_ms);
}

/* ---- calls of the program ---- */

/* What the kernel does. With a shadow it is not asked: the shadow is the disk. */
static int truly(int fd) { return shadow ? 0 : (int)syscall(SYS_fsync, fd); }

static int synchronise(int fd) {
    char path[PATH_BYTES], name[IDENTITY_BYTES];
    int is_directory;
    if (!is_below_root(fd, path) || identity(fd, "", name, &is_directory) != 0) return truly(fd);
    stall();
    pthread_mutex_lock(&lock);
    int result = fate(fd, name, path);
    if (result == 0 && shadow) {
        if (is_directory) keep_directory(fd, name, 0);
        else keep_file(fd, name);
    }
    int ended = power_is_off();
    pthread_mutex_unlock(&lock);
    if (ended) for_ever();
    if (result != 0) errno = EIO;
    return result == 0 ? truly(fd) : result;
}

int fsync(int fd) { return synchronise(fd); }

int fdatasync(int fd) { return synchronise(fd); }

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    char path[PATH_BYTES], name[IDENTITY_BYTES];
    int is_directory;
    if (!shadow) return (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
    if (is_below_root(fd, path) && identity(fd, "", name, &is_directory) == 0) {
        pthread_mutex_lock(&lock);
        keep_range(fd, name, offset, length);
        pthread_mutex_unlock(&lock);
    }
    return 0;
}

/* How many of `bytes` still fit the disk; -1 for none. */
static ssize_t room_for(int fd, size_t bytes) {
    char path[PATH_BYTES];
    if (full_at < 0 || bytes == 0 || !is_below_root(fd, path)) return (ssize_t)bytes;
    pthread_mutex_lock(&lock);
    long room = full_at - written;
    if (room <= 0 && !failed_thread) announce(0, path);
    ssize_t fits = room <= 0 ? -1 : (long)bytes < room ? (ssize_t)bytes : room;
    if (fits > 0) written += fits;
    pthread_mutex_unlock(&lock);
    if (fits < 0) errno = ENOSPC;
    return fits;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    ssize_t fits = room_for(fd, length);
    return fits < 0 ? -1 : syscall(SYS_write, fd, bytes, (size_t)fits);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    ssize_t fits = room_for(fd, length);
    return fits < 0 ? -1 : syscall(SYS_pwrite64, fd, bytes, (size_t)fits, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    /* Whole or short by parts: the first part decides. */
    if (count == 0 || full_at < 0) return syscall(SYS_writev, fd, parts, count);
    return write(fd, parts[0].iov_base, parts[0].iov_len);
}

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

__attribute__((constructor)) static void begin(void) {
    char path[PATH_BYTES], name[IDENTITY_BYTES];
    int is_directory;
    root = getenv("SHIM_ROOT"), shadow = getenv("SHIM_SHADOW");
    off = getenv("SHIM_OFF"), stall_while = getenv("SHIM_STALL_WHILE");
    fail_at = number("SHIM_FAIL_AT", 0), cut_at = number("SHIM_CUT_AT", 0), full_at = number("SHIM_FULL_AT", -1);
    stall_ms = number("SHIM_STALL_MS", 0), stall_every = number("SHIM_STALL_EVERY", 1);
    if (stall_every < 1) stall_every = 1;
    if (!root || !shadow) return;
    snprintf(path, sizeof path, "%s/root", shadow);
    int fd = access(path, F_OK) != 0 ? open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0 || identity(fd, "", name, &is_directory) != 0) return;
    for (const char *const *kind = (const char *const[]){"files", "dirs", NULL}; *kind; kind++) {
        snprintf(path, sizeof path, "%s/%s", shadow, *kind);
        mkdir(path, 0700);
    }
    keep_directory(fd, name, 1);
    snprintf(path, sizeof path, "%s/new-root", shadow);
    FILE *list = fopen(path, "we");
    if (list) fprintf(list, "%s\n", name), fclose(list);
    commit(path, "root", "");
    close(fd);
}
