/* Runs a program and makes the Nth of some of its system calls fail, or kills it
 * there, or writes down what it does to files.
 *
 *   tracer DIR REPORT count|log|fail|kill [CALLS ERRNO|SIGNAL FIRST LAST] -- PROGRAM ARGUMENTS
 *
 * Only calls count that are about something below DIR, by path or by descriptor; and
 * such as are about no file, as making a thread is, from the first of the others on:
 * what the dynamic linker and the runtime do before `main` is not the program's.
 * CALLS are names with commas between, and are counted together, over all threads.
 * LAST may be 0: from the FIRST on, all fail.
 *
 * Why not strace: it counts the calls of each thread apart, and those of the dynamic
 * linker with them, so that it cannot say "the third write of this program to its
 * store". Why not LD_PRELOAD: part of larder's calls do not go through libc.
 *
 * A filter of seccomp stops the program at the calls that are named here and at no
 * other, so that a run takes little longer than without.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a call says what it is about. */
enum about { NOTHING, PATH, PATHS, SECOND_PATH, AT, ATS, SECOND_AT, FD };

struct call {
    const char *name;
    long number;
    enum about about;
    unsigned long count;
};

#define CALL(name, about) { #name, SYS_##name, about, 0 },
static struct call calls[] = {
    CALL(openat, AT) CALL(mkdirat, AT) CALL(unlinkat, AT) CALL(renameat2, ATS)
    CALL(linkat, ATS) CALL(symlinkat, SECOND_AT) CALL(readlinkat, AT) CALL(fchmodat, AT)
    CALL(fchownat, AT) CALL(utimensat, AT) CALL(statx, AT)
    CALL(read, FD) CALL(pread64, FD) CALL(readv, FD) CALL(write, FD) CALL(pwrite64, FD)
    CALL(writev, FD) CALL(copy_file_range, FD) CALL(ftruncate, FD) CALL(fallocate, FD)
    CALL(fsync, FD) CALL(fdatasync, FD) CALL(fchmod, FD) CALL(fchown, FD)
    CALL(getdents64, FD) CALL(flock, FD) CALL(lseek, FD)
    CALL(lsetxattr, PATH) CALL(lgetxattr, PATH) CALL(llistxattr, PATH)
    CALL(mmap, NOTHING) CALL(clone, NOTHING)
#ifdef SYS_clone3
    CALL(clone3, NOTHING)
#endif
#ifdef SYS_newfstatat
    CALL(newfstatat, AT)
#endif
#ifdef SYS_fstat
    CALL(fstat, FD)
#endif
#ifdef SYS_open
    CALL(open, PATH) CALL(mkdir, PATH) CALL(rmdir, PATH) CALL(unlink, PATH)
    CALL(rename, PATHS) CALL(link, PATHS) CALL(symlink, SECOND_PATH) CALL(readlink, PATH)
    CALL(chmod, PATH) CALL(lchown, PATH) CALL(stat, PATH) CALL(lstat, PATH)
#endif
#ifdef SYS_renameat
    CALL(renameat, ATS)
#endif
};
#define CALLS (sizeof calls / sizeof *calls)

static const struct { const char *name; int number; } numbers[] = {
    { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EMFILE", EMFILE }, { "ENFILE", ENFILE },
    { "EDQUOT", EDQUOT }, { "EINTR", EINTR }, { "EROFS", EROFS }, { "EACCES", EACCES },
    { "EPERM", EPERM }, { "ENOMEM", ENOMEM }, { "EAGAIN", EAGAIN }, { "ENOENT", ENOENT },
    { "ENOLCK", ENOLCK }, { "EOPNOTSUPP", EOPNOTSUPP }, { "EMLINK", EMLINK }, { "EXDEV", EXDEV },
    { "ESTALE", ESTALE }, { "SIGKILL", SIGKILL }, { "SIGTERM", SIGTERM }, { "SIGINT", SIGINT },
};

/* A thread that is in a call whose end is to be written down. */
struct pending {
    pid_t thread;
    struct call *call;
    uint64_t args[6];
    unsigned long begun;
    char paths[2][PATH_MAX];
    long long offset;
};

static const char *directory;
static FILE *report;
static enum { COUNT, LOG, FAIL, KILL } mode;
static const char *wanted = "";
static int number;
static unsigned long first, last, matched;
static int started;
static unsigned long moment;
static struct pending pendings[512];
static pid_t program;

static void die(const char *what) {
    fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
    exit(125);
}

static int number_of(const char *name) {
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(numbers[i].name, name)) return numbers[i].number;
    errno = EINVAL;
    die(name);
    return 0;
}

