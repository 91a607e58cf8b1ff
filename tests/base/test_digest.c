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

/* RFC 4231, test cases 1, 2, 3, 6 and 7. */
static void test_hmac(void **state)
{
    char b[20], aa[131], dd[50];
    const struct {
        const char *key, *text;
        size_t key_n, n;
        const char *want;
    } cases[] = {
        {b, "Hi There", sizeof b, 8, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"Jefe", "what do ya want for nothing?", 4, 28, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {aa, dd, 20, sizeof dd, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {aa, "Test Using Larger Than Block-Size Key - Hash Key First", sizeof aa, 54,
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {aa,
         "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before "
         "being used by the HMAC algorithm.",
         sizeof aa, 152, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    (void)state;
    memset(b, 0x0b, sizeof b);
    memset(aa, 0xaa, sizeof aa);
    memset(dd, 0xdd, sizeof dd);
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        uint8_t mac[32];
        char hex[65];
        jl_hmac_sha256(cases[i].key, cases[i].key_n, cases[i].text, cases[i].n, mac);
        for (size_t k = 0; k < sizeof mac; k++)
            snprintf(hex + 2 * k, 3, "%02x", mac[k]);
        assert_string_equal(hex, cases[i].want);
    }
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
        cmocka_unit_test(test_sha256), cmocka_unit_test(test_sha256_in_pieces),
        cmocka_unit_test(test_hmac),   cmocka_unit_test(test_splitmix64),
        cmocka_unit_test(test_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
