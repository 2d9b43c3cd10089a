/*
 * Stands between a program and its storage (LD_PRELOAD), to see and to disturb what it does below one folder.
 *
 * PROOF_ROOT     the folder, absolute and without symbolic links; everything else passes unseen
 * PROOF_JOURNAL  a file to which every change and every sync is appended, so that what a disk may hold after a power cut
 *                can be made up afterwards; without it nothing is recorded
 * PROOF_CONTROL  a file with a `struct control`, through which faults are switched on and off while the program runs
 *
 * A change is recorded before it is made and a sync after it was made: whatever the program relies upon is in the
 * journal, and what the journal has beyond that was never promised to it. One lock keeps both in one order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* ---- What is shared with the lab: see journal.rs and shim.rs. ---- */

enum kind {
    CREATE = 1,   /* path: an empty file comes into being */
    BOUND = 2,    /* path, inode: the file of that name is the one meant from now on */
    WRITE = 3,    /* inode, offset, octets */
    TRUNCATE = 4, /* inode, offset is the new length */
    SYNC = 5,     /* inode, offset is the last change that is covered */
    RENAME = 6,   /* old path, NUL, new path */
    UNLINK = 7,   /* path */
    LINK = 8,     /* old path, NUL, new path */
    MKDIR = 9,    /* path */
    RMDIR = 10,   /* path */
    SYNC_DIR = 11, /* path, offset is the last change that is covered */
    MAPPED = 12,  /* inode: it may change from now on without a word */
    AMEND = 13,   /* offset is a change of which only inode octets took place; 0 for none of it */
};

struct record {
    uint32_t kind;
    uint32_t zero;
    uint64_t change;
    uint64_t inode;
    uint64_t offset;
    uint64_t octets; /* that follow */
};

struct control {
    _Atomic uint32_t fault;  /* enum fault */
    _Atomic uint32_t calls;  /* which: enum call */
    _Atomic uint32_t error;  /* errno */
    _Atomic uint32_t budget; /* how many calls are still to be disturbed */
    _Atomic uint32_t delay;  /* milliseconds */
    _Atomic uint32_t lies;   /* whether a sync does nothing and says that it did */
    _Atomic uint32_t hits;   /* calls that were disturbed */
};

enum fault { NO_FAULT = 0, FAILS = 1, FAILS_THOUGH_DONE = 2, IS_SLOW = 3 };

enum call {
    CALL_WRITE = 1,
    CALL_SYNC = 2,
    CALL_OPEN = 4,
    CALL_LENGTH = 8,
    CALL_READ = 16,
    CALL_NAME = 32,
};

/* ---- State. ---- */

#define FILES_MAX 65536

/* The inode behind each descriptor below the root; 0 for every other. */
static _Atomic uint64_t inodes[FILES_MAX];
/* Whether it is a folder. */
static _Atomic uint8_t folders[FILES_MAX];
static char root[PATH_MAX];
static size_t root_octets;
static int journal = -1;
static struct control *control;
static uint64_t changes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What a sync takes where nothing is synced in truth: long enough for others to come in between. */
#define SYNC_NANOSECONDS 500000

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("PROOF_ROOT");
    const char *control_path = getenv("PROOF_CONTROL");
    const char *journal_path = getenv("PROOF_JOURNAL");
    if (folder == NULL || strlen(folder) >= sizeof root) {
        return;
    }
    if (control_path != NULL) {
        int fd = syscall(SYS_openat, AT_FDCWD, control_path, O_RDWR | O_CLOEXEC, 0);
        void *map = (void *)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        control = map == MAP_FAILED ? NULL : map;
        syscall(SYS_close, fd);
    }
    if (journal_path != NULL) {
        int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
        journal = syscall(SYS_openat, AT_FDCWD, journal_path, flags, 0600);
    }
    strcpy(root, folder);
    root_octets = strlen(root);
}

static void sleep_for(uint64_t nanoseconds) {
    struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    nanosleep(&time, NULL);
}

/* ---- The journal. ---- */

/* Appends a record; gives its number. With the lock held. */
static uint64_t note(enum kind kind, uint64_t inode, uint64_t offset, const struct iovec *parts, int count, size_t octets) {
    struct record record = {kind, 0, ++changes, inode, offset, octets};
    struct iovec all[3] = {{&record, sizeof record}};
    int used = 1;
    if (journal < 0) {
        return changes;
    }
    if (count <= 2) {
        for (int i = 0; i < count; i++) {
            all[used++] = parts[i];
        }
        syscall(SYS_writev, journal, all, used);
    } else {
        syscall(SYS_writev, journal, all, 1);
        syscall(SYS_writev, journal, parts, count);
    }
    return changes;
}