static struct call *call_of(long number) {
    for (size_t i = 0; i < CALLS; i++)
        if (calls[i].number == number) return &calls[i];
    return NULL;
}

/* Whether a name is one of a list with commas. */
static int is_among(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, name, len) && (at[len] == ',' || !at[len])) return 1;
    }
    return 0;
}

static void read_text(pid_t thread, uint64_t from, char *text, size_t size) {
    struct iovec there = { (void *)from, size - 1 }, here = { text, size - 1 };
    ssize_t got;
    text[0] = 0;
    if (!from) return;
    /* No further than the page, then the next one. */
    there.iov_len = 4096 - from % 4096 < size - 1 ? 4096 - from % 4096 : size - 1;
    got = process_vm_readv(thread, &here, 1, &there, 1, 0);
    if (got < 0) got = 0;
    text[got] = 0;
    if (memchr(text, 0, got) == NULL && (size_t)got + 1 < size)
        read_text(thread, from + got, text + got, size - got);
}

static void path_of(pid_t thread, int fd, char *path) {
    char link[64];
    ssize_t len;
    if (fd == AT_FDCWD) snprintf(link, sizeof link, "/proc/%d/cwd", thread);
    else snprintf(link, sizeof link, "/proc/%d/fd/%d", thread, fd);
    len = readlink(link, path, PATH_MAX - 1);
    path[len < 0 ? 0 : len] = 0;
}

/* The absolute path of a name in a directory; that of the directory without one. */
static void resolve(pid_t thread, int fd, uint64_t name, char *path) {
    static char text[PATH_MAX];
    read_text(thread, name, text, sizeof text);
    if (!strncmp(text, "/proc/self/fd/", 14)) {
        char *rest;
        fd = strtol(text + 14, &rest, 10);
        memmove(text, rest + (*rest == '/'), strlen(rest + (*rest == '/')) + 1);
    }
    if (text[0] == '/') {
        strcpy(path, text);
        return;
    }
    path_of(thread, fd, path);
    if (text[0] && strlen(path) + strlen(text) + 2 < PATH_MAX)
        strcat(strcat(path, "/"), text);
}

static void paths_of(pid_t thread, struct call *call, uint64_t *args, char (*paths)[PATH_MAX]) {
    paths[0][0] = paths[1][0] = 0;
    switch (call->about) {
    case NOTHING: break;
    case PATHS: resolve(thread, AT_FDCWD, args[1], paths[1]); /* fall through */
    case PATH: resolve(thread, AT_FDCWD, args[0], paths[0]); break;
    case SECOND_PATH: resolve(thread, AT_FDCWD, args[1], paths[0]); break;
    case ATS: resolve(thread, (int)args[2], args[3], paths[1]); /* fall through */
    case AT: resolve(thread, (int)args[0], args[1], paths[0]); break;
    case SECOND_AT: resolve(thread, (int)args[1], args[2], paths[0]); break;
    case FD: path_of(thread, (int)args[0], paths[0]); break;
    }
}

static int is_below(const char *path) {
    size_t len = strlen(directory);
    return !strncmp(path, directory, len) && (path[len] == '/' || !path[len]);
}

