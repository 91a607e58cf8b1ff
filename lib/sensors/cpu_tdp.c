/* cpu_tdp.c - thermal design power of a processor from data/cpu_tdp.csv.
 *
 * The kernel's name and the list's name of one part differ in marks and filling: "Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz" is
 * "Intel Xeon Gold 6230". Both are cut into words, the filling is dropped, and a row fits when its words stand in the name in a
 * row; the longest row wins. Some rows of the list are bare model numbers of old AMD parts and fit only those. */
#include "lib/sensors/cpu_tdp.h"

#include "data/data.h"
#include "lib/sensors/sensor.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 24
#define WORD_MAX  32

enum vendor { OTHER, INTEL, AMD };

struct words {
    char word[WORDS_MAX][WORD_MAX];
    size_t n, length; /* length: letters of all words */
    enum vendor vendor;
};

static bool is_ordinal(const char *w)
{
    size_t n = strlen(w);
    return n > 2 && isdigit((unsigned char)w[0]) &&
           (!strcmp(w + n - 2, "th") || !strcmp(w + n - 2, "st") || !strcmp(w + n - 2, "nd") || !strcmp(w + n - 2, "rd"));
}

/* Takes one word in, unless it is filling: "CPU", "Processor", "12th Gen", the vendor. */
static void add_word(struct words *w, const char *text)
{
    static const char *const filling[] = {"cpu", "processor", "apu", "r", "tm"};
    if (!strcmp(text, "intel") || !strcmp(text, "amd")) {
        w->vendor = text[0] == 'i' ? INTEL : AMD;
        return;
    }
    for (size_t i = 0; i < JL_COUNT(filling); i++)
        if (!strcmp(text, filling[i]))
            return;
    if (!strcmp(text, "gen") && w->n && is_ordinal(w->word[w->n - 1])) {
        w->length -= strlen(w->word[--w->n]);
        return;
    }
    if (w->n == WORDS_MAX)
        return;
    memcpy(w->word[w->n++], text, strlen(text) + 1);
    w->length += strlen(text);
}

/* Words in lower case, up to "@" (the clock follows) and without what stands in brackets. */
static void split(struct words *w, const char *name)
{
    char word[WORD_MAX];
    size_t n = 0;
    int depth = 0;
    w->n = w->length = 0;
    w->vendor = OTHER;
    for (;; name++) {
        bool end = !*name || *name == '@';
        if (!end && !depth && !strchr(" \t-,+/_()", *name)) {
            if (n < sizeof(word) - 1)
                word[n++] = (char)tolower((unsigned char)*name);
            continue;
        }
        word[n] = '\0';
        if (n)
            add_word(w, word);
        n = 0;
        if (end)
            break;
        depth += *name == '(' ? 1 : *name == ')' && depth ? -1 : 0;
    }
}

static bool has_word(const struct words *w, const char *word)
{
    for (size_t i = 0; i < w->n; i++)
        if (!strcmp(w->word[i], word))
            return true;
    return false;
}

/* A bare number says little: it is the whole name, or a model of a family that was sold under bare numbers. */
static bool number_fits(const struct words *row, const struct words *cpu)
{
    static const char *const families[] = {"opteron", "phenom", "athlon", "turion", "sempron"};
    if (row->n > 1 || row->word[0][strspn(row->word[0], "0123456789")])
        return true;
    for (size_t i = 0; i < JL_COUNT(families); i++)
        if (has_word(cpu, families[i]))
            return true;
    return cpu->n == 1;
}

static bool fits(const struct words *row, const struct words *cpu)
{
    bool vendor = row->vendor ? row->vendor == cpu->vendor : cpu->vendor != INTEL;
    if (!row->n || !vendor || row->n > cpu->n || !number_fits(row, cpu))
        return false;
    for (size_t at = 0; at + row->n <= cpu->n; at++) {
        size_t i = 0;
        while (i < row->n && !strcmp(row->word[i], cpu->word[at + i]))
            i++;
        if (i == row->n)
            return true;
    }
    return false;
}

double cpu_tdp_find(const char *csv, size_t len, const char *cpu, char *matched, size_t size)
{
    struct words name, row;
    struct jl_csv c;
    double best = NAN, tdp;
    size_t longest = 0;
    split(&name, cpu);
    jl_csv_init(&c, csv, len);
    while (jl_csv_next(&c)) {
        if (c.n < 2 || !jl_parse_double(c.fields[1], &tdp) || !(tdp > 0))
            continue;
        split(&row, c.fields[0]);
        if (row.length <= longest || !fits(&row, &name))
            continue;
        longest = row.length;
        best = tdp;
        if (matched)
            snprintf(matched, size, "%s", c.fields[0]);
    }
    jl_csv_release(&c);
    return best;
}

double jl_cpu_tdp(const char *cpu_name)
{
    return cpu_tdp_find(data_cpu_tdp.text, data_cpu_tdp.len, cpu_name, NULL, 0);
}