static uint64_t note_path(enum kind kind, uint64_t inode, uint64_t offset, const char *path) {
    struct iovec part = {(void *)(path + root_octets), strlen(path + root_octets)};
    return note(kind, inode, offset, &part, 1, part.iov_len);
}

static uint64_t note_paths(enum kind kind, const char *from, const char *to) {
    struct iovec parts[2] = {
        {(void *)(from + root_octets), strlen(from + root_octets) + 1},
        {(void *)(to + root_octets), strlen(to + root_octets)},
    };
    return note(kind, 0, 0, parts, 2, parts[0].iov_len + parts[1].iov_len);
}

/* Takes a change back, all but so many octets of it. With the lock held. */
static void amend(uint64_t change, uint64_t octets) {
    int error = errno;
    note(AMEND, octets, change, NULL, 0, 0);
    errno = error;
}

/* ---- Faults. ---- */

/* What is to be done to a call; waits where it is to be slow. */
static enum fault disturb(enum call call) {
    if (control == NULL || atomic_load(&control->fault) == NO_FAULT || !(atomic_load(&control->calls) & call)) {
        return NO_FAULT;
    }
    enum fault fault = atomic_load(&control->fault);
    uint32_t budget = atomic_load(&control->budget);
    do {
        if (budget == 0) {
            return NO_FAULT;
        }
    } while (!atomic_compare_exchange_weak(&control->budget, &budget, budget - 1));
    atomic_fetch_add(&control->hits, 1);
    if (fault == IS_SLOW) {
        sleep_for((uint64_t)atomic_load(&control->delay) * 1000000);
    }
    return fault;
}

static int failed(void) {
    errno = atomic_load(&control->error);
    return -1;
}

/* ---- Names. ---- */

/* The absolute path below the root, in `path`; 0 if it is elsewhere. */
static int below_root(int folder, const char *name, char path[PATH_MAX]) {
    if (root_octets == 0 || name == NULL) {
        return 0;
    }
    if (name[0] == '/') {
        if (strlen(name) >= PATH_MAX) {
            return 0;
        }
        strcpy(path, name);
    } else {
        char link[64], base[PATH_MAX];
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        ssize_t octets = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
        if (octets <= 0 || octets + strlen(name) + 2 > PATH_MAX) {
            return 0;
        }
        base[octets] = 0;
        strcpy(path, base);
        strcat(path, "/");
        strcat(path, name);
    }
    return strncmp(path, root, root_octets) == 0 && (path[root_octets] == '/' || path[root_octets] == 0);
}

