/* linux_confine.c - a process that reads what nobody can vouch for gives up what it does not need, before the first byte. */
#include "lib/platform/platform.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) ||                           \
    HAS_FEATURE(thread_sanitizer) || HAS_FEATURE(memory_sanitizer)
#define SANITIZED 1 /* they need memory without end, and calls of their own */
#else
#define SANITIZED 0
#endif

#if (defined(__x86_64__) || defined(__aarch64__)) && !SANITIZED
#define FILTERED 1
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

extern char **environ;

static void limit(int what, rlim_t most)
{
    struct rlimit l = {.rlim_cur = most, .rlim_max = most};
    setrlimit(what, &l); /* where it cannot be lowered it stays */
}

#ifdef FILTERED
#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#else
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif
#define LOAD(field)     BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW(nr)       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define ANSWER(verdict) BPF_STMT(BPF_RET | BPF_K, (verdict))

static void filter_calls(void)
{
    static struct sock_filter rules[] = {LOAD(arch),
                                         BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0),
                                         ANSWER(SECCOMP_RET_ERRNO | EPERM),
                                         LOAD(nr),
                                         ALLOW(SYS_read),
                                         ALLOW(SYS_write),
                                         ALLOW(SYS_brk),
                                         ALLOW(SYS_mmap),
                                         ALLOW(SYS_munmap),
                                         ALLOW(SYS_mremap),
                                         ALLOW(SYS_madvise),
                                         ALLOW(SYS_futex),
                                         ALLOW(SYS_getrandom),
                                         ALLOW(SYS_clock_gettime),
                                         ALLOW(SYS_restart_syscall),
                                         ALLOW(SYS_rt_sigreturn),
                                         ALLOW(SYS_rt_sigprocmask), /* of abort() */
                                         ALLOW(SYS_getpid),
                                         ALLOW(SYS_gettid),
                                         ALLOW(SYS_tgkill),
                                         ALLOW(SYS_exit),
                                         ALLOW(SYS_exit_group),
                                         ANSWER(SECCOMP_RET_ERRNO | EPERM)};
    struct sock_fprog program = {.len = JL_COUNT(rules), .filter = rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
#else
static void filter_calls(void)
{
}
#endif

void jl_confine(int64_t memory_max)
{
    for (char **e = environ; *e; e++)
        memset(*e, 0, strlen(*e)); /* it may hold keys and tokens */
    environ[0] = NULL;
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_NPROC, 0);
    if (!SANITIZED) {
        limit(RLIMIT_AS, (rlim_t)memory_max);
        limit(RLIMIT_NOFILE, 3);
    }
    filter_calls();
}
