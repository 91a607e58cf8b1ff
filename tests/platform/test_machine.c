/* The machine, read from a folder that looks like one: files below a scratch folder. */
#include "tests/platform/scratch.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void put(const char *name, const char *text)
{
    char *path = jl_strf("%s/%s", scratch, name), *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(jl_make_dirs(path, NULL), JOULET_OK);
    *slash = '/';
    assert_int_equal(jl_write_file(path, text, strlen(text), 0644, NULL), JOULET_OK);
    free(path);
}

static int open_machine(void **state)
{
    int rc = scratch_open(state);
    setenv("JOULET_PROCFS", scratch, 1);
    setenv("JOULET_SYSFS", scratch, 1);
    return rc;
}

static int close_machine(void **state)
{
    unsetenv("JOULET_PROCFS");
    unsetenv("JOULET_SYSFS");
    return scratch_close(state);
}

static const char cpuinfo[] = "processor\t: 0\nmodel name\t: Some CPU @ 2.10GHz\nphysical id\t: 0\ncore id\t\t: 0\n"
                              "flags\t\t: fpu vme hypervisor lm\n\n"
                              "processor\t: 1\nmodel name\t: Some CPU @ 2.10GHz\nphysical id\t: 0\ncore id\t\t: 0\n\n"
                              "processor\t: 2\nmodel name\t: Some CPU @ 2.10GHz\nphysical id\t: 1\ncore id\t\t: 0\n\n"
                              "processor\t: 3\nmodel name\t: Some CPU @ 2.10GHz\nphysical id\t: 1\ncore id\t\t: 9\n\n";