static int exists(const char *path) {
    return syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

static uint64_t inode_of(int fd) {
    return fd >= 0 && fd < FILES_MAX ? atomic_load(&inodes[fd]) : 0;
}

static void forget(int fd) {
    if (fd >= 0 && fd < FILES_MAX) {
        atomic_store(&inodes[fd], 0);
        atomic_store(&folders[fd], 0);
    }
}

static int open_below(int folder, const char *name, int flags, mode_t mode, const char *path) {
    enum fault fault = disturb(CALL_OPEN);
    if (fault == FAILS) {
        return failed();
    }
    pthread_mutex_lock(&lock);
    uint64_t change = 0;
    int creates = (flags & O_CREAT) && !exists(path);
    if (creates) {
        change = note_path(CREATE, 0, 0, path);
    }
    int fd = syscall(SYS_openat, folder, name, flags, mode);
    struct stat stat;
    if (fd < 0) {
        if (creates) {
            amend(change, 0);
        }
    } else if (fd < FILES_MAX && fstat(fd, &stat) == 0 && (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) {
        atomic_store(&folders[fd], S_ISDIR(stat.st_mode));
        atomic_store(&inodes[fd], stat.st_ino);
        if (S_ISREG(stat.st_mode)) {
            note_path(BOUND, stat.st_ino, 0, path);
        }
        if (flags & O_TRUNC) {
            note(TRUNCATE, stat.st_ino, 0, NULL, 0, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    if (fd >= 0 && fault == FAILS_THOUGH_DONE) {
        forget(fd);
        syscall(SYS_close, fd);
        return failed();
    }
    return fd;
}

int openat(int folder, const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    char path[PATH_MAX];
    if (below_root(folder, name, path)) {
        return open_below(folder, name, flags, mode, path);
    }
    int fd = syscall(SYS_openat, folder, name, flags, mode);
    forget(fd);
    return fd;
}

int openat64(int folder, const char *name, int flags, ...) __attribute__((alias("openat")));

int open(const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return openat(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) __attribute__((alias("open")));

int creat(const char *name, mode_t mode) {
    return openat(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *name, mode_t mode) __attribute__((alias("creat")));

int close(int fd) {
    forget(fd);
    return syscall(SYS_close, fd);
}

/* A second descriptor of the same file. */
static int same(int from, int to) {
    if (to >= 0 && to < FILES_MAX) {
        atomic_store(&folders[to], from >= 0 && from < FILES_MAX ? atomic_load(&folders[from]) : 0);
        atomic_store(&inodes[to], inode_of(from));
    }
    return to;
}

int dup(int fd) { return same(fd, syscall(SYS_dup, fd)); }

int dup2(int fd, int to) { return fd == to ? fd : same(fd, syscall(SYS_dup3, fd, to, 0)); }

int dup3(int fd, int to, int flags) { return same(fd, syscall(SYS_dup3, fd, to, flags)); }

int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int result = syscall(SYS_fcntl, fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? same(fd, result) : result;
}

int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));

/* One change of a name: recorded, then made. */
#define NAME_CHANGE(recorded, made)             \
    do {                                        \
        enum fault fault = disturb(CALL_NAME);  \
        if (fault == FAILS) {                   \
            return failed();                    \
        }                                       \
        pthread_mutex_lock(&lock);              \
        uint64_t change = (recorded);           \
        int result = (made);                    \
        if (result < 0) {                       \
            amend(change, 0);                   \
        }                                       \
        pthread_mutex_unlock(&lock);            \
        return fault == FAILS_THOUGH_DONE ? failed() : result; \
    } while (0)

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    char old[PATH_MAX], new[PATH_MAX];
    if (!below_root(from_folder, from, old) || !below_root(to_folder, to, new)) {
        return syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    }
    NAME_CHANGE(note_paths(RENAME, old, new), syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    char old[PATH_MAX], new[PATH_MAX];
    if (!below_root(from_folder, from, old) || !below_root(to_folder, to, new)) {
        return syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
    }
    NAME_CHANGE(note_paths(LINK, old, new), syscall(SYS_linkat, from_folder, from, to_folder, to, flags));
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    if (!below_root(folder, name, path)) {
        return syscall(SYS_unlinkat, folder, name, flags);
    }
    NAME_CHANGE(note_path(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, 0, path), syscall(SYS_unlinkat, folder, name, flags));
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!below_root(folder, name, path)) {
        return syscall(SYS_mkdirat, folder, name, mode);
    }
    NAME_CHANGE(note_path(MKDIR, 0, 0, path), syscall(SYS_mkdirat, folder, name, mode));
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

/* ---- Contents. ---- */

/* Where a write without an offset goes. */
static off_t position(int fd) {
    int flags = syscall(SYS_fcntl, fd, F_GETFL, 0);
    struct stat stat;
    if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &stat) == 0) {
        return stat.st_size;
    }
    return lseek(fd, 0, SEEK_CUR);
}

/* Writes to a file below the root; at its own position where `offset` is negative. */
static ssize_t write_below(int fd, const struct iovec *parts, int count, off_t offset) {
    enum fault fault = disturb(CALL_WRITE);
    if (fault == FAILS) {
        return failed();
    }
    size_t octets = 0;
    for (int i = 0; i < count; i++) {
        octets += parts[i].iov_len;
    }
    pthread_mutex_lock(&lock);
    off_t at = offset < 0 ? position(fd) : offset;
    uint64_t change = note(WRITE, inode_of(fd), at, parts, count, octets);
    ssize_t written = offset < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, at, 0);
    if (written < 0 || (size_t)written < octets) {
        amend(change, written < 0 ? 0 : written);
    }
    pthread_mutex_unlock(&lock);
    return fault == FAILS_THOUGH_DONE ? failed() : written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return inode_of(fd) ? write_below(fd, parts, count, -1) : syscall(SYS_writev, fd, parts, count);
}

ssize_t write(int fd, const void *octets, size_t count) {
    struct iovec part = {(void *)octets, count};
    return inode_of(fd) ? write_below(fd, &part, 1, -1) : syscall(SYS_write, fd, octets, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return inode_of(fd) ? write_below(fd, parts, count, offset) : syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) __attribute__((alias("pwritev")));

ssize_t pwrite(int fd, const void *octets, size_t count, off_t offset) {
    struct iovec part = {(void *)octets, count};
    return inode_of(fd) ? write_below(fd, &part, 1, offset) : syscall(SYS_pwrite64, fd, octets, count, offset);
}

ssize_t pwrite64(int fd, const void *octets, size_t count, off_t offset) __attribute__((alias("pwrite")));

/* Reads are only disturbed; what is read cannot be taken back. */
static int read_fails(int fd) { return inode_of(fd) && disturb(CALL_READ) == FAILS; }

ssize_t read(int fd, void *octets, size_t count) {
    return read_fails(fd) ? failed() : syscall(SYS_read, fd, octets, count);
}

ssize_t pread(int fd, void *octets, size_t count, off_t offset) {
    return read_fails(fd) ? failed() : syscall(SYS_pread64, fd, octets, count, offset);
}

ssize_t pread64(int fd, void *octets, size_t count, off_t offset) __attribute__((alias("pread")));

/* Sets a length: by ftruncate where `reserves` is 0, else by fallocate. */
static int set_length(int fd, off_t length, int reserves) {
    enum fault fault = disturb(CALL_LENGTH);
    if (fault == FAILS) {
        return failed();
    }
    pthread_mutex_lock(&lock);
    struct stat stat;
    int grows = fstat(fd, &stat) == 0 && stat.st_size < length;
    uint64_t change = 0;
    if (grows || !reserves) {
        change = note(TRUNCATE, inode_of(fd), length, NULL, 0, 0);
    }
    int result = reserves ? syscall(SYS_fallocate, fd, 0, 0, length) : syscall(SYS_ftruncate, fd, length);
    if (result < 0 && change != 0) {
        amend(change, 0);
    }
    pthread_mutex_unlock(&lock);
    return fault == FAILS_THOUGH_DONE ? failed() : result;
}

int ftruncate(int fd, off_t length) {
    return inode_of(fd) ? set_length(fd, length, 0) : syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off_t length) __attribute__((alias("ftruncate")));

int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (!inode_of(fd)) {
        return syscall(SYS_fallocate, fd, mode, offset, length);
    }
    if (mode != 0) {
        /* Holes and the like are not recorded; the program does without where they are not supported. */
        errno = EOPNOTSUPP;
        return -1;
    }
    return set_length(fd, offset + length, 1);
}

int fallocate64(int fd, int mode, off_t offset, off_t length) __attribute__((alias("fallocate")));

int posix_fallocate(int fd, off_t offset, off_t length) { return fallocate(fd, 0, offset, length) == 0 ? 0 : errno; }

int posix_fallocate64(int fd, off_t offset, off_t length) __attribute__((alias("posix_fallocate")));

/* ---- Syncs. ---- */

static int sync_below(int fd, long number) {
    enum fault fault = disturb(CALL_SYNC);
    if (fault == FAILS) {
        return failed();
    }
    pthread_mutex_lock(&lock);
    uint64_t covered = changes;
    pthread_mutex_unlock(&lock);
    int result = 0;
    if (journal < 0) {
        result = syscall(number, fd);
    } else {
        sleep_for(SYNC_NANOSECONDS);
    }
    if (result == 0 && !(control != NULL && atomic_load(&control->lies))) {
        pthread_mutex_lock(&lock);
        if (fd < FILES_MAX && atomic_load(&folders[fd])) {
            char link[64], path[PATH_MAX];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t octets = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
            if (octets >= (ssize_t)root_octets) {
                path[octets] = 0;
                note_path(SYNC_DIR, 0, covered, path);
            }
        } else {
            note(SYNC, inode_of(fd), covered, NULL, 0, 0);
        }
        pthread_mutex_unlock(&lock);
    }
    return fault == FAILS_THOUGH_DONE ? failed() : result;
}

int fsync(int fd) { return inode_of(fd) ? sync_below(fd, SYS_fsync) : syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return inode_of(fd) ? sync_below(fd, SYS_fdatasync) : syscall(SYS_fdatasync, fd); }

/* It promises nothing about a power cut: sync_file_range(2). */
int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
    if (inode_of(fd) && disturb(CALL_SYNC) == FAILS) {
        return failed();
    }
    return syscall(SYS_sync_file_range, fd, offset, count, flags);
}

void *mmap(void *address, size_t octets, int protection, int flags, int fd, off_t offset) {
    if ((flags & MAP_SHARED) && (protection & PROT_WRITE) && inode_of(fd)) {
        pthread_mutex_lock(&lock);
        note(MAPPED, inode_of(fd), 0, NULL, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    return (void *)syscall(SYS_mmap, address, octets, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t octets, int protection, int flags, int fd, off_t offset) __attribute__((alias("mmap")));
