/* rows.h - for each row of the sensor table a machine on which it finds a device, and what can happen to that device. */
#ifndef ROWS_H
#define ROWS_H

#include "tests/sensors/machine.h"

struct bench {
    struct machine machine;
    struct joulet_options opt;
    char *replay;
    struct sensor_list list;
    const char *row;
};

void rows_prepare(struct bench *b, const char *row);
void rows_clean(struct bench *b); /* closes the sensors of the list too */

/* The device leaves and comes back: its files, or what the stand-in answers. */
bool rows_can_leave(const char *row);
void rows_leave(struct bench *b);
void rows_return(struct bench *b);
/* It is read from files, all of which can be overwritten. */
bool rows_has_files(const char *row);
void rows_overwrite(struct bench *b, const char *text);
/* A counter of a row: what its device shows can be put to any raw value. A row may have several, or none. */
struct counting {
    const char *row, *what, *machine; /* machine NULL: that of the row */
    const char *channel;
    double unit_uj;   /* of a raw step */
    uint64_t wraps;   /* where it begins again at 0; 0: it only does so when its device is restarted */
    uint64_t between; /* a raw value that is not special to its device and must not be to us: 32 bits */
    void (*put)(struct bench *b, uint64_t raw);
};
const struct counting *rows_counting(const char *row, size_t i); /* NULL: no more */
void rows_prepare_counting(struct bench *b, const struct counting *c);

/* Opens the row as a user who may not read its values: 0 when that is told as it must be. */
#define ROWS_NOT_SHOWN -1
int rows_closed(struct bench *b, const struct sensor_ops *ops);

#endif
