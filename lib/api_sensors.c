/* api_sensors.c - the rows of the sensor table, for lists and help. */
#include "lib/sensors/sensor.h"

size_t joulet_sensor_count(void)
{
    size_t n = 0;
    while (sensor_table[n])
        n++;
    return n;
}

enum joulet_status joulet_sensor_get(size_t i, struct joulet_sensor *out)
{
    if (i >= joulet_sensor_count())
        return JOULET_USAGE;
    const struct sensor_ops *row = sensor_table[i];
    *out =
        (struct joulet_sensor){.name = row->name, .summary = row->summary, .on_request = row->on_request, .beside = row->beside};
    return JOULET_OK;
}
