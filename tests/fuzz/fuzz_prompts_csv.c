/* Any bytes as a file of prompts: CSV, JSON lines, lines. What is accepted has a text in every prompt; what is refused leaves
 * nothing behind. */
#include "llm/plans/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan p;
    struct joulet_error err = {.message = ""};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (plan_parse(&p, "fuzz", text, size, &err) == JOULET_OK) {
        for (size_t i = 0; i < p.n; i++) {
            const struct plan_prompt *x = &p.prompts[i];
            if (!x->text[0] || !x->set[0] || !x->category[0] || x->number < 0 || x->max_tokens < -1 || x->max_tokens == 0)
                abort();
            if (plan_check(x, "42 is the answer") < (x->expected || x->check ? 0 : -1))
                abort();
        }
        if (p.n == 0)
            abort();
    } else if (!err.message[0] || p.prompts || p.name) {
        abort();
    }
    plan_release(&p);
    free(text);
    return 0;
}
