/*
 * jail_calls - the system calls a role may make, as lists by purpose and the filter made of them
 * (libseccomp).
 *
 * Before: jail.c, as its last step. What is on no list fails with EPERM, so a library that probes for
 * something goes on; what only an intruder would call kills the process, and the kernel's audit log has the
 * line. Calls whose arguments lie in memory cannot be judged by a filter: clone3 and openat2 answer ENOSYS,
 * on which the C library falls back to calls that can. Executable memory, sockets and forks are judged by
 * their arguments. Lists hold calls without conditions wherever possible: the kernel decides those from a
 * bitmap, without running the filter.
 */
#include "base/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const int ALWAYS[] = {
    /* memory */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(msync),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(mincore),
    SCMP_SYS(membarrier),
    /* threads, scheduling, the end */
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(get_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(getcpu),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(prctl),
    /* who and when */
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getresuid),
    SCMP_SYS(getresgid),
    SCMP_SYS(getgroups),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrlimit),
    SCMP_SYS(prlimit64),
    SCMP_SYS(times),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getcwd),
    SCMP_SYS(umask),
    SCMP_SYS(setitimer),
    SCMP_SYS(getitimer),
    SCMP_SYS(alarm),
    /* signals to itself */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(rt_sigpending),
    SCMP_SYS(rt_sigsuspend),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(tgkill),
    SCMP_SYS(tkill),
    SCMP_SYS(pause),
    /* descriptors it holds */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(preadv),
    SCMP_SYS(preadv2),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(pwritev),
    SCMP_SYS(pwritev2),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(fcntl),
    SCMP_SYS(fstat),
    SCMP_SYS(fstatfs),
    SCMP_SYS(flock),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(sync_file_range),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(fadvise64),
    SCMP_SYS(sendfile),
    SCMP_SYS(splice),
    SCMP_SYS(tee),
    SCMP_SYS(copy_file_range),
    SCMP_SYS(memfd_create),
    SCMP_SYS(pipe),
    SCMP_SYS(pipe2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(epoll_create),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(eventfd),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(timerfd_gettime),
    SCMP_SYS(signalfd),
    SCMP_SYS(signalfd4),
    /* sockets it holds, or of the Unix domain */
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(connect),
    SCMP_SYS(shutdown),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    /* looking at files */
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(statfs),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getdents64),
};

static const int WRITE_FILES[] = {
    SCMP_SYS(open),      SCMP_SYS(openat),    SCMP_SYS(creat),    SCMP_SYS(mkdir),    SCMP_SYS(mkdirat),
    SCMP_SYS(rmdir),     SCMP_SYS(unlink),    SCMP_SYS(unlinkat), SCMP_SYS(rename),   SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(link),      SCMP_SYS(linkat),   SCMP_SYS(symlink),  SCMP_SYS(symlinkat),
    SCMP_SYS(truncate),  SCMP_SYS(chmod),     SCMP_SYS(fchmod),   SCMP_SYS(fchmodat), SCMP_SYS(chown),
    SCMP_SYS(fchown),    SCMP_SYS(lchown),    SCMP_SYS(fchownat), SCMP_SYS(utime),    SCMP_SYS(utimes),
    SCMP_SYS(utimensat), SCMP_SYS(futimesat), SCMP_SYS(chdir),    SCMP_SYS(fchdir),
};

static const int NETWORK[] = {SCMP_SYS(bind), SCMP_SYS(listen)};

static const int FORK[] = {
    SCMP_SYS(fork),      SCMP_SYS(vfork),       SCMP_SYS(wait4),
    SCMP_SYS(waitid),    SCMP_SYS(kill),        SCMP_SYS(setpgid),
    SCMP_SYS(getpgid),   SCMP_SYS(getpgrp),     SCMP_SYS(setsid),
    SCMP_SYS(getsid),    SCMP_SYS(setpriority), SCMP_SYS(getpriority),
    SCMP_SYS(setrlimit), SCMP_SYS(pidfd_open),  SCMP_SYS(pidfd_send_signal),
};

static const int DEADLY[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(quotactl),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
};

