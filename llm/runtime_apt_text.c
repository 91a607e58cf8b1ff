/* runtime_apt_text.c - the texts that go between us and apt: its private configuration, its sources, what its answers mean, and
 * what to advise where Debian's packages do not fit. Pure but for a look whether credentials of the machine may be read.
 *
 * The configuration goes in through APT_CONFIG: that file is read before /etc/apt/apt.conf.d and so can turn that folder off,
 * while `apt-get -c` is read after it and would inherit, say, a machine-wide Check-Valid-Until "false". Only the lines that say
 * how to reach the network (proxy, certificates) are taken over. */
#include "llm/runtime_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define TEXT_MAX ((size_t)1 << 20)

bool apt_sources_text(const struct apt *a, struct jl_buf *out)
{
    return jl_buf_printf(out, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: %s\nSigned-By: %s\n", a->mirror,
                         a->suite, a->arch, a->keyring);
}

bool apt_config_text(const struct apt *a, struct jl_buf *out)
{
    static const struct {
        const char *key, *below; /* a path in the scratch folder; NULL: an empty folder or a file that does not exist */
    } paths[] = {
        {"Dir::State", "state"},
        {"Dir::State::lists", "lists"},
        {"Dir::State::status", "status"},
        {"Dir::Cache", "cache"},
        {"Dir::Log", "log"},
        {"Dir::Etc", "etc"},
        {"Dir::Etc::main", "etc/no.conf"},
        {"Dir::Etc::parts", "etc/none"},
        {"Dir::Etc::sourcelist", "etc/joulet.sources"},
        {"Dir::Etc::sourceparts", "etc/none"},
        {"Dir::Etc::preferences", "etc/no.pref"},
        {"Dir::Etc::preferencesparts", "etc/none"},
        {"Dir::Etc::trusted", "etc/no.gpg"},
        {"Dir::Etc::trustedparts", "etc/none"},
    };
    for (size_t i = 0; i < JL_COUNT(paths); i++)
        jl_buf_printf(out, "%s \"%s/%s\";\n", paths[i].key, a->dir, paths[i].below);
    /* A closed mirror may want a name and a password; they stay where they are. */
    if (access("/etc/apt/auth.conf", R_OK) == 0)
        jl_buf_str(out, "Dir::Etc::netrc \"/etc/apt/auth.conf\";\n");
    if (access("/etc/apt/auth.conf.d", R_OK | X_OK) == 0)
        jl_buf_str(out, "Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n");
    jl_buf_printf(out, "APT::Architecture \"%s\";\nAPT::Architectures:: \"%s\";\n", a->arch, a->arch);
    /* The user apt would change to cannot read the scratch folder of root. */
    jl_buf_str(out, "APT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\nAcquire::Retries \"3\";\n"
                    "Acquire::Languages \"none\";\nAcquire::PDiffs \"false\";\n");
    if (a->inherited)
        jl_buf_str(out, a->inherited);
    return jl_buf_printf(out, "Acquire::Check-Valid-Until \"%s\";\n", a->check_valid ? "true" : "false");
}

/* The i-th of the fields that '|' separates. */
static struct slice field(const char *line, size_t n, int i)
{
    const char *end = line + n;
    for (; i > 0 && line < end; i--) {
        const char *bar = memchr(line, '|', (size_t)(end - line));
        line = bar ? bar + 1 : end;
    }
    const char *bar = memchr(line, '|', (size_t)(end - line));
    return (struct slice){line, (size_t)((bar ? bar : end) - line)};
}

static bool same(struct slice s, const char *word)
{
    return word && s.n == strlen(word) && memcmp(s.at, word, s.n) == 0;
}

char *apt_pick_mirror(const char *lines, const char *codename)
{
    struct slice known = {0}, likely = {0};
    for (const char *line = lines; *line;) {
        size_t n = strcspn(line, "\n");
        struct slice uri = field(line, n, 4), origin = field(line, n, 0);
        bool main = same(field(line, n, 3), "main") && uri.n;
        if (main && !known.n && same(origin, "Debian") && same(field(line, n, 1), "Debian"))
            known = uri;
        if (main && !likely.n && !origin.n && same(field(line, n, 2), codename))
            likely = uri;
        line += n + (line[n] == '\n');
    }
    struct slice pick = known.n ? known : likely;
    return pick.n ? jl_strf("%.*s", (int)pick.n, pick.at) : NULL;
}

