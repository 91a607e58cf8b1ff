/* SHA-256 by the examples of FIPS 180-4; splitmix64 by the vectors of docs/method.md 11.9. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>

static const char *hex_of(const char *text, size_t n, size_t piece)
{
    static char hex[65];
    struct jl_sha256 s;
    jl_sha256_init(&s);
    for (size_t i = 0; i < n; i += piece)
        jl_sha256_add(&s, text + i, n - i < piece ? n - i : piece);
    jl_sha256_hex(&s, hex);
    return hex;
}

static void test_sha256(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++)
        assert_string_equal(hex_of(cases[i].text, strlen(cases[i].text), 1000), cases[i].want);
}

static void test_sha256_in_pieces(void **state)
{
    char *a = malloc(1000000);
    (void)state;
    memset(a, 'a', 1000000);
    assert_string_equal(hex_of(a, 1000000, 1000000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_string_equal(hex_of(a, 1000000, 333), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    for (size_t n = 50; n < 70; n++) { /* the lengths around the padding */
        char whole[65];
        strcpy(whole, hex_of(a, n, n));
        assert_string_equal(hex_of(a, n, 1), whole);
    }
    free(a);
}

static void test_splitmix64(void **state)
{
    struct jl_rng zero = {0}, one = {1};
    (void)state;
    assert_true(jl_rng_next(&zero) == 0xe220a8397b1dcdafu);
    assert_true(jl_rng_next(&one) == 0x910a2dec89025cc1u);
    assert_true(jl_rng_next(&one) == 0xbeeb8da1658eec67u);
    assert_true(jl_rng_next(&one) == 0xf893a2eefb32555eu);
}

static void test_below(void **state)
{
    struct jl_rng one = {1};
    (void)state;
    /* (0x910a2dec89025cc1 * 9) >> 64 and so on, worked out by hand */
    assert_int_equal(jl_rng_below(&one, 9), 5);
    assert_int_equal(jl_rng_below(&one, 9), 6);
    assert_int_equal(jl_rng_below(&one, 9), 8);
    struct jl_rng again = {1};
    assert_true(jl_rng_below(&again, UINT64_MAX) == 0x910a2dec89025cc0u);
    struct jl_rng many = {7};
    for (int i = 0; i < 1000; i++) {
        assert_in_range(jl_rng_below(&many, 3), 0, 2);
        double u = jl_rng_uniform(&many);
        assert_true(u >= 0 && u < 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_sha256_in_pieces),
        cmocka_unit_test(test_splitmix64),
        cmocka_unit_test(test_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
