/* mock_lmstudio - the stand-in of LM Studio as a program: prints its address and ends with its input. For trials by hand, and for
 * check_lmstudio_sdk.py. */
#include "tests/llm/mock.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    const struct mock_route routes[] = {
        {"GET /api/v1/models", "composed", "lmstudio-v1-models", MOCK_WHOLE},
        {"POST /api/v1/chat", "composed", "lmstudio-v1-stream", MOCK_WHOLE},
        {"POST /api/v0/chat/completions", "composed", "lmstudio-v0-plain", MOCK_WHOLE},
    };
    const struct mock_config c = {.routes = routes,
                                  .n_routes = JL_COUNT(routes),
                                  .otherwise = "lmstudio-unknown-path",
                                  .lmstudio = true,
                                  .fault = argc > 1 ? argv[1] : NULL};
    struct mock *m = mock_start(&c);
    printf("%s\n", mock_url(m));
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    mock_stop(m);
    return 0;
}
