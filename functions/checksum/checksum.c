/* Answers the length and the CRC-32 of its event. */
#include <stdint.h>
#include <stdio.h>

int main(void) {
    unsigned char piece[4096];
    uint32_t crc = 0xffffffffu;
    size_t length = 0, read;
    while ((read = fread(piece, 1, sizeof piece, stdin)) > 0) {
        length += read;
        for (size_t at = 0; at < read; at++) {
            crc ^= piece[at];
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    if (ferror(stdin)) {
        fprintf(stderr, "the event could not be read\n");
        return 1;
    }
    printf("{\"bytes\": %zu, \"crc32\": \"%08x\"}\n", length, ~crc);
    return 0;
}