/* Has the call do nothing, and give this result. */
static void answer(pid_t thread, long result) {
#if defined(__x86_64__)
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, thread, 0, &regs)) return;
    regs.orig_rax = -1;
    regs.rax = result;
    ptrace(PTRACE_SETREGS, thread, 0, &regs);
#elif defined(__aarch64__)
    struct user_regs_struct regs;
    struct iovec all = { &regs, sizeof regs };
    int none = -1;
    struct iovec call = { &none, sizeof none };
    if (ptrace(PTRACE_GETREGSET, thread, 1 /* NT_PRSTATUS */, &all)) return;
    regs.regs[0] = result;
    ptrace(PTRACE_SETREGSET, thread, 0x404 /* NT_ARM_SYSTEM_CALL */, &call);
    ptrace(PTRACE_SETREGSET, thread, 1, &all);
#else
#error "not known how calls are answered on this processor"
#endif
}

static unsigned long inode_of(pid_t thread, int fd) {
    char link[64];
    struct stat found;
    snprintf(link, sizeof link, "/proc/%d/fd/%d", thread, fd);
    return stat(link, &found) ? 0 : found.st_ino;
}

static long long offset_of(pid_t thread, int fd) {
    char name[64];
    long long offset = 0;
    FILE *file;
    snprintf(name, sizeof name, "/proc/%d/fdinfo/%d", thread, fd);
    if (!(file = fopen(name, "r"))) return 0;
    if (fscanf(file, "pos: %lld", &offset) != 1) offset = 0;
    fclose(file);
    return offset;
}

/* Notes that a call began; says how to go on with the thread. */
static int begin(pid_t thread, struct call *call, uint64_t *args, char (*paths)[PATH_MAX]) {
    for (size_t i = 0; i < sizeof pendings / sizeof *pendings; i++) {
        struct pending *pending = &pendings[i];
        if (pending->thread) continue;
        pending->thread = thread;
        pending->call = call;
        pending->begun = moment++;
        memcpy(pending->args, args, sizeof pending->args);
        memcpy(pending->paths, paths, sizeof pending->paths);
        pending->offset = !strcmp(call->name, "pwrite64") ? (long long)args[3]
            : !strcmp(call->name, "write")                ? offset_of(thread, (int)args[0])
            : !strcmp(call->name, "ftruncate")            ? (long long)args[1]
            : !strcmp(call->name, "openat")               ? (long long)args[2]
            : !strcmp(call->name, "unlinkat")             ? (long long)args[2]
                                                          : 0;
        return PTRACE_SYSCALL;
    }
    return PTRACE_CONT;
}

/* Writes down what a call did: when it began and ended, its name, the inode, the
 * offset, two paths, and the bytes it wrote. */
static void end(pid_t thread, long result) {
    for (size_t i = 0; i < sizeof pendings / sizeof *pendings; i++) {
        struct pending *pending = &pendings[i];
        const char *name = pending->call ? pending->call->name : "";
        size_t bytes = 0;
        char *data = NULL;
        int fd = (int)pending->args[0];
        if (pending->thread != thread) continue;
        pending->thread = 0;
        if (result >= 0 && (!strcmp(name, "write") || !strcmp(name, "pwrite64"))) {
            struct iovec there = { (void *)pending->args[1], (size_t)result };
            struct iovec here = { data = malloc(result + 1), (size_t)result };
            if (!data || process_vm_readv(thread, &here, 1, &there, 1, 0) != result)
                die("what was written cannot be read");
            bytes = result;
        }
        if (!strcmp(name, "openat")) fd = (int)result;
        /* Where there is no such descriptor, there is no such file. */
        fprintf(report, "%lu\t%lu\t%ld\t%s\t%lu\t%lld\t%s\t%s\t%zu\n", pending->begun, moment++,
                result, name, inode_of(thread, fd), pending->offset, pending->paths[0],
                pending->paths[1], bytes);
        fwrite(data, 1, bytes, report);
        fputc('\n', report);
        free(data);
        return;
    }
}

