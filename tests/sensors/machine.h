/* machine.h - a machine of tests/fixtures/machines laid out in a temporary folder, and sensors opened on it. */
#ifndef MACHINE_H
#define MACHINE_H

#include "lib/sensors/sensor.h"

struct machine {
    char dir[64];
};

/* Lays fixtures/machines/NAME.tree out and makes it the machine by JOULET_SYSFS, JOULET_PROCFS and JOULET_DEVFS. Fails the test
 * on error. */
void machine_open(struct machine *m, const char *name);
void machine_close(struct machine *m);                                  /* removes the folder and the variables */
void machine_lay_out(const struct machine *m, const char *name);        /* the files of NAME.tree beside those that are there */
void machine_lay_out_device(const struct machine *m, const char *name); /* those below sys only, after machine_empty */
void machine_empty(const struct machine *m);                            /* removes everything below sys and dev */
/* Bytes at a place of a file, which is made when missing: registers, tables. */
void machine_write_at(const struct machine *m, const char *file, int64_t at, const void *bytes, size_t n);
void machine_write(const struct machine *m, const char *file, const char *fmt, ...) JL_PRINTF(3, 4);
void machine_remove(const struct machine *m, const char *file);
void machine_chmod(const struct machine *m, const char *file, unsigned mode);

/* Runs discover of the row called `name`, with these options or the defaults. */
enum joulet_status open_sensors(struct sensor_list *l, const char *name, const struct joulet_options *opt,
                                struct joulet_error *err);
void close_sensors(struct sensor_list *l);
const struct sensor_ops *find_sensor(const char *name);

/* Channel by id among all sensors of the list; fails the test when there is none. */
struct joulet_channel *find_channel(struct sensor_list *l, const char *id);
/* Reads the sensor that holds the channel, and gives the channel's reading. */
struct sensor_reading read_channel(struct sensor_list *l, const char *id);
/* Value of a fact; NULL when there is none. */
const char *find_fact(struct sensor_list *l, const char *device, const char *key);

#endif
