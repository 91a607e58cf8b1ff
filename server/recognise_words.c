/* recognise_words.c - the events of a stream that hold a piece of text and nothing else are told from the others without parsing.
 *
 * Inside a JSON string every quotation mark has a backslash before it, so a word with its quotation marks is a key or a value of
 * the event itself, whatever the text says. Where there is doubt the event is read as a whole: that is slower, never wrong. */
#include "server/recognise_private.h"

#include <string.h>

/* What holds more than text. */
static const char *const words[] = {"\"usage\":{",         "\"usage\": {",      "\"timings\"",          "\"error\"",
                                    "\"tool_calls\"",      "\"function_call\"", "\"done\":true",        "\"done\": true",
                                    "\"stop\":true",       "\"stop\": true",    "\"finish_reason\":\"", "\"finish_reason\": \"",
                                    "\"prompt_progress\"", "\"meta_info\"",     "\"x_groq\"",           "\"metrics\"",
                                    "\"remote_",           "\"detail\"",        "\"refusal\":\"",       "\"audio\""};

static const struct {
    const char *key;
    bool thinking;
} texts[] = {{"\"content\":", false},          {"\"text\":", false},     {"\"response\":", false},
             {"\"reasoning_content\":", true}, {"\"reasoning\":", true}, {"\"thinking\":", true}};

static const char *find(const char *json, size_t n, const char *word)
{
    return memmem(json, n, word, strlen(word));
}

/* What follows a key: a string with something in it (1), an empty one or null (0), anything else (-1). */
static int text_after(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (end - at >= 4 && memcmp(at, "null", 4) == 0)
        return 0;
    return end - at >= 2 && at[0] == '"' ? at[1] != '"' : -1;
}

enum event_look look_at_event(const char *json, size_t n, bool *thinking)
{
    const char *end = json + n, *at;
    int texts_found = 0, keys_found = 0;
    if (n < 2 || n > 8192 || json[0] != '{' || end[-1] != '}')
        return EVENT_MORE;
    for (size_t i = 0; i < JL_COUNT(words); i++)
        if (find(json, n, words[i]))
            return EVENT_MORE;
    if ((at = find(json, n, "\"index\":")) && !(end - at > 9 && at[8] == '0' && (at[9] < '0' || at[9] > '9')))
        return EVENT_MORE;
    for (size_t i = 0; i < JL_COUNT(texts); i++) {
        size_t m = strlen(texts[i].key);
        const char *from = find(json, n, texts[i].key);
        if (!from)
            continue;
        int text = text_after(from + m, end);
        const char *second = find(from + m, (size_t)(end - from) - m, texts[i].key);
        if (text < 0 || second)
            return EVENT_MORE;
        keys_found++;
        if (text) {
            texts_found++;
            *thinking = texts[i].thinking;
        }
    }
    return texts_found > 1 || keys_found == 0 ? EVENT_MORE : texts_found ? EVENT_TEXT : EVENT_NOTHING;
}

bool json_is_whole(const char *json, size_t n)
{
    json_t *root = wire_object(json, n);
    bool whole = root != NULL;
    json_decref(root);
    return whole;
}