/* A call is about to happen; says how to go on with the thread. */
static int seen(pid_t thread) {
    static char paths[2][PATH_MAX];
    struct __ptrace_syscall_info info;
    struct call *call;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0) return PTRACE_CONT;
    if (!(call = call_of(info.seccomp.nr))) return PTRACE_CONT;
    paths_of(thread, call, (uint64_t *)info.seccomp.args, paths);
    if (call->about != NOTHING) {
        if (!is_below(paths[0]) && !is_below(paths[1])) return PTRACE_CONT;
        started = 1;
    }
    if (!started) return PTRACE_CONT;
    call->count++;
    if (mode == LOG && call->about == NOTHING) return PTRACE_CONT;
    if (mode == LOG) return begin(thread, call, (uint64_t *)info.seccomp.args, paths);
    if (mode == COUNT || !is_among(wanted, call->name)) return PTRACE_CONT;
    matched++;
    if (matched < first || (last && matched > last)) return PTRACE_CONT;
    fprintf(report, "hit\t%s\t%s\t%s\n", call->name, paths[0], paths[1]);
    if (mode == FAIL) answer(thread, -number);
    else kill(program, number);
    return PTRACE_CONT;
}

/* Stops the program at the calls above, and lets it do all others. */
static void filter(void) {
    static struct sock_filter code[CALLS + 4];
    struct sock_fprog all = { 0, code };
    size_t n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < CALLS; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number,
                                                 (uint8_t)(CALLS - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    all.len = (unsigned short)n;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("PR_SET_NO_NEW_PRIVS");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all)) die("PR_SET_SECCOMP");
}

static void start(char **arguments) {
    long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK
        | PTRACE_O_TRACEVFORK | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
    int go[2];
    char byte = 0;
    if (pipe2(go, O_CLOEXEC)) die("pipe");
    if ((program = fork()) < 0) die("fork");
    if (!program) {
        if (read(go[0], &byte, 1) != 1) _exit(125);
        filter();
        execv(arguments[0], arguments);
        die(arguments[0]);
    }
    if (ptrace(PTRACE_SEIZE, program, 0, options)) die("ptrace is not allowed here");
    if (write(go[1], &byte, 1) != 1) die("write");
    close(go[0]);
    close(go[1]);
}

int main(int count, char **arguments) {
    int status, outcome = 0;
    pid_t thread;
    char **rest = arguments + 4;
    if (count < 6) { errno = EINVAL; die("arguments"); }
    directory = arguments[1];
    if (!(report = fopen(arguments[2], "we"))) die(arguments[2]);
    mode = !strcmp(arguments[3], "log") ? LOG : !strcmp(arguments[3], "fail") ? FAIL
        : !strcmp(arguments[3], "kill") ? KILL : COUNT;
    if (mode == FAIL || mode == KILL) {
        wanted = rest[0];
        number = number_of(rest[1]);
        first = strtoul(rest[2], NULL, 10);
        last = strtoul(rest[3], NULL, 10);
        rest += 4;
    }
    start(rest + 1);
    while ((thread = waitpid(-1, &status, __WALL)) > 0) {
        int event = status >> 16, how = PTRACE_CONT, signal = 0;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (thread == program) outcome = status;
            continue;
        }
        if (event == PTRACE_EVENT_SECCOMP) how = seen(thread);
        else if (!event && WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) > 0
                && info.op == PTRACE_SYSCALL_INFO_EXIT)
                end(thread, info.exit.rval);
            else how = PTRACE_SYSCALL;
        } else if (!event) signal = WSTOPSIG(status);
        ptrace(how, thread, 0, signal);
    }
    if (mode == COUNT)
        for (size_t i = 0; i < CALLS; i++)
            if (calls[i].count) fprintf(report, "%s\t%lu\n", calls[i].name, calls[i].count);
    if (fclose(report)) die(arguments[2]);
    if (WIFSIGNALED(outcome)) return 128 + WTERMSIG(outcome);
    return WEXITSTATUS(outcome);
}
