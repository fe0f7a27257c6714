/* The caches and processors of this machine, read once: thresholds follow them (ops/plan.h).
 * Linux tells them in /sys; what is missing there has the defaults below. sysconf is not asked: in virtual machines it
 * reports the host's caches. BNCORE_LLC_BYTES overrides the last level, which /sys, too, only claims. */
#include "bncore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bnc_machine machine = {.l1 = 32 << 10, .l2 = 1 << 20, .llc = 32 << 20, .llc_cpus = 1};

/* The first line of a file under /sys/devices/system/cpu/cpu0/cache; 0 when there is none. */
static int read_line(int index, const char *name, char *line, int size)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    const int read = fgets(line, size, file) != 0;
    fclose(file);
    return read;
}

/* "32768K", "1M", "65536" -> bytes; 0 for anything else. */
static int64_t bytes_of(const char *text)
{
    char *end;
    const int64_t number = strtoll(text, &end, 10);
    if (end == text || number <= 0) return 0;
    const char unit = *end;
    return unit == 'K'   ? number << 10
           : unit == 'M' ? number << 20
           : unit == 'G' ? number << 30
                         : number;
}

/* "0-3,8" -> 5 */
static int cpus_in(const char *list)
{
    int count = 0;
    while (*list >= '0' && *list <= '9') {
        char *end;
        const long first = strtol(list, &end, 10);
        const long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (last >= first) count += (int)(last - first) + 1;
        list = *end == ',' ? end + 1 : end;
    }
    return count > 0 ? count : 1;
}

static void read_caches(void)
{
    char line[256];
    int highest = 0;
    for (int index = 0; index < 8; index++) {
        if (!read_line(index, "type", line, sizeof line)) return;
        if (strncmp(line, "Instruction", 11) == 0) continue;
        const int level = read_line(index, "level", line, sizeof line) ? atoi(line) : 0;
        const int64_t size = read_line(index, "size", line, sizeof line) ? bytes_of(line) : 0;
        if (size == 0) continue;
        if (level == 1) machine.l1 = size;
        if (level == 2) machine.l2 = size;
        if (level < 2 || level < highest) continue;
        highest = level;
        machine.llc = size;
        machine.llc_cpus =
            read_line(index, "shared_cpu_list", line, sizeof line) ? cpus_in(line) : 1;
    }
}

void bnc_read_machine(void)
{
    read_caches();
    const char *override = getenv("BNCORE_LLC_BYTES");
    const int64_t bytes = override ? bytes_of(override) : 0;
    if (bytes) machine.llc = bytes;
    machine.llc_each = machine.llc / machine.llc_cpus;
}

const bnc_machine *bnc_this_machine(void) { return &machine; }
