/* meters.h - sources of power behind HTTP: wall meters, management controllers, exporters. Each is polled in a thread of its own,
 * at the rate of its device, and pushes what it reads into a meter of libjoulet (joulet_push); the sampler never waits for it.
 *
 *   shelly://HOST[:PORT][/CHANNEL]   tasmota://HOST[:PORT][/CHANNEL]   redfish+https://HOST[/redfish/v1/Chassis/ID]
 *   redfish://... (plain HTTP)       scaphandre://HOST[:PORT]
 *
 * Who asks comes from the environment: JOULET_METER_USER, JOULET_METER_PASSWORD, JOULET_METER_TOKEN (a Redfish session); whom it
 * believes from JOULET_METER_CA (a file of certificates), or `?insecure` at the end of the address. */
#ifndef METERS_H
#define METERS_H

#include "lib/base/base.h"

#define METERS_MAX 16

struct meters;

/* JOULET_USAGE with a sentence when an address cannot be one; nothing is opened or asked. */
enum joulet_status meters_check(const char *const *addresses, size_t n, struct joulet_error *err);

/* Asks each meter once, all together, and adds the channels of those that answer to m; then polls until meters_close. One that
 * does not answer, or nonsense, is a problem of m (joulet_problem_get), no error. Error: JOULET_USAGE, JOULET_MEMORY. */
enum joulet_status meters_open(struct meters **out, struct joulet *m, const char *const *addresses, size_t n,
                               struct joulet_error *err);
/* The process of which exporters shall tell the share; until then none is told. NULL is fine. */
void meters_engine(struct meters *all, int64_t pid);
/* Ends the threads. Before joulet_close. NULL is fine. */
void meters_close(struct meters *all);

#endif
