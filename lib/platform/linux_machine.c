/* linux_machine.c - what this machine is and how busy: from procfs and sysfs, below JOULET_PROCFS and JOULET_SYSFS when set.
 * Field positions are those of proc(5). */
#include "lib/platform/platform.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* Contents of root/name in b; an unreadable file is an empty one. */
static const char *slurp(struct jl_buf *b, const char *root, const char *name)
{
    char path[4096];
    jl_buf_clear(b);
    snprintf(path, sizeof(path), "%s/%s", root, name);
    if (jl_read_file(path, b, NULL) != JOULET_OK || !b->data)
        return "";
    return b->data;
}

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : NULL;
}

/* Value of the first "key<blank>:<blank>value" line, or "key=value" with sep '='. */
static bool value_of(const char *text, const char *key, char sep, char *out, size_t size)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = next_line(line)) {
        if (strncmp(line, key, n) != 0)
            continue;
        const char *p = line + n + strspn(line + n, " \t");
        if (*p != sep)
            continue;
        p += 1 + strspn(p + 1, " \t\"");
        size_t len = strcspn(p, "\n");
        while (len > 0 && strchr(" \t\"\r", p[len - 1]))
            len--;
        snprintf(out, size, "%.*s", (int)len, p);
        return len > 0;
    }
    return false;
}

static int64_t kib_of(const char *text, const char *key)
{
    char value[64];
    if (!value_of(text, key, ':', value, sizeof(value)))
        return 0;
    return (int64_t)strtoll(value, NULL, 10) * 1024;
}

/* Distinct (physical id, core id) pairs; 0 when cpuinfo has none, as on arm64. */
static int count_cores(const char *cpuinfo)
{
    enum { MAX_SEEN = 4096 };
    int *seen = calloc(MAX_SEEN, sizeof(*seen));
    int n = 0, package = 0;
    for (const char *line = cpuinfo; seen && line; line = next_line(line)) {
        int value;
        if (sscanf(line, "physical id%*[ \t]: %d", &value) == 1)
            package = value;
        if (sscanf(line, "core id%*[ \t]: %d", &value) != 1)
            continue;
        int id = package * 65536 + value, i = 0;
        while (i < n && seen[i] != id)
            i++;
        if (i == n && n < MAX_SEEN)
            seen[n++] = id;
    }
    free(seen);
    return n;
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += n)
        if ((p == text || p[-1] == ' ') && strchr(" \n", p[n]))
            return true;
    return false;
}

static void read_cpu(struct jl_machine *m, struct jl_buf *b)
{
    static const char *const keys[] = {"model name", "Model", "Hardware", "cpu model"};
    const char *info = slurp(b, jl_procfs_root(), "cpuinfo");
    for (size_t i = 0; i < JL_COUNT(keys) && !m->cpu[0]; i++)
        value_of(info, keys[i], ':', m->cpu, sizeof(m->cpu));
    m->cores = count_cores(info);
    char flags[8192] = "";
    if (value_of(info, "flags", ':', flags, sizeof(flags)))
        m->virtual_machine = has_word(flags, "hypervisor");
}

static int usable_threads(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static void hash_hostname(char out[17])
{
    char name[256] = "", hex[65];
    struct jl_sha256 s;
    gethostname(name, sizeof(name) - 1);
    jl_sha256_init(&s);
    jl_sha256_add(&s, name, strlen(name));
    jl_sha256_hex(&s, hex);
    memcpy(out, hex, 16);
    out[16] = '\0';
}

void jl_machine_get(struct jl_machine *m)
{
    struct utsname u;
    struct jl_buf b;
    *m = (struct jl_machine){0};
    jl_buf_init(&b, (size_t)8 << 20);
    if (!value_of(slurp(&b, "/etc", "os-release"), "PRETTY_NAME", '=', m->os, sizeof(m->os)))
        snprintf(m->os, sizeof(m->os), "Linux");
    if (uname(&u) == 0) {
        snprintf(m->kernel, sizeof(m->kernel), "%.63s", u.release);
        snprintf(m->arch, sizeof(m->arch), "%.15s", u.machine);
    }
    read_cpu(m, &b);
    const char *mem = slurp(&b, jl_procfs_root(), "meminfo");
    m->memory_bytes = kib_of(mem, "MemTotal");
    m->memory_available_bytes = kib_of(mem, "MemAvailable");
    int64_t left = jl_cgroup_memory_left();
    if (left >= 0 && left < m->memory_available_bytes)
        m->memory_available_bytes = left;
    char path[4096];
    snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu0/cpufreq/scaling_governor", jl_sysfs_root());
    jl_read_text(path, m->governor, sizeof(m->governor), NULL);
    m->threads = usable_threads();
    hash_hostname(m->hostname_hash);
    jl_buf_release(&b);
}

/* First line of stat: "cpu  user nice system idle iowait irq softirq steal guest guest_nice", in ticks of sysconf(_SC_CLK_TCK).
 * guest is already inside user. steal is time in which the host ran somebody else: this machine was not busy then. */
bool jl_cpu_time(double *busy_s, double *total_s)
{
    char path[4096], line[512];
    unsigned long long v[8] = {0};
    snprintf(path, sizeof(path), "%s/stat", jl_procfs_root());
    if (jl_read_text(path, line, sizeof(line), NULL) != JOULET_OK)
        return false;
    int n = sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
    if (n < 4)
        return false;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    double busy = (double)(v[0] + v[1] + v[2] + v[5] + v[6]) * tick;
    *busy_s = busy;
    *total_s = busy + (double)(v[3] + v[4] + v[7]) * tick;
    return true;
}

double jl_load_average(void)
{
    char path[4096], line[128];
    double load;
    snprintf(path, sizeof(path), "%s/loadavg", jl_procfs_root());
    if (jl_read_text(path, line, sizeof(line), NULL) != JOULET_OK)
        return NAN;
    line[strcspn(line, " ")] = '\0';
    return jl_parse_double(line, &load) ? load : NAN;
}

static bool read_attribute(const char *dir, const char *device, const char *name, char *out, size_t size)
{
    char *path = jl_strf("%s/%s/%s", dir, device, name);
    bool ok = path && jl_read_text(path, out, size, NULL) == JOULET_OK;
    free(path);
    return ok;
}

/* A mains supply that is online means mains, whatever a battery says; a device's own battery (mouse) has scope Device. */
int jl_on_battery(void)
{
    char dir[4096], text[64];
    char **names;
    size_t n;
    bool mains_off = false, discharging = false, online = false;
    snprintf(dir, sizeof(dir), "%s/class/power_supply", jl_sysfs_root());
    if (jl_list_dir(dir, &names, &n, NULL) != JOULET_OK)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (read_attribute(dir, names[i], "scope", text, sizeof(text)) && strcmp(text, "Device") == 0)
            continue;
        if (read_attribute(dir, names[i], "online", text, sizeof(text))) {
            online = online || text[0] == '1';
            mains_off = mains_off || text[0] == '0';
        } else if (read_attribute(dir, names[i], "status", text, sizeof(text))) {
            discharging = discharging || strcmp(text, "Discharging") == 0;
        }
    }
    jl_free_list(names, n);
    if (online)
        return 0;
    return mains_off || discharging ? 1 : -1;
}

