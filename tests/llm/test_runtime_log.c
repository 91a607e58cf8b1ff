/* The telling line of a log: causes that were seen with real servers, and what is left when none is known. */
#include "tests/llm/scratch.h"

#include "llm/runtime_private.h"

static void causes(void **state)
{
    static const struct {
        const char *log, *line, *remedy; /* NULL: none */
    } rows[] = {
        {"0.00.010.534 I srv    load_model: loading model 'x'\n"
         "0.00.010.659 E gguf_init_from_reader: invalid magic characters: 'hell', expected 'GGUF'\n"
         "0.00.010.781 E llama_model_load_from_file_impl: failed to load model\n"
         "0.00.011.205 E srv  llama_server: exiting due to model loading error\n",
         "gguf_init_from_reader: invalid magic", "give a GGUF file"},
        {"0.00.028.142 E llama_model_load: error loading model: tensor 'blk.4.ffn_gate.weight' data is not within the file "
         "bounds, model is "
         "corrupted or incomplete\n0.00.048.107 E srv    load_model: failed to load model, 'x'\n",
         "llama_model_load: error loading model: tensor", "cut off"},
        {"0.00.500.972 E llama_model_load: error loading model: mmap failed: Cannot allocate memory\n", "mmap failed",
         "not enough memory"},
        {"ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory\n",
         "cudaMalloc failed", "fewer --gpu-layers"},
        {"ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory\n", "ErrorOutOfDeviceMemory", "GPU memory"},
        {"0.01.103.736 E llama_init_from_model: quantized V cache requires flash_attn to be enabled\n"
         "0.01.103.756 E srv    load_model: failed to create_context with model 'x'\n"
         "0.01.104.398 E srv  llama_server: exiting due to model loading error\n",
         "requires flash_attn", "take f16"},
        {"error: invalid argument: --nonsense\n", "error: invalid argument: --nonsense", "--engine-option"},
        {"llama-server: error while loading shared libraries: libssl.so.3: cannot open\n", "libssl.so.3",
         "engine install --force"},
        {"./src/ggml.c:1655: GGML_ASSERT(ctx->mem_buffer != NULL) failed\n"
         "0.00.129.816 E ggml_aligned_malloc: insufficient memory (attempted to allocate  42.12 MB)\n"
         "#5  0x00007fae21a5bb2e in ggml_abort () from libggml-base.so.0\n",
         "attempted to allocate", "not enough memory"},
        {"./src/ggml.c:1: GGML_ASSERT(x) failed\n#5  0x00007fae in ggml_abort () from libggml-base.so.0\n#6  0x0 in error ()\n",
         "GGML_ASSERT(x) failed", NULL},
        {"fine\nsomething failed here\nbye\n", "something failed here", NULL},
        {"first error\nsecond error\nbye\n", "second error", NULL},
        {"just\nwords\n\n", "words", NULL},
        {"bytes \x1b[31m\x01 error", "bytes ?[31m? error", NULL},
        {"", "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct telling t;
        runtime_telling(rows[i].log, strlen(rows[i].log), &t);
        assert_says(t.line, rows[i].line);
        assert_false(jl_starts(t.line, "0.00"));
        assert_false(t.port_taken);
        if (rows[i].remedy)
            assert_says(t.remedy ? t.remedy : "", rows[i].remedy);
        else
            assert_null(t.remedy);
    }
}

static void a_taken_port_is_told_apart(void **state)
{
    static const char log[] =
        "0.00.012.222 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8998\n"
        "0.00.012.310 E srv  llama_server: exiting due to HTTP server error\n";
    struct telling t;
    (void)state;
    runtime_telling(log, strlen(log), &t);
    assert_true(t.port_taken);
}

static void long_lines_are_cut(void **state)
{
    struct telling t;
    char log[5000];
    (void)state;
    memset(log, 'x', sizeof(log));
    runtime_telling(log, sizeof(log), &t);
    assert_int_equal(strlen(t.line), sizeof(t.line) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causes),
        cmocka_unit_test(a_taken_port_is_told_apart),
        cmocka_unit_test(long_lines_are_cut),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