char *apt_pick_inherited(const char *dump)
{
    static const char *const wanted[] = {"Acquire::http::", "Acquire::https::", "Acquire::tor", "Acquire::socks"};
    struct jl_buf out;
    jl_buf_init(&out, TEXT_MAX);
    jl_buf_str(&out, "");
    for (const char *line = dump; *line;) {
        size_t n = strcspn(line, "\n");
        bool take = false;
        for (size_t i = 0; i < JL_COUNT(wanted); i++)
            take = take || strncasecmp(line, wanted[i], strlen(wanted[i])) == 0;
        if (take) {
            jl_buf_add(&out, line, n);
            jl_buf_str(&out, "\n");
        }
        line += n + (line[n] == '\n');
    }
    return jl_buf_take(&out);
}

bool apt_is_expired(const char *log)
{
    int errors = 0, expired = 0;
    for (const char *line = log; *line;) {
        size_t n = strcspn(line, "\n");
        if (n > 2 && line[0] == 'E' && line[1] == ':') {
            errors++;
            expired += memmem(line, n, "Release file for ", 17) && memmem(line, n, " is expired (invalid since ", 27);
        }
        line += n + (line[n] == '\n');
    }
    return errors > 0 && errors == expired;
}

/* ---- other systems ----------------------------------------------------------------------------------------------- */

/* Value of KEY= in os-release text, without quotes. */
void apt_os_release_value(const char *text, const char *key, char *out, size_t size)
{
    size_t k = strlen(key);
    out[0] = '\0';
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        if (n > k && strncmp(line, key, k) == 0 && line[k] == '=') {
            const char *v = line + k + 1;
            size_t len = n - k - 1;
            if (len >= 2 && (*v == '"' || *v == '\'') && v[len - 1] == *v)
                v++, len -= 2;
            snprintf(out, size, "%.*s", (int)len, v);
        }
        line += n + (line[n] == '\n');
    }
}

const char *apt_advice(const char *os_release)
{
    static const struct {
        const char *id, *advice;
    } systems[] = {
        {"ubuntu", "on Ubuntu install its own package (`sudo apt install llama.cpp`) or, where it has none, "
                   "`sudo apt install debian-archive-keyring` and give a Debian mirror with --mirror URL"},
        {"fedora", "on Fedora `sudo dnf install llama-cpp` puts llama-server on PATH, where joulet finds it"},
        {"arch", "on Arch install llama.cpp from the AUR (`yay -S llama.cpp`); joulet finds llama-server on PATH"},
        {"opensuse", "on openSUSE `sudo zypper install llamacpp` puts llama-server on PATH, where joulet finds it"},
        {"alpine", "on Alpine `apk add llama.cpp` puts llama-server on PATH, where joulet finds it"},
        {"nixos", "on NixOS `nix profile install nixpkgs#llama-cpp` puts llama-server on PATH, where joulet finds it"},
        {"debian", "run `sudo apt-get update` once, or give the address of a Debian mirror with --mirror URL"},
        {"macos", "on macOS `brew install llama.cpp` puts llama-server on PATH, where joulet finds it"},
    };
    char id[64], like[128];
    apt_os_release_value(os_release, "ID", id, sizeof(id));
    apt_os_release_value(os_release, "ID_LIKE", like, sizeof(like));
    for (size_t i = 0; i < JL_COUNT(systems); i++)
        if (strcmp(id, systems[i].id) == 0)
            return systems[i].advice;
    for (size_t i = 0; i < JL_COUNT(systems); i++)
        if (jl_word_in(like, ' ', systems[i].id) || jl_starts(id, systems[i].id))
            return systems[i].advice;
    return "install llama.cpp with the system's packages or with Homebrew (`brew install llama.cpp`) so that llama-server is on "
           "PATH";
}
