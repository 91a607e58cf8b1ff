/* platform.h - what differs between operating systems; one .c per OS behind it (linux.c now). No #ifdef elsewhere. */
#ifndef JL_PLATFORM_H
#define JL_PLATFORM_H

#include "lib/base/base.h"

/* ---- environment and paths --------------------------------------------------------------------------------------- */
const char *jl_env(const char *name); /* NULL when unset, empty, or in a privileged process (secure_getenv) */
bool jl_privileged(void);             /* set-user-id or file capabilities: redirecting variables are ignored */
const char *jl_sysfs_root(void);      /* "/sys", or JOULET_SYSFS */
const char *jl_procfs_root(void);     /* "/proc", or JOULET_PROCFS */
const char *jl_devfs_root(void);      /* "/dev", or JOULET_DEVFS */
bool jl_roots_redirected(void);       /* one of the three or JOULET_NVML is set and honoured */
/* Malloc'ed "<dir>/joulet", created with mode 0700 when missing; NULL and *err on failure. */
char *jl_data_dir(struct joulet_error *err);   /* JOULET_DATA_DIR, else XDG_DATA_HOME, else ~/.local/share */
char *jl_data_dir_name(void);                  /* the same, but nothing is created; NULL without a home folder */
char *jl_config_dir(struct joulet_error *err); /* JOULET_CONFIG_DIR, else XDG_CONFIG_HOME, else ~/.config */
char *jl_cache_dir(struct joulet_error *err);  /* JOULET_CACHE_DIR, else XDG_CACHE_HOME, else ~/.cache */
enum joulet_status jl_make_dirs(const char *path, struct joulet_error *err); /* mkdir -p, 0755 & umask */

/* ---- files ---------------------------------------------------------------------------------------------------------- */
/* Whole file into b (limit of b holds); trailing bytes kept. JOULET_NOT_FOUND, JOULET_PERMISSION, JOULET_IO. */
enum joulet_status jl_read_file(const char *path, struct jl_buf *b, struct joulet_error *err);
/* Reads one small text file and trims trailing white space. */
enum joulet_status jl_read_text(const char *path, char *buf, size_t size, struct joulet_error *err);
/* Written beside, fsynced, renamed: the old file stays until the new one is whole. */
enum joulet_status jl_write_file(const char *path, const void *bytes, size_t n, int mode, struct joulet_error *err);
/* Waits until the caller alone holds the lock of that file, which is created empty when missing and may be replaced while it is
 * held; -1 and *err on failure. */
int jl_lock_file(const char *path, struct joulet_error *err);
void jl_unlock_file(int lock);
/* Names in a folder, sorted; *names and each entry malloc'ed: jl_free_list. A missing folder is JOULET_NOT_FOUND. */
enum joulet_status jl_list_dir(const char *path, char ***names, size_t *n, struct joulet_error *err);
void jl_free_list(char **names, size_t n);
/* Folder of the running program, malloc'ed; NULL if unknown. */
char *jl_program_dir(void);

/* ---- threads, events, sleep --------------------------------------------------------------------------------------- */
struct jl_thread;
enum joulet_status jl_thread_start(struct jl_thread **out, const char *name, void (*run)(void *), void *arg,
                                   struct joulet_error *err);
void jl_thread_join(struct jl_thread *t);  /* frees t; NULL is fine */
void jl_thread_leave(struct jl_thread *t); /* one that hangs: it goes on until the process ends, and nobody waits for it */
bool jl_thread_realtime(void);             /* asks for real-time priority for the calling thread; false when refused */
/* An event others can wait on with a deadline: eventfd on Linux. */
struct jl_event;
struct jl_event *jl_event_open(void);
void jl_event_close(struct jl_event *e);
void jl_event_set(struct jl_event *e);                      /* async-signal-safe */
bool jl_event_wait_until(struct jl_event *e, int64_t t_ns); /* true if set (and clears it), false at the time */
void jl_sleep_until(int64_t t_ns);                          /* absolute CLOCK_MONOTONIC */