static bool is_cpu_zone(const char *type)
{
    static const char *const names[] = {"x86_pkg_temp", "coretemp", "k10temp", "zenpower", "cpu"};
    for (size_t i = 0; i < JL_COUNT(names); i++)
        if (strstr(type, names[i]))
            return true;
    return false;
}

static void keep_hottest(double *hottest, const char *millidegrees)
{
    int64_t v;
    if (jl_parse_i64(millidegrees, &v) && v > 0 && !(*hottest >= (double)v * 1e-3))
        *hottest = (double)v * 1e-3;
}

/* hwmon knows AMD and Intel parts by driver name; its inputs are temp1_input, temp2_input, ... */
static double hottest_hwmon(void)
{
    char dir[4096], type[64], text[64], input[32];
    char **names;
    size_t n;
    double hottest = NAN;
    snprintf(dir, sizeof(dir), "%s/class/hwmon", jl_sysfs_root());
    if (jl_list_dir(dir, &names, &n, NULL) != JOULET_OK)
        return NAN;
    for (size_t i = 0; i < n; i++) {
        if (!read_attribute(dir, names[i], "name", type, sizeof(type)) || !is_cpu_zone(type))
            continue;
        for (int k = 1; k <= 16; k++) {
            snprintf(input, sizeof(input), "temp%d_input", k);
            if (read_attribute(dir, names[i], input, text, sizeof(text)))
                keep_hottest(&hottest, text);
        }
    }
    jl_free_list(names, n);
    return hottest;
}

double jl_temperature_c(void)
{
    char dir[4096], type[64], text[64];
    char **names;
    size_t n;
    double hottest = NAN;
    snprintf(dir, sizeof(dir), "%s/class/thermal", jl_sysfs_root());
    if (jl_list_dir(dir, &names, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++)
            if (read_attribute(dir, names[i], "type", type, sizeof(type)) && is_cpu_zone(type) &&
                read_attribute(dir, names[i], "temp", text, sizeof(text)))
                keep_hottest(&hottest, text);
        jl_free_list(names, n);
    }
    return isnan(hottest) ? hottest_hwmon() : hottest;
}

int jl_utc_offset_s(int64_t wall_ns)
{
    time_t t = (time_t)(wall_ns / JL_NS_PER_S);
    struct tm tm;
    return localtime_r(&t, &tm) ? (int)tm.tm_gmtoff : 0;
}

int64_t jl_peak_memory(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (int64_t)u.ru_maxrss * 1024 : -1;
}

int64_t jl_open_files_most(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r))
        return -1;
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    return getrlimit(RLIMIT_NOFILE, &r) ? -1 : (int64_t)r.rlim_cur;
}

int64_t jl_disk_free(const char *path)
{
    struct statvfs s;
    return statvfs(path, &s) == 0 ? (int64_t)s.f_bavail * (int64_t)s.f_frsize : -1;
}

bool jl_gpu_here(void)
{
    static const char *const nodes[] = {"nvidiactl", "kfd", "dxg", "mali0", "nvhost-gpu", "nvgpu"};
    char **names = NULL, *dir = jl_strf("%s/dri", jl_devfs_root());
    size_t n = 0;
    bool here = false;
    if (dir && jl_list_dir(dir, &names, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++)
            here |= jl_starts(names[i], "renderD");
        jl_free_list(names, n);
    }
    free(dir);
    for (size_t i = 0; i < JL_COUNT(nodes) && !here; i++) {
        char *path = jl_strf("%s/%s", jl_devfs_root(), nodes[i]);
        here = path && access(path, F_OK) == 0;
        free(path);
    }
    return here;
}
