/* trouble.c - finds the entry of docs/troubleshooting.md, which is compiled in, that belongs to a fault. An entry is a heading
 * "### name", quoted sentences ("> ...") with an ellipsis for what is filled in, and a text. */
#include "cli/parse.h"
#include "data/data.h"

#include <stdlib.h>
#include <string.h>

#define ELLIPSIS     "\xe2\x80\xa6"
#define LEAST_WEIGHT 12 /* bytes of a sentence's own that make it recognisable */

extern const struct data_file data_troubleshooting;

static const char *next_line(const char *line)
{
    line += strcspn(line, "\n");
    return *line ? line + 1 : line;
}

/* Bytes of its own that the sentence at `line` shares with the message, in order; 0 when it is another one. */
static size_t weight(const char *line, const char *message)
{
    size_t sum = 0;
    const char *end = line + strcspn(line, "\n");
    for (const char *part = line + strlen("> "); part < end;) {
        const char *gap = strstr(part, ELLIPSIS);
        size_t n = (size_t)((gap && gap < end ? gap : end) - part);
        char *words = strndup(part, n);
        const char *at = words ? strstr(message, words) : NULL;
        free(words);
        if (!at)
            return 0;
        message = at + n;
        sum += n;
        part += n + (part + n < end ? strlen(ELLIPSIS) : 0);
    }
    return sum;
}

bool trouble_name(const char *message, char *buf, size_t size)
{
    const char *heading = NULL, *best = NULL;
    size_t most = LEAST_WEIGHT - 1;
    for (const char *line = data_troubleshooting.text; *line; line = next_line(line)) {
        if (jl_starts(line, "### "))
            heading = line + strlen("### ");
        size_t w = heading && jl_starts(line, "> ") ? weight(line, message) : 0;
        if (w > most) {
            most = w;
            best = heading;
        }
    }
    if (best)
        snprintf(buf, size, "%.*s", (int)strcspn(best, "\n"), best);
    return best;
}

bool trouble_entry(struct jl_buf *out, const char *name, const struct report_style *style)
{
    int width = style->width ? style->width : 80;
    bool inside = false, gap = false;
    size_t begin = out->len;
    for (const char *line = data_troubleshooting.text; *line; line = next_line(line)) {
        size_t n = strcspn(line, "\n");
        if (inside && *line == '#')
            break;
        if (jl_starts(line, "### ") && n == strlen("### ") + strlen(name) && strncmp(line + 4, name, strlen(name)) == 0) {
            inside = true;
        } else if (inside && n <= 1) {
            gap = n == 0; /* a lone > separates sentences in the document only */
        } else if (inside) {
            jl_buf_str(out, gap && out->len > begin ? "\n" : "");
            jl_buf_str(out, *line == '>' ? "  " : "");
            text_wrap(out, line + (*line == '>' ? 2 : 0), n - (*line == '>' ? 2 : 0), *line == '>' ? 2 : 0, *line == '>' ? 4 : 0,
                      width);
            gap = false;
        }
    }
    return inside;
}
