/* Keys of prompts: numbers that are equal for prompts that differ only in case and white space. */

#include "outline.h"

#include <string.h>

static uint16_t lower_case[CASED]; /* 0: passed over */
static uint8_t lower_ascii[128], is_kept[128]; /* the same, for a loop without branches */

void set_lower_case(int character, uint16_t lower)
{
    lower_case[character] = lower;
    if (character < 128) {
        lower_ascii[character] = (uint8_t)lower;
        is_kept[character] = lower != 0;
    }
}

static uint32_t folded(int64_t c)
{
    if (c < 0)
        return 0;
    if (c < CASED)
        return lower_case[c];
    bool caseless = c < 0x10A0 || (c > 0x3000 && c < 0xA640) || (c >= 0xAC00 && c < 0xD800);
    return caseless ? (uint32_t)c : 0;
}

uint64_t mixed(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

uint64_t hashed(uint64_t hash, const uint8_t *text, size_t length)
{
    uint64_t word;
    for (; length >= 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        hash = mixed(hash, word);
    }
    word = length;
    memcpy(&word, text, length);
    return mixed(hash, word ^ (uint64_t)length << 56);
}

static uint64_t loosely(uint64_t hash, Piece text, bool json) /* case, white space and some characters aside */
{
    enum { ROOM = 256 };
    uint8_t kept[ROOM + 4];
    size_t number = 0;
    const uint8_t *at = text.start, *end = at + text.length;
    while (at < end) {
        while (at < end && *at < 0x80 && *at != '\\' && number < ROOM) {
            kept[number] = lower_ascii[*at];
            number += is_kept[*at++];
        }
        if (at < end && number < ROOM) {
            uint32_t unit = folded(next_character(&at, end, json));
            if (unit > 0xFF)
                kept[number++] = (uint8_t)(unit >> 8);
            if (unit)
                kept[number++] = (uint8_t)unit;
        }
        if (number >= ROOM) {
            hash = hashed(hash, kept, ROOM);
            memmove(kept, kept + ROOM, number -= ROOM);
        }
    }
    return hashed(hash, kept, number);
}

int64_t prompt_key(Piece first, Piece last, bool several, bool json)
{
    uint64_t hash = loosely(0, first, json);
    if (several)
        hash = loosely(hash, last, json);
    return hash < 2 ? 2 : (int64_t)hash; /* 0: no record, 1: no prompt */
}
