/* Strings of JSON and the characters in them. */

#include "outline.h"

#include <string.h>

static bool note(Line *line, uint32_t character) /* U+00C2, U+00C3 and U+FFFD mark garbled text, as garble.py says */
{
    line->circumflex |= character == 0xE2;
    line->euro |= character == 0x20AC;
    return character != 0 && character != 0xC2 && character != 0xC3 && character != 0xFFFD;
}

static uint32_t character_at(const uint8_t **at, const uint8_t *end) /* one beyond ASCII, 0 if it is not UTF-8 */
{
    const uint8_t *p = *at;
    size_t more = *p >= 0xF0 ? 3 : *p >= 0xE0 ? 2 : 1;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (*p < 0xC2 || *p > 0xF4 || (size_t)(end - p) <= more)
        return 0;
    uint32_t found = *p & (0x3F >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        found = found << 6 | (p[i] & 0x3F);
    }
    if (found < least[more] || found > 0x10FFFF || (found >= 0xD800 && found <= 0xDFFF))
        return 0;
    *at = p + more + 1;
    return found;
}

static int64_t hex(const uint8_t *at, const uint8_t *end) /* -1 if these are no four digits */
{
    int64_t found = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i], low = c | 0x20;
        if (c >= '0' && c <= '9')
            found = found << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            found = found << 4 | (low - 'a' + 10);
        else
            return -1;
    }
    return found;
}

int64_t escape_at(const uint8_t **at, const uint8_t *end) /* behind a backslash; -1 if it is none, or half one */
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (*at == end)
        return -1;
    if (**at != 'u') {
        const char *found = **at ? strchr(from, **at) : NULL;
        ++*at;
        return found ? to[found - from] : -1;
    }
    int64_t first = hex(*at + 1, end);
    *at += first < 0 ? 0 : 5;
    if (first < 0xD800 || first > 0xDFFF)
        return first;
    if (first > 0xDBFF || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return -1;
    int64_t second = hex(*at + 2, end);
    *at += 6;
    return second < 0xDC00 || second > 0xDFFF ? -1 : 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
}

size_t bytes_of(int64_t character)
{
    return character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
}

static size_t more_as_json(int64_t c) /* bytes that msgspec adds when it writes a character */
{
    if (c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t')
        return 1;
    return c < 0x20 ? 5 : 0;
}

static const uint8_t *pass_plain(const uint8_t *at, const uint8_t *end) /* to what is not printable ASCII, " or \ */
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
        uint64_t found = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word) | word) & tops;
        if (found)
            return at + (__builtin_ctzll(found) >> 3);
        at += 8;
    }
#endif
    while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

bool string(Line *line, String *found) /* behind the opening quote */
{
    const uint8_t *at = line->at, *end = line->end;
    size_t less = 0, more = 2;
    found->escaped = false;
    for (;;) {
        at = pass_plain(at, end);
        if (at == end || *at < 0x20)
            return false;
        if (*at == '"')
            break;
        if (*at >= 0x80) {
            uint32_t character = character_at(&at, end);
            if (!character || !note(line, character))
                return false;
            continue;
        }
        const uint8_t *start = at++;
        int64_t character = escape_at(&at, end);
        if (character < 0 || !note(line, (uint32_t)character))
            return false;
        less += (size_t)(at - start) - bytes_of(character);
        more += more_as_json(character);
        found->escaped = true;
    }
    found->raw = (Piece){line->at, (size_t)(at - line->at)};
    found->plain = found->raw.length - less;
    found->written = found->plain + more;
    line->at = at + 1;
    return true;
}

bool is_space(int64_t c) /* as str.isspace says */
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

int64_t next_character(const uint8_t **at, const uint8_t *end, bool json) /* -1 where there is none to be read */
{
    if (**at >= 0x80) {
        uint32_t found = character_at(at, end);
        *at += found ? 0 : 1;
        return found ? (int64_t)found : -1;
    }
    uint8_t first = *(*at)++;
    return json && first == '\\' ? escape_at(at, end) : first;
}

bool is_blank(Piece text)
{
    const uint8_t *at = text.start, *end = at + text.length;
    while (at < end)
        if (!is_space(next_character(&at, end, true)))
            return false;
    return true;
}