/* ---- libraries ------------------------------------------------------------------------------------------------------ */
void *jl_lib_open(const char *name, struct joulet_error *err); /* dlopen, local, now */
void *jl_lib_symbol(void *lib, const char *name);
void jl_lib_close(void *lib);

/* ---- processes ------------------------------------------------------------------------------------------------------ */
struct jl_process {
    int64_t pid;
    int status; /* exit code, or 128 + signal; valid when `ended` */
    bool ended;
};
struct jl_spawn {
    const char *const *argv; /* NULL-terminated */
    const char *const *env;  /* "K=V" added to or replacing the environment; NULL-terminated; NULL none */
    const char *cwd;         /* NULL: unchanged */
    const char *log;         /* stdout and stderr appended to this file; NULL: inherited */
    bool detach;             /* own session, survives us; else it is killed when we die (PDEATHSIG), and Ctrl-C is not for it */
    bool keep;               /* survives us in our own session: a command that is the user's, not ours, Ctrl-C included */
    int in;                  /* becomes its standard input, and no other file of ours is left open; 0: inherited */
    bool confined;           /* what it runs gains no privilege: no set-user-id, no file capabilities */
};
/* JOULET_NOT_FOUND if the program does not exist, JOULET_PERMISSION if it may not be run. */
enum joulet_status jl_spawn(struct jl_process *p, const struct jl_spawn *what, struct joulet_error *err);
/* Waits at most timeout_s (< 0: for ever); true when it ended. */
bool jl_process_wait(struct jl_process *p, double timeout_s);
/* SIGTERM, then SIGKILL after grace_s; reaps. Safe on an ended process. */
void jl_process_stop(struct jl_process *p, double grace_s);
/* For ever, of this process: no environment, no new file, no core dump, no further process, so much memory at most, and, where
 * the kernel takes filters, no call of the system but those for memory and for files that are open. A sanitizer needs more of
 * each. */
void jl_confine(int64_t memory_max);
bool jl_pid_alive(int64_t pid);
/* Whether a library whose file name begins so is in a process: 1, 0; -1 when the system does not tell this user. */
int jl_process_has_library(int64_t pid, const char *name);
/* Text that names this process for ever: its number, the boot and its start, so that neither a reboot nor a reused number fools
 * jl_process_key_alive in another process. False when the system does not tell. */
bool jl_process_key(char *buf, size_t size);
bool jl_process_key_alive(const char *key);

/* ---- the service manager (linux_notify.c) --------------------------------------------------------------------------- */
/* "READY=1\nSTATUS=...", as in sd_notify(3); false when none started this process, or it cannot be reached. */
bool jl_service_tell(const char *state);
double jl_service_watchdog_s(void); /* it wants to be told "WATCHDOG=1" more often than this; 0: it does not */

/* ---- processor time of processes (linux_tree.c) -------------------------------------------------------------------- */
struct jl_process_time {
    int64_t pid, parent;
    uint64_t start;         /* ticks since boot: with the number it names a process for ever */
    uint64_t own, children; /* ticks; children: those that have ended and were waited for */
    char name[16];
};
/* All processes, ascending by number; malloc'ed. Those that end meanwhile are left out. JOULET_UNSUPPORTED without procfs. */
enum joulet_status jl_processes(struct jl_process_time **list, size_t *n, struct joulet_error *err);
double jl_tick_s(void); /* length of a tick */
/* Path of the control group that accounts for the processor time of a process, "" for the root or unknown. */
void jl_process_cgroup(int64_t pid, char *buf, size_t size);
bool jl_cgroup_is_container(const char *cgroup); /* made by Docker, Podman, containerd, CRI-O, LXC, Kubernetes */
double jl_cgroup_cpu_s(const char *cgroup);      /* of all that ever ran in it; NAN unknown */
/* Processes in it and below, unsorted, at most max; -1 unknown. */
int jl_cgroup_pids(const char *cgroup, int64_t *pids, int max);