/* AddressSanitizer reads its own memory map and stops its own threads when it looks for leaks. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
static const int SANITIZER[] = {SCMP_SYS(ptrace), SCMP_SYS(clone), SCMP_SYS(wait4), SCMP_SYS(kill)};

static bool
is_listed(int call, const int *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == call) {
            return true;
        }
    }
    return false;
}

static int
add_list(scmp_filter_ctx filter, uint32_t action, const int *list, size_t count)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        bool spared =
            SANITIZED && action != SCMP_ACT_ALLOW && is_listed(list[i], SANITIZER, COUNT(SANITIZER));

        rc = spared ? 0 : seccomp_rule_add(filter, action, list[i], 0);
    }
    return rc;
}

/* Threads: clone with CLONE_THREAD. Without the right to fork, nothing else; new name spaces never. */
static int
add_clone(scmp_filter_ctx filter, unsigned rights)
{
    static const scmp_datum_t SPACES = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                       CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

    if ((rights & JAIL_FORK) != 0) {
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                SCMP_A0(SCMP_CMP_MASKED_EQ, SPACES, 0));
    }
    return SANITIZED ? 0
                     : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                        SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

static int
add_memory(scmp_filter_ctx filter, unsigned rights)
{
    static const int CALLS[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect)};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < COUNT(CALLS); i++) {
        rc = (rights & JAIL_CODE) != 0 ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALLS[i], 0)
                                       : seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALLS[i], 1,
                                                          SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    return rc;
}

static int
add_sockets(scmp_filter_ctx filter, unsigned rights)
{
    static const int FAMILIES[] = {AF_UNIX, AF_INET, AF_INET6};
    size_t count = (rights & JAIL_NETWORK) != 0 ? COUNT(FAMILIES) : 1;
    int rc =
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));

    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)FAMILIES[i], 0));
    }
    return rc;
}

/* Opening without any flag that writes or creates. O_TMPFILE holds O_DIRECTORY, which is harmless, and needs
 * O_RDWR. */
static int
add_opens(scmp_filter_ctx filter)
{
    static const scmp_datum_t CHANGING = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
    int rc =
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, CHANGING, 0));

    return rc != 0 ? rc
                   : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                                      SCMP_A2(SCMP_CMP_MASKED_EQ, CHANGING, 0));
}

static int
add_ioctls(scmp_filter_ctx filter)
{
    static const unsigned long REQUESTS[] = {FIONREAD, FIONBIO, TCGETS, FIOCLEX};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < COUNT(REQUESTS); i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_EQ, REQUESTS[i], 0));
    }
    return rc;
}

/* A signal to itself wakes threads that wait in accept(2): how receive drains. Roles that fork may send any.
 */
static int
add_own_signals(scmp_filter_ctx filter, unsigned rights)
{
    return (rights & JAIL_FORK) != 0 || SANITIZED
               ? 0
               : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
                                  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
}

static int
add_rules(scmp_filter_ctx filter, unsigned rights)
{
    static const int UNJUDGED[] = {SCMP_SYS(clone3), SCMP_SYS(openat2)};
    bool writes = (rights & JAIL_WRITE_FILES) != 0;
    int rc = add_list(filter, SCMP_ACT_ALLOW, ALWAYS, COUNT(ALWAYS));

    rc = rc != 0 ? rc : add_list(filter, SCMP_ACT_ERRNO(ENOSYS), UNJUDGED, COUNT(UNJUDGED));
    rc = rc != 0 ? rc : add_list(filter, SCMP_ACT_KILL_PROCESS, DEADLY, COUNT(DEADLY));
    rc = rc != 0 || !SANITIZED ? rc : add_list(filter, SCMP_ACT_ALLOW, SANITIZER, COUNT(SANITIZER));
    rc = rc != 0  ? rc
         : writes ? add_list(filter, SCMP_ACT_ALLOW, WRITE_FILES, COUNT(WRITE_FILES))
                  : add_opens(filter);
    rc = rc != 0 || (rights & JAIL_NETWORK) == 0 ? rc
                                                 : add_list(filter, SCMP_ACT_ALLOW, NETWORK, COUNT(NETWORK));
    rc = rc != 0 || (rights & JAIL_FORK) == 0 ? rc : add_list(filter, SCMP_ACT_ALLOW, FORK, COUNT(FORK));
    rc = rc != 0 ? rc : add_own_signals(filter, rights);
    rc = rc != 0 ? rc : add_clone(filter, rights);
    rc = rc != 0 ? rc : add_memory(filter, rights);
    rc = rc != 0 ? rc : add_sockets(filter, rights);
    return rc != 0 ? rc : add_ioctls(filter);
}

int
jail_calls_filter(unsigned rights)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r = GW_ERR_SYS;

    if (filter == NULL) {
        return GW_ERR_NOMEM;
    }
    /* All threads at once; no slower memory accesses (a role that runs no foreign code needs no Spectre guard
     * of its own); a tree instead of a list for the calls with conditions. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (add_rules(filter, rights) == 0 && seccomp_load(filter) == 0) {
        r = 0;
    }
    seccomp_release(filter);
    return r;
}
