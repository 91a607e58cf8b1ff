/* doctor_models.c - `joulet doctor` about models: which shapes of data/model_shapes.csv fit into the memory and onto the disk of
 * this machine, at three number formats. Weights and the cache of a context of 4096 tokens, and half a GiB for the rest. */
#include "cli/doctor.h"
#include "cli/json.h"
#include "data/data.h"

#include <stdlib.h>
#include <string.h>

#define CONTEXT_TOKENS 4096.0
#define REST_BYTES     (512.0 * 1048576)
#define GIB            1073741824.0

/* Bits a weight, scales included. */
static const struct {
    const char *name;
    double bits;
} formats[] = {{"q4_0", 4.5}, {"q8_0", 8.5}, {"f16", 16}};

struct models {
    double memory, disk; /* bytes; disk below 0: not known */
    size_t shapes, fit[JL_COUNT(formats)];
    char largest[JL_COUNT(formats)][64];
    double params[JL_COUNT(formats)], bytes[JL_COUNT(formats)];
    struct jl_buf *json; /* NULL: not wanted */
};

static size_t column(const struct jl_csv *csv, const char *name)
{
    size_t i = 0;
    while (i < csv->n && strcmp(csv->fields[i], name) != 0)
        i++;
    return i;
}

static void one(struct models *m, const char *name, double params, double cache)
{
    for (size_t k = 0; k < JL_COUNT(formats); k++) {
        double file = params * formats[k].bits / 8, memory = file + cache * CONTEXT_TOKENS + REST_BYTES;
        bool fits = memory <= m->memory && (m->disk < 0 || file <= m->disk);
        bool first = true;
        m->fit[k] += fits;
        if (fits && params > m->params[k]) {
            m->params[k] = params;
            m->bytes[k] = memory;
            snprintf(m->largest[k], sizeof m->largest[k], "%s", name);
        }
        if (!m->json)
            continue;
        jl_buf_str(m->json, m->json->len ? ",\n    {" : "\n    {");
        cli_json_key(m->json, &first, "shape");
        cli_json_string(m->json, name);
        cli_json_key(m->json, &first, "quantisation");
        cli_json_string(m->json, formats[k].name);
        cli_json_key(m->json, &first, "file_bytes");
        jl_buf_printf(m->json, "%.0f", file);
        cli_json_key(m->json, &first, "memory_bytes");
        jl_buf_printf(m->json, "%.0f", memory);
        cli_json_key(m->json, &first, "fits");
        jl_buf_str(m->json, fits ? "true}" : "false}");
    }
}

/* Of the folder of models, or of the one that it will be made in. */
static double disk_free(void)
{
    char *dir = jl_data_dir_name();
    int64_t bytes = dir ? jl_disk_free(dir) : -1;
    for (char *slash; dir && bytes < 0 && (slash = strrchr(dir, '/'));) {
        *slash = '\0';
        bytes = jl_disk_free(*dir ? dir : "/");
    }
    free(dir);
    return (double)bytes;
}

static void look(struct models *m, const struct doctor *d)
{
    struct jl_csv csv;
    double params, cache;
    m->memory = (double)d->machine.memory_available_bytes;
    m->disk = disk_free();
    jl_csv_init(&csv, data_model_shapes.text, data_model_shapes.len);
    if (jl_csv_next(&csv)) {
        size_t name = column(&csv, "short_name"), total = column(&csv, "params_total"),
               kv = column(&csv, "kv_cache_bytes_per_token_fp16");
        while (jl_csv_next(&csv)) {
            if (name >= csv.n || total >= csv.n || kv >= csv.n || !jl_parse_double(csv.fields[total], &params) ||
                !jl_parse_double(csv.fields[kv], &cache))
                continue;
            m->shapes++;
            one(m, csv.fields[name], params, cache);
        }
    }
    jl_csv_release(&csv);
}

void doctor_models(const struct doctor *d, struct finding *f)
{
    struct models m = {0};
    look(&m, d);
    if (d->machine.memory_available_bytes <= 0) {
        found(f, DOCTOR_UNKNOWN, "the free memory is not known, so it cannot be said which models fit");
        return;
    }
    char disk[64] = "";
    if (m.disk >= 0)
        snprintf(disk, sizeof disk, " and %.1f GiB of disk", m.disk / GIB);
    found(f, m.fit[0] ? DOCTOR_OK : DOCTOR_ADVICE, "%zu of %zu model shapes fit into %.1f GiB of free memory%s", m.fit[0],
          m.shapes, m.memory / GIB, disk);
    for (size_t k = 0; k < JL_COUNT(formats); k++) {
        size_t n = strlen(f->text);
        if (m.fit[k])
            snprintf(f->text + n, sizeof f->text - n, "%s as %s up to %s (%.1f GiB)", k ? "," : ":", formats[k].name,
                     m.largest[k], m.bytes[k] / GIB);
    }
    if (!m.fit[0])
        remedy(f, "end other programs or free disk, or use a smaller model: joulet model make --shape tiny");
}

void doctor_models_json(const struct doctor *d, struct jl_buf *out)
{
    struct jl_buf list;
    struct models m = {.json = &list};
    jl_buf_init(&list, (size_t)1 << 20);
    look(&m, d);
    jl_buf_str(out, "\n  ],\n  \"models\": [");
    if (list.len)
        jl_buf_add(out, list.data, list.len);
    jl_buf_release(&list);
}
