/* fuzz_settings.c - any bytes as a settings file, for several commands: it is taken or refused with a sentence, and what was
 * taken is within its limits. */
#include "cli/parse.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const commands[] = {"serve", "run", "bench", "carbon"};
    if (n < 1 || n > 1 << 16)
        return 0;
    struct cli c = {.command = command_find(commands[bytes[0] % JL_COUNT(commands)])};
    struct joulet_error err = {0};
    char *text = strndup((const char *)bytes + 1, n - 1);
    c.values = calloc(option_count, sizeof *c.values);
    if (!text || !c.values || !c.command)
        abort();
    enum joulet_status st = settings_text(&c, "f", text, &err);
    if (st != JOULET_OK && (st != JOULET_USAGE || !jl_starts(err.message, "f, line ")))
        abort();
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        const struct cli_value *v = &c.values[i];
        if (v->source == VALUE_NONE)
            continue;
        if (row->flag_only || !option_taken(c.command, row) || v->source > VALUE_SECTION || !v->text)
            abort();
        if (row->type == OPTION_INT && row->min < row->max && !((double)v->integer >= row->min && (double)v->integer <= row->max))
            abort();
    }
    cli_release(&c);
    free(text);
    return 0;
}
