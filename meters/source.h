/* source.h - one meter that is asked, and how: shared by the files of this room. */
#ifndef METERS_SOURCE_H
#define METERS_SOURCE_H

#include "lib/platform/platform.h"
#include "meters/address.h"
#include "net/net.h"

#include <stdatomic.h>

#define METER_URL      700
#define METER_URLS_MAX 8 /* of one source: the power supplies of a server */

struct meters;

struct meter_source {
    struct meters *all;
    struct meter_address at;
    char urls[METER_URLS_MAX][METER_URL]; /* what shows power: all of them together */
    size_t n_urls;                        /* 0: not found yet */
    char name[340];                       /* for sentences: "shelly://192.168.1.20" */
    struct jl_thread *thread;
    struct jl_event *wake;
    atomic_bool asked; /* the first answer is in, or has failed */
    struct page page;
    size_t first; /* channel of the first figure */
    int number;   /* of its kind, in ids */
    bool open;
    unsigned failed;
    bool said;
};

struct meters {
    struct joulet *meter;
    struct meter_source *sources;
    size_t n;
    atomic_bool stop;
    _Atomic int64_t pid;
    const char *user, *password, *token, *ca_file; /* of the environment, copies */
};

/* One address, with the rights of the environment; anything but an answer is an error. *r is to be released in every case. */
enum joulet_status meter_get(struct meter_source *s, const char *url, struct net_response *r, struct joulet_error *err);
/* Asks urls[], and adds up what they say. Between *asked and *answered the device said it. */
enum joulet_status meter_ask(struct meter_source *s, struct page *page, int64_t *asked, int64_t *answered,
                             struct joulet_error *err);
/* Finds what shows power, into urls[] and page. false with a sentence. */
bool meter_find(struct meter_source *s, struct joulet_error *err);

#endif