static void test_describes(void **state)
{
    struct jl_machine m;
    (void)state;
    put("cpuinfo", cpuinfo);
    put("meminfo", "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\n");
    put("devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    jl_machine_get(&m);
    assert_string_equal(m.cpu, "Some CPU @ 2.10GHz");
    assert_int_equal(m.cores, 3);
    assert_true(m.virtual_machine);
    assert_int_equal(m.memory_bytes, 16384 * 1024);
    assert_int_equal(m.memory_available_bytes, 8192 * 1024);
    assert_string_equal(m.governor, "performance");
    assert_true(m.threads >= 1);
    assert_true(m.os[0] && m.kernel[0] && m.arch[0]);
    assert_int_equal(strlen(m.hostname_hash), 16);
}

/* A container may have less than the machine: the tightest limit from its group upwards, files in its cache not counted. */
static void test_limits_of_control_groups(void **state)
{
    struct jl_machine m;
    (void)state;
    put("meminfo", "MemTotal: 16384000 kB\nMemAvailable: 8192000 kB\n");
    put("self/cgroup", "0::/system.slice/docker-1.scope\n");
    assert_int_equal(jl_cgroup_memory_left(), -1);
    put("fs/cgroup/system.slice/docker-1.scope/memory.max", "max\n");
    put("fs/cgroup/system.slice/docker-1.scope/memory.current", "1000\n");
    assert_int_equal(jl_cgroup_memory_left(), -1);
    put("fs/cgroup/system.slice/memory.max", "2000000000\n");
    put("fs/cgroup/system.slice/memory.current", "600000000\n");
    put("fs/cgroup/system.slice/memory.stat", "anon 1\ninactive_file 100000000\n");
    jl_machine_get(&m);
    assert_int_equal(m.memory_available_bytes, 1500000000);
    assert_int_equal(m.memory_bytes, 16384000LL * 1024);
    put("self/cgroup", "4:memory:/docker/1\n0::/\n");
    put("fs/cgroup/memory/memory.limit_in_bytes", "700\n"); /* the mount of a container is its own group */
    put("fs/cgroup/memory/memory.usage_in_bytes", "900\n");
    assert_int_equal(jl_cgroup_memory_left(), 0);
    put("fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(jl_cgroup_memory_left(), -1);
}

/* A word that only contains "hypervisor" is another flag; nothing known is nothing claimed. */
static void test_knows_little(void **state)
{
    struct jl_machine m;
    (void)state;
    put("cpuinfo", "processor\t: 0\nBogoMIPS\t: 50\nflags\t: hypervisor_like lm\nModel\t\t: Small Board Rev 1.0\n");
    jl_machine_get(&m);
    assert_string_equal(m.cpu, "Small Board Rev 1.0");
    assert_int_equal(m.cores, 0);
    assert_false(m.virtual_machine);
    assert_int_equal(m.memory_bytes, 0);
    assert_string_equal(m.governor, "");
}

static void test_cpu_time(void **state)
{
    double busy = -1, total = -1, tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    (void)state;
    assert_false(jl_cpu_time(&busy, &total));
    assert_near(busy, -1, 0);
    put("stat", "cpu  100 20 30 4000 500 6 7 80 9 10\ncpu0 1 1 1 1\n");
    assert_true(jl_cpu_time(&busy, &total));
    assert_near(busy, 163 * tick, 1e-9);           /* user with guest, nice, system, irq, softirq */
    assert_near(total, (163 + 4580) * tick, 1e-9); /* and idle, iowait, steal */
    put("stat", "cpu  1 2 3 4\n");
    assert_true(jl_cpu_time(&busy, &total));
    assert_near(total, 10 * tick, 1e-9);
    put("stat", "garbage\n");
    assert_false(jl_cpu_time(&busy, &total));
}

static void test_load(void **state)
{
    (void)state;
    assert_true(isnan(jl_load_average()));
    put("loadavg", "1.25 0.75 0.50 2/345 6789\n");
    assert_near(jl_load_average(), 1.25, 1e-12);
    put("loadavg", "\n");
    assert_true(isnan(jl_load_average()));
}

static void test_battery(void **state)
{
    (void)state;
    assert_int_equal(jl_on_battery(), -1);
    put("class/power_supply/BAT0/status", "Discharging\n");
    put("class/power_supply/BAT0/scope", "Device\n"); /* that of a mouse */
    assert_int_equal(jl_on_battery(), -1);
    put("class/power_supply/BAT1/status", "Discharging\n");
    assert_int_equal(jl_on_battery(), 1);
    put("class/power_supply/AC/online", "1\n");
    assert_int_equal(jl_on_battery(), 0);
    put("class/power_supply/AC/online", "0\n");
    put("class/power_supply/BAT1/status", "Full\n");
    assert_int_equal(jl_on_battery(), 1);
}

static void test_temperature(void **state)
{
    (void)state;
    assert_true(isnan(jl_temperature_c()));
    put("class/hwmon/hwmon0/name", "nvme\n");
    put("class/hwmon/hwmon0/temp1_input", "90000\n");
    assert_true(isnan(jl_temperature_c())); /* a disk */
    put("class/hwmon/hwmon1/name", "k10temp\n");
    put("class/hwmon/hwmon1/temp1_input", "61250\n");
    put("class/hwmon/hwmon1/temp3_input", "64500\n");
    assert_near(jl_temperature_c(), 64.5, 1e-9);
    put("class/thermal/thermal_zone0/type", "acpitz\n");
    put("class/thermal/thermal_zone0/temp", "99000\n");
    put("class/thermal/thermal_zone1/type", "x86_pkg_temp\n");
    put("class/thermal/thermal_zone1/temp", "-5\n");
    put("class/thermal/thermal_zone2/type", "x86_pkg_temp\n");
    put("class/thermal/thermal_zone2/temp", "52000\n");
    assert_near(jl_temperature_c(), 52, 1e-9);
}

static void test_own_use(void **state)
{
    (void)state;
    assert_true(jl_peak_memory() > 100000);
    assert_true(jl_disk_free(scratch) >= 0);
    assert_int_equal(jl_disk_free(in_scratch("none")), -1);
}

#define ON_MACHINE(f) cmocka_unit_test_setup_teardown(f, open_machine, close_machine)

/* utime and stime of a process, with those of its ended children; its name may hold brackets and blanks. */
static void test_process_time(void **state)
{
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    (void)state;
    put("77/stat", "77 (llama) server) S 1 77 77 0 -1 4194560 100 0 0 0 1200 300 40 5 20 0 9 0 100 0 0\n");
    assert_near(jl_process_cpu_s(77), (1200 + 300 + 40 + 5) * tick, 1e-9);
    assert_true(isnan(jl_process_cpu_s(78)));
    assert_true(isnan(jl_process_cpu_s(-1)));
    put("79/stat", "79 (cut");
    assert_true(isnan(jl_process_cpu_s(79)));
    assert_true(jl_process_cpu_s(0) >= 0);
    assert_true(jl_own_cpu_s() >= 0);
}

/* Sums over processors; none is unknown, not 0. */
static void test_heat_and_clocks(void **state)
{
    (void)state;
    assert_int_equal(jl_throttle_events(), -1);
    assert_int_equal(jl_clock_limit_khz(), -1);
    put("devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "3\n");
    put("devices/system/cpu/cpu1/thermal_throttle/package_throttle_count", "4\n");
    put("devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "3500000\n");
    assert_int_equal(jl_throttle_events(), 7);
    assert_int_equal(jl_clock_limit_khz(), 3500000);
    double asleep_s, wall_s;
    jl_clock_offsets(&asleep_s, &wall_s);
    assert_true(asleep_s > -1);
    assert_true(wall_s > 1e9);
}

static struct jl_server serving(int port)
{
    struct jl_server s;
    jl_server_of(NULL, port, &s);
    return s;
}

/* Port 8080 is 1F90; a connection to that port listens to nobody. */
static void test_who_listens(void **state)
{
    static const char head[] =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    char *text;
    (void)state;
    text = jl_strf("%s   0: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 111 1 0\n"
                   "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 222 1 0\n",
                   head);
    put("net/tcp", text);
    free(text);
    put("net/tcp6", head);
    put("500/fd/none", "");
    put("600/fd/none", "");
    char *at = jl_strf("%s/500/fd/3", scratch);
    assert_int_equal(symlink("socket:[111]", at), 0);
    free(at);
    at = jl_strf("%s/600/fd/7", scratch);
    assert_int_equal(symlink("socket:[222]", at), 0);
    free(at);
    assert_int_equal(serving(8080).pid, 600);
    assert_int_equal(serving(8081).pid, -1);
}

static void put_link(const char *name, const char *target)
{
    char *at = jl_strf("%s/%s", scratch, name), *slash = strrchr(at, '/');
    *slash = '\0';
    assert_int_equal(jl_make_dirs(at, NULL), JOULET_OK);
    *slash = '/';
    assert_int_equal(symlink(target, at), 0);
    free(at);
}

static void put_listener(const char *name, int port, int uid, int inode)
{
    char *text = jl_strf("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                         "   0: 00000000:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000  %d        0 %d 1 0\n",
                         port, uid, inode);
    put(name, text);
    free(text);
}

/* A published port belongs to docker-proxy, or to nobody; the engine listens in a namespace of its own. */
static void test_who_listens_in_a_container(void **state)
{
    (void)state;
    put_listener("net/tcp", 8080, 0, 111);
    put("500/comm", "docker-proxy\n");
    char *path = jl_strf("%s/500/cmdline", scratch);
    static const char words[] = "/usr/bin/docker-proxy\0-proto\0tcp\0-host-port\0"
                                "8080\0-container-ip\0"
                                "172.17.0.2\0-container-port\0"
                                "80";
    assert_int_equal(jl_write_file(path, words, sizeof words, 0644, NULL), JOULET_OK);
    free(path);
    put_link("500/fd/3", "socket:[111]");
    put_link("500/ns/net", "net:[1]");
    put_listener("500/net/tcp", 8080, 0, 111);
    put_link("600/ns/net", "net:[2]");
    put_listener("600/net/tcp", 80, 0, 222);
    put_link("601/ns/net", "net:[2]");
    put_listener("601/net/tcp", 80, 0, 222);
    put_link("601/fd/5", "socket:[222]");
    assert_int_equal(serving(8080).pid, 601);
    assert_true(serving(8080).container);
    assert_int_equal(serving(80).pid, 601); /* nobody here holds it: rules of the firewall lead there */
    assert_true(serving(80).container);
    put_link("700/ns/net", "net:[3]");
    put_listener("700/net/tcp", 80, 0, 333);
    assert_int_equal(serving(80).pid, -1); /* two of them: a guess would charge the wrong one */
}

static const char trie[] =
    "Main:\n  +-- 0.0.0.0/0 3 0 5\n     +-- 172.17.0.0/16 2 0 2\n        |-- 172.17.0.0\n           /16 link UNICAST\n"
    "        |-- 172.17.0.%d\n           /32 host LOCAL\n        |-- 172.17.255.255\n           /32 link BROADCAST\n";

static void put_namespace(int pid, int number, int last, int inode)
{
    char name[64];
    snprintf(name, sizeof name, "net:[%d]", number);
    char *at = jl_strf("%d/ns/net", pid);
    put_link(at, name);
    free(at);
    at = jl_strf("%d/net/tcp", pid);
    put_listener(at, 80, 0, inode);
    free(at);
    at = jl_strf("%d/net/fib_trie", pid);
    char *text = jl_strf(trie, last);
    put(at, text);
    free(text);
    free(at);
    at = jl_strf("%d/net/if_inet6", pid);
    text = jl_strf("fd00000000000000000000000000000%d 02 40 00 80     eth0\n", last);
    put(at, text);
    free(text);
    free(at);
}

/* The inner address of a container: the namespace that has it as its own, and not one that merely knows of it. */
static void test_inner_addresses(void **state)
{
    (void)state;
    put_listener("net/tcp", 8080, 0, 111);
    put_namespace(600, 2, 2, 222);
    put_namespace(700, 3, 3, 333);
    assert_int_equal(jl_server_inside("172.17.0.2", 80), 600);
    assert_int_equal(jl_server_inside("172.17.0.3", 80), 700);
    assert_int_equal(jl_server_inside("fd00::3", 80), 700);
    assert_int_equal(jl_server_inside("::ffff:172.17.0.2", 80), 600);
    assert_int_equal(jl_server_inside("172.17.0.0", 80), -1);
    assert_int_equal(jl_server_inside("172.17.255.255", 80), -1);
    assert_int_equal(jl_server_inside("172.17.0.4", 80), -1);
    assert_int_equal(jl_server_inside("172.17.0.2", 81), -1);
    assert_int_equal(jl_server_inside("no address", 80), -1);
}

/* Two containers with the same inner port: docker-proxy says which one it leads to. */
static void test_a_proxy_says_where_it_leads(void **state)
{
    static const char words[] = "docker-proxy\0-host-port\0"
                                "8080\0-container-ip\0"
                                "172.17.0.3\0-container-port\0"
                                "80";
    (void)state;
    put_listener("net/tcp", 8080, 0, 111);
    put("500/comm", "docker-proxy\n");
    put_link("500/fd/3", "socket:[111]");
    put_namespace(600, 2, 2, 222);
    put_namespace(700, 3, 3, 333);
    char *path = jl_strf("%s/500/cmdline", scratch);
    assert_int_equal(jl_write_file(path, words, sizeof words, 0644, NULL), JOULET_OK);
    free(path);
    assert_int_equal(serving(8080).pid, 700);
}

/* A tunnel on loopback and an engine on the address of the network, both on port 8080; the engine listens on IPv6 too. */
static void test_one_port_on_two_addresses(void **state)
{
    struct jl_server s;
    (void)state;
    put("net/tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                   "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0\n"
                   "   1: 0501A8C0:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 222 1 0\n");
    put("net/tcp6", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                    "   0: 000000FD000000000000000003000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 "
                    "00:00000000 00000000  1000        0 333 1 0\n");
    put("500/comm", "ssh\n");
    put_link("500/fd/3", "socket:[111]");
    put_link("600/fd/3", "socket:[222]");
    put_link("601/fd/3", "socket:[333]");
    jl_server_of("127.0.0.1", 8080, &s);
    assert_true(s.forwarded);
    jl_server_of("192.168.1.5", 8080, &s);
    assert_int_equal(s.pid, 600);
    assert_false(s.forwarded);
    jl_server_of("fd00::3", 8080, &s);
    assert_int_equal(s.pid, 601);
}

static void test_tunnels_and_services(void **state)
{
    (void)state;
    put_listener("net/tcp", 8080, 1000, 111);
    put("500/comm", "ssh\n");
    put_link("500/fd/3", "socket:[111]");
    assert_true(serving(8080).forwarded);
    assert_int_equal(serving(8080).pid, -1);
    put_listener("net/tcp", 11434, 998, 444); /* of another user: its descriptors are hidden, its user is not */
    put("1/status", "Name:\tinit\nPPid:\t0\nUid:\t0\t0\t0\t0\n");
    put("800/status", "Name:\tollama\nPPid:\t1\nUid:\t998\t998\t998\t998\n");
    put("801/status", "Name:\trunner\nPPid:\t800\nUid:\t998\t998\t998\t998\n");
    assert_int_equal(serving(11434).pid, 800);
    assert_false(serving(11434).container);
    put("802/status", "Name:\tother\nPPid:\t1\nUid:\t998\t998\t998\t998\n");
    assert_int_equal(serving(11434).pid, -1);
}

/* What only shows pictures has no render node. */
static void test_gpu_nodes(void **state)
{
    static const struct {
        const char *node;
        bool gpu;
    } rows[] = {{"null", false}, {"dri/card0", false}, {"dri/renderD128", true}, {"nvidiactl", true}, {"kfd", true}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char *dev = jl_strf("%s/dev-%zu", scratch, i), *node = jl_strf("dev-%zu/%s", i, rows[i].node);
        put(node, "");
        setenv("JOULET_DEVFS", dev, 1);
        if (jl_gpu_here() != rows[i].gpu)
            fail_msg("%s", rows[i].node);
        free(dev);
        free(node);
    }
    setenv("JOULET_DEVFS", "/nonexistent", 1);
    assert_false(jl_gpu_here());
    unsetenv("JOULET_DEVFS");
}

/* The kernel's own tables: a child in a network namespace of its own listens there. Answers its port, 0 where that is not
 * allowed. */
static int listen_apart(int answer, int until)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    struct ifreq up = {.ifr_name = "lo"};
    int port = 0;
    if (unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        up.ifr_flags = IFF_UP;
        if (ioctl(s, SIOCSIFFLAGS, &up) == 0 && bind(s, (struct sockaddr *)&a, size) == 0 && listen(s, 1) == 0 &&
            getsockname(s, (struct sockaddr *)&a, &size) == 0)
            port = ntohs(a.sin_port);
    }
    if (write(answer, &port, sizeof port) == sizeof port && read(until, &port, 1) > 0)
        return 1;
    return 0;
}

static void test_a_real_namespace(void **state)
{
    int answer[2], until[2], port = 0, status;
    (void)state;
    assert_int_equal(pipe(answer), 0);
    assert_int_equal(pipe(until), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(until[1]);
        _exit(listen_apart(answer[1], until[0]));
    }
    close(until[0]);
    assert_int_equal(read(answer[0], &port, sizeof port), sizeof port);
    if (port > 0)
        assert_int_equal(jl_server_inside("127.0.0.1", port), pid);
    if (port > 0)
        assert_int_equal(jl_server_inside("203.0.113.9", port), -1);
    close(until[1]);
    close(answer[0]);
    close(answer[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!port) {
        print_message("skipped: no network namespace can be made here\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(test_gpu_nodes),
        ON_MACHINE(test_process_time),
        ON_MACHINE(test_heat_and_clocks),
        ON_MACHINE(test_who_listens),
        ON_MACHINE(test_describes),
        ON_MACHINE(test_knows_little),
        ON_MACHINE(test_limits_of_control_groups),
        ON_MACHINE(test_cpu_time),
        ON_MACHINE(test_load),
        ON_MACHINE(test_battery),
        ON_MACHINE(test_who_listens_in_a_container),
        cmocka_unit_test(test_a_real_namespace),
        ON_MACHINE(test_inner_addresses),
        ON_MACHINE(test_a_proxy_says_where_it_leads),
        ON_MACHINE(test_one_port_on_two_addresses),
        ON_MACHINE(test_tunnels_and_services),
        ON_MACHINE(test_temperature),
        ON_MACHINE(test_own_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