/* What the limits of our own control group and those above it leave of memory; -1 none. */
int64_t jl_cgroup_memory_left(void);

/* ---- the machine ------------------------------------------------------------------------------------------------------ */
struct jl_machine {
    char os[64]; /* "Debian GNU/Linux 12 (bookworm)" */
    char kernel[64];
    char arch[16];                                /* "x86_64" */
    char cpu[96];                                 /* marketing name from cpuinfo */
    char governor[32];                            /* "performance", "" unknown */
    int threads;                                  /* hardware threads this process may use */
    int cores;                                    /* 0 unknown */
    int64_t memory_bytes, memory_available_bytes; /* available: within the limits of control groups */
    bool virtual_machine;                         /* hypervisor flag */
    char hostname_hash[17];                       /* not the name: 16 hex digits of its SHA-256 */
};
void jl_machine_get(struct jl_machine *m);
/* Whether a device that computes as a graphics card is to be seen: without one nothing of ours lies in its memory. */
bool jl_gpu_here(void);
/* Busy and total time of all hardware threads since boot, in seconds, from procfs. false when unreadable. */
bool jl_cpu_time(double *busy_s, double *total_s);
/* Processor time of a process with its ended children, s; NAN when it does not run. pid 0: of our own ended children. */
double jl_process_cpu_s(int64_t pid);
double jl_own_cpu_s(void);
/* Time that the machine has slept since boot, and wall clock minus monotonic clock, s; NAN unknown. */
void jl_clock_offsets(double *asleep_s, double *wall_s);
/* Sums over all processors: thermal throttle events since boot, and the highest clocks they may take, kHz; -1 unknown. */
int64_t jl_throttle_events(void);
int64_t jl_clock_limit_khz(void);
/* The process that serves a TCP port of this machine (linux_listen.c). */
struct jl_server {
    int64_t pid;    /* -1 none that can be found */
    bool container; /* it listens in another network namespace: the port is a published one */
    bool forwarded; /* by a tunnel (ssh -L): who serves is on another machine */
    char name[16];  /* of the process that holds the port here; "" unknown */
};
/* address: numeric, of this machine; NULL: any of them. */
void jl_server_of(const char *address, int port, struct jl_server *out);
/* The process that listens on an address of another network namespace of this machine, as the inner one of a container; -1 none
 * that can be seen, or several. */
int64_t jl_server_inside(const char *address, int port);
double jl_load_average(void);         /* 1 minute; NAN unknown */
int jl_on_battery(void);              /* 1 battery, 0 mains, -1 unknown */
double jl_temperature_c(void);        /* hottest CPU zone; NAN unknown */
int jl_utc_offset_s(int64_t wall_ns); /* local time less UTC, at that time */
/* Lets this process open as many files and sockets as the system allows it; how many that are. */
int64_t jl_open_files_most(void);
/* Own peak resident set, bytes. */
int64_t jl_peak_memory(void);
/* What this process uses itself (linux_self.c); NAN and -1 unknown. */
struct jl_self {
    double cpu_s, start_s; /* start: wall clock, s since 1970 */
    int64_t resident_bytes, virtual_bytes, open_files, open_files_max, threads;
};
void jl_self_get(struct jl_self *out);
/* Gives back read-only pages of programs and libraries; those needed again are read again. For commands that stay for long. */
void jl_memory_trim(void);
/* Before threads come by the thousand: the allocator makes as many parts for them as there are processors, not eight times as
 * many. In each part room is left between blocks that stay, and so in fewer of them less is. */
void jl_heap_of_few(void);
void jl_heap_trim(void); /* gives back what was freed: when many threads have ended, the allocator holds much of it */
int64_t jl_disk_free(const char *path); /* bytes for this user; -1 unknown */

#endif
