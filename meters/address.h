/* address.h - addresses of meters as users write them. Pure. */
#ifndef METERS_ADDRESS_H
#define METERS_ADDRESS_H

#include "meters/page.h"

/* A kind of meter: a row of the table in address.c. */
struct meter_kind {
    const char *scheme;   /* "shelly" */
    const char *sensor;   /* as channels say it: "shelly" */
    const char *prefix;   /* of the ids: "wall" */
    const char *base;     /* "http", "https" */
    const char *paths[5]; /* tried in this order, with %d for the channel; the first that shows power is kept */
    page_parser *parse;
    double period_s, poll_s; /* of the device's updates; between two reads */
    double spec;             /* half-width of the gain error */
    bool login_in_query;     /* user and password belong behind the path */
    bool tree;               /* Redfish: the path comes out of the collection of chassis */
    int port;                /* 0: that of the base */
};

struct meter_address {
    const struct meter_kind *kind;
    char origin[300]; /* "http://192.168.1.20:80" */
    char path[300];   /* Redfish: what was named behind the host; else "" */
    int channel;      /* -1: not named */
    bool insecure;
};

/* JOULET_USAGE with a sentence that names the address. */
enum joulet_status meter_address_parse(const char *text, struct meter_address *out, struct joulet_error *err);

#endif
