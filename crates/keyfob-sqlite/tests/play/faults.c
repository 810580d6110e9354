/* Lets one call that changes a file fail: the FAULT_AT-th of the process, with FAULT_ERRNO; then
 * there is a file FAULT_FIRED. Files that are not the store's are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_the_stores(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, ".db") != NULL && strstr(path, ".db-shm") == NULL;
}

static int fails(int fd) {
    static atomic_int calls;
    const char *at = getenv("FAULT_AT"), *kind = getenv("FAULT_ERRNO");
    if (fd <= 2 || !at || !kind || !is_the_stores(fd)) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 != atoi(at)) return 0;
    const char *fired = getenv("FAULT_FIRED");
    if (fired) close(open(fired, O_WRONLY | O_CREAT, 0600));
    errno = atoi(kind);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t length) {
    return fails(fd) ? -1 : REAL(write)(fd, data, length);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    return fails(fd) ? -1 : REAL(pwrite)(fd, data, length, at);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    return fails(fd) ? -1 : REAL(pwrite64)(fd, data, length, at);
}

int fsync(int fd) { return fails(fd) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return fails(fd) ? -1 : REAL(fdatasync)(fd); }

int ftruncate(int fd, off_t length) { return fails(fd) ? -1 : REAL(ftruncate)(fd, length); }

int ftruncate64(int fd, off64_t length) { return fails(fd) ? -1 : REAL(ftruncate64)(fd, length); }
