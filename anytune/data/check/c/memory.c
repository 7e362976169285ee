/* The outlines that are known, and the lines that are counted by them. */

#include "outline.h"

#include <stdlib.h>
#include <string.h>

bool memory_begin(Memory *memory)
{
    memory->room = malloc(sizeof *memory->room);
    memory->known = malloc(MOST_OUTLINES * sizeof *memory->known);
    memory->slots = calloc(SLOTS, sizeof *memory->slots);
    return memory->room && memory->known && memory->slots;
}

void memory_end(Memory *memory)
{
    for (size_t i = 0; i < memory->number; i++)
        free(memory->known[i].text);
    free(memory->room);
    free(memory->known);
    free(memory->slots);
}

static uint16_t *slot_of(Memory *memory, const uint8_t *text, size_t length, uint64_t hash)
{
    size_t at = hash % SLOTS;
    while (memory->slots[at]) {
        Known *known = &memory->known[memory->slots[at] - 1];
        if (known->hash == hash && known->length == length && memcmp(known->text, text, length) == 0)
            break;
        at = (at + 1) % SLOTS;
    }
    return &memory->slots[at];
}

/* Remember an outline; 1: done, 0: it is known or there is no room, -1: no memory. */
int memory_learn(Memory *memory, const uint8_t *text, size_t length, int first, int last, bool bare)
{
    if (memory->number == MOST_OUTLINES || memory->bytes + length > MOST_OUTLINE_BYTES)
        return 0;
    uint64_t hash = hashed((uint64_t)length, text, length);
    uint16_t *slot = slot_of(memory, text, length, hash);
    if (*slot)
        return 0;
    uint8_t *own = malloc(length + 1);
    if (!own)
        return -1;
    memcpy(own, text, length);
    memory->known[memory->number] = (Known){hash, own, length, first, last, bare, 0};
    memory->bytes += length;
    *slot = (uint16_t)++memory->number;
    return 1;
}

bool count_line(Memory *memory, const Line *line, int64_t *key) /* a line whose outline is known */
{
    const uint8_t *text = memory->room->outline;
    uint16_t place = *slot_of(memory, text, line->length, hashed(line->length, text, line->length));
    if (!place)
        return false;
    Known *known = &memory->known[place - 1];
    const Piece *texts = memory->room->texts;
    if (known->first >= (int)line->texts || known->last >= (int)line->texts)
        return false;
    known->count++;
    memory->content += known->bare ? line->bare : line->content;
    if (known->first < 0)
        *key = known->first == NO_PROMPT;
    else
        *key = prompt_key(texts[known->first], texts[known->last], known->first != known->last, true);
    return true;
}

static uint32_t crc32(uint32_t crc, const uint8_t *at, const uint8_t *end) /* as zlib's, of a few bytes */
{
    static const uint32_t table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    crc = ~crc;
    while (at < end) {
        crc ^= *at++;
        crc = table[crc & 15] ^ crc >> 4;
        crc = table[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

static bool add_spot(Spots *spots, Spot spot)
{
    if (spots->number == spots->room) {
        size_t room = spots->room ? 2 * spots->room : 64;
        Spot *larger = realloc(spots->spots, room * sizeof *larger);
        if (!larger)
            return false;
        spots->spots = larger;
        spots->room = room;
    }
    spots->spots[spots->number++] = spot;
    return true;
}

static bool make_room(Found *found)
{
    if (found->number < found->room)
        return true;
    size_t room = found->room ? 2 * found->room : 256;
    int64_t *keys = realloc(found->keys, room * sizeof *keys);
    if (keys)
        found->keys = keys;
    int64_t *lengths = realloc(found->lengths, room * sizeof *lengths);
    if (lengths)
        found->lengths = lengths;
    found->room = keys && lengths ? room : found->room;
    return keys && lengths;
}

static bool take_line(Memory *memory, Found *found, const uint8_t *text, const uint8_t *at, const uint8_t *end, uint32_t mask)
{
    Line line;
    int64_t key = 0, length = end - at;
    Spot spot = {(int64_t)found->number, at - text, end - text, 0, false};
    if (!make_room(found))
        return false;
    bool sound = outline(&line, memory->room, at, end);
    if (!sound || !count_line(memory, &line, &key)) {
        spot.is_new = sound;
        if (!add_spot(&found->others, spot))
            return false;
    }
    found->keys[found->number] = key;
    found->lengths[found->number++] = length;
    if (length <= 1 || length > SAMPLED_AT_MOST)
        return true;
    const uint8_t *from = length > LATE ? end - LATE : at, *to = length > EARLY ? end - EARLY : at;
    spot.lot = crc32((uint32_t)length, from, to);
    return (spot.lot & mask) || add_spot(&found->sampled, spot);
}

/* Take lines until the end, or until so many are not known that it is worth while to learn their outlines first. */
bool take_lines(Memory *memory, Found *found, const uint8_t *text, size_t length, uint32_t mask)
{
    const uint8_t *at = text, *end = text + length;
    while (at < end && found->others.number < MOST_OTHERS) {
        const uint8_t *line_feed = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = line_feed ? line_feed : end;
        if (!take_line(memory, found, text, at, stop, mask))
            return false;
        at = line_feed ? stop + 1 : end;
    }
    found->read = (size_t)(at - text);
    return true;
}

void found_end(Found *found)
{
    free(found->keys);
    free(found->lengths);
    free(found->others.spots);
    free(found->sampled.spots);
}
