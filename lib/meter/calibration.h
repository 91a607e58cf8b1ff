/* calibration.h - the calibration file inside libjoulet: its text, and which entry belongs to which channel. */
#ifndef JL_CALIBRATION_H
#define JL_CALIBRATION_H

#include "lib/sensors/sensor.h"

#define CALIBRATION_FILE_MAX    ((size_t)256 << 10)
#define CALIBRATION_ENTRIES_MAX 256

/* Pure, for bytes from anywhere. `name` stands for the file in sentences. *out is empty on error. */
enum joulet_status calibration_parse(const char *text, size_t len, const char *name, struct joulet_calibration_file *out,
                                     struct joulet_error *err);
/* What calibration_parse reads again. false: no memory. */
bool calibration_write(const struct joulet_calibration_file *f, struct jl_buf *out);

/* Who a channel is: as in an entry, without figures. */
void calibration_identity(const struct sensor *s, const struct joulet_channel *ch, struct joulet_calibrated *out);
/* Whether both are the same channel of the same device; the driver may differ. */
bool calibration_same(const struct joulet_calibrated *a, const struct joulet_calibrated *b);
/* The entry of that channel, NULL when there is none; *state says whether it may be used. */
const struct joulet_calibrated *calibration_find(const struct joulet_calibration_file *f, const struct joulet_calibrated *who,
                                                 enum joulet_calibration_state *state);
/* Takes period, window and lag of an entry into a channel. */
void calibration_apply(const struct joulet_calibrated *e, struct joulet_channel *ch);

#endif
