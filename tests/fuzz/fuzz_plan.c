/* Any bytes as a plan. What is accepted has cells with names and a text that is the same plan again. */
#include "llm/plans/matrix.h"

#include <stdlib.h>
#include <string.h>

static enum joulet_status read_plan(const char *text, size_t n, struct plan_matrix *m, struct joulet_error *err)
{
    struct plan_draft *d = plan_draft_open();
    if (!d)
        return JOULET_MEMORY;
    enum joulet_status st = plan_draft_parse(d, "fuzz", text, n, err);
    if (st == JOULET_OK && plan_draft_has(d, "prompts"))
        st = JOULET_UNSUPPORTED; /* no files here */
    if (st == JOULET_OK)
        st = plan_draft_finish(d, m, err);
    plan_draft_close(d);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan_matrix m = {0}, again = {0};
    struct joulet_error err = {.message = ""};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    enum joulet_status st = read_plan(text, size, &m, &err);
    free(text);
    if (st != JOULET_OK) {
        if (st != JOULET_UNSUPPORTED && !err.message[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < m.n_cells; i++)
        if (!m.cells[i].name || m.cells[i].set >= m.n_sets)
            abort();
    struct plan_draft *d = plan_draft_open();
    if (plan_draft_parse(d, "again", m.text, strlen(m.text), &err) != JOULET_OK ||
        plan_draft_finish(d, &again, &err) != JOULET_OK || strcmp(m.text, again.text) != 0)
        abort();
    plan_draft_close(d);
    plan_matrix_release(&m);
    plan_matrix_release(&again);
    return 0;
}
