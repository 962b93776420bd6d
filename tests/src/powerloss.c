/* A disk that forgets: preload this into a process, and only what it really synchronised survives.
 *
 *   cc -O2 -shared -fPIC -o powerloss.so powerloss.c -ldl -lpthread
 *   LD_PRELOAD=powerloss.so SHIM_ROOT=<data directory> SHIM_SHADOW=<empty directory> program ...
 *
 * SHIM_SHADOW is what the disk would hold after a power cut at this moment. It gets
 *   - on fsync and fdatasync of a file: the whole file;
 *   - on sync_file_range: the range, as far as the file's synchronised length reaches: the call flushes no metadata;
 *   - on fsync of a directory: its entries, empty where the file itself was not synchronised;
 *   - on rename and unlink: the same, at once (lenient: a file system may order them later).
 * SHIM_FAIL_FSYNC=k makes the k-th fsync of a file below SHIM_ROOT fail with EIO, once, as Linux does.
 *
 * Everything is done before the call returns, so that killing the process at any moment leaves a state that was true. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, COPY_BYTES = 65536 };

static pthread_mutex_t shadow_lock = PTHREAD_MUTEX_INITIALIZER;
static long file_syncs;

/* The shadow's path for a path below the root; -1 for any other. */
static int shadow_path(const char *path, char *out) {
    const char *root = getenv("SHIM_ROOT"), *shadow = getenv("SHIM_SHADOW");
    size_t length = root ? strlen(root) : 0;
    if (!root || !shadow || strncmp(path, root, length) != 0 || (path[length] != '/' && path[length] != 0)) return -1;
    return snprintf(out, PATH_BYTES, "%s%s", shadow, path + length) < PATH_BYTES ? 0 : -1;
}

static int shadow_of_handle(int fd, char *out) {
    char link[64], path[PATH_BYTES];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return -1;
    path[length] = 0;
    return shadow_path(path, out);
}

static void make_parents(const char *path) {
    char parent[PATH_BYTES];
    strcpy(parent, path);
    for (char *at = parent + 1; *at; at++) {
        if (*at != '/') continue;
        *at = 0;
        mkdir(parent, 0700);
        *at = '/';
    }
}

static void copy(int from, int to, off_t offset, off_t length) {
    char bytes[COPY_BYTES];
    while (length > 0) {
        ssize_t got = pread(from, bytes, length < COPY_BYTES ? (size_t)length : COPY_BYTES, offset);
        if (got <= 0 || pwrite(to, bytes, (size_t)got, offset) != got) break;
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

static void keep_file(int fd, const char *shadow) {
    char unfinished[PATH_BYTES + 16];
    struct stat status;
    int from = reopen(fd);
    if (from < 0 || fstat(from, &status) != 0) return;
    make_parents(shadow);
    snprintf(unfinished, sizeof unfinished, "%s.shim", shadow);
    int to = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to >= 0) {
        copy(from, to, 0, status.st_size);
        close(to);
        syscall(SYS_rename, unfinished, shadow);
    }
    close(from);
}

static void keep_range(int fd, const char *shadow, off_t offset, off_t length) {
    struct stat status;
    int to = open(shadow, O_WRONLY | O_CLOEXEC);
    if (to < 0) return;
    int from = reopen(fd);
    if (from >= 0 && fstat(to, &status) == 0 && offset < status.st_size) {
        copy(from, to, offset, offset + length > status.st_size ? status.st_size - offset : length);
    }
    if (from >= 0) close(from);
    close(to);
}

static void keep_entries(int fd, const char *shadow) {
    char entry_path[PATH_BYTES + 300], link[64];
    struct dirent *entry;
    make_parents(shadow);
    mkdir(shadow, 0700);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    DIR *directory = opendir(link);
    if (!directory) return;
    while ((entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(entry_path, sizeof entry_path, "%s/%s", shadow, entry->d_name);
        if (entry->d_type == DT_DIR) {
            mkdir(entry_path, 0700);
        } else {
            int made = open(entry_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            if (made >= 0) close(made);
        }
    }
    closedir(directory);
}

static int keep(int fd) {
    char shadow[PATH_BYTES];
    struct stat status;
    if (fstat(fd, &status) != 0 || shadow_of_handle(fd, shadow) != 0) return 0;
    const char *fail = getenv("SHIM_FAIL_FSYNC");
    int result = 0;
    pthread_mutex_lock(&shadow_lock);
    if (S_ISDIR(status.st_mode)) {
        keep_entries(fd, shadow);
    } else if (S_ISREG(status.st_mode)) {
        file_syncs++;
        if (fail && file_syncs == atol(fail)) result = -1;
        else keep_file(fd, shadow);
    }
    pthread_mutex_unlock(&shadow_lock);
    if (result != 0) errno = EIO;
    return result;
}

int fsync(int fd) { return keep(fd); }

int fdatasync(int fd) { return keep(fd); }

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    char shadow[PATH_BYTES];
    (void)flags;
    if (shadow_of_handle(fd, shadow) == 0) {
        pthread_mutex_lock(&shadow_lock);
        keep_range(fd, shadow, offset, length);
        pthread_mutex_unlock(&shadow_lock);
    }
    return 0;
}

int rename(const char *from, const char *to) {
    char shadow_from[PATH_BYTES], shadow_to[PATH_BYTES];
    pthread_mutex_lock(&shadow_lock);
    int result = (int)syscall(SYS_rename, from, to);
    int failed = errno;
    if (result == 0 && shadow_path(from, shadow_from) == 0 && shadow_path(to, shadow_to) == 0) {
        syscall(SYS_rename, shadow_from, shadow_to);
    }
    pthread_mutex_unlock(&shadow_lock);
    errno = failed;
    return result;
}

int unlink(const char *path) {
    char shadow[PATH_BYTES];
    pthread_mutex_lock(&shadow_lock);
    int result = (int)syscall(SYS_unlink, path);
    int failed = errno;
    if (result == 0 && shadow_path(path, shadow) == 0) syscall(SYS_unlink, shadow);
    pthread_mutex_unlock(&shadow_lock);
    errno = failed;
    return result;
}
