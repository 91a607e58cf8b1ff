/* page.h - what the answer of a meter says: the parsers of its formats. Pure. */
#ifndef METERS_PAGE_H
#define METERS_PAGE_H

#include "lib/base/base.h"

#define PAGE_VALUES 32

/* One figure of an answer; becomes one channel. */
struct page_value {
    char name[32];   /* after the dot of the id: "power" */
    char parent[32]; /* name of the figure that contains it, "" none */
    bool counter;    /* J; else W */
    double value;
    double quantum;  /* step, in J or W */
    double period_s; /* 0: that of the meter */
    enum joulet_domain domain;
    int64_t place;
    bool beside; /* never in the total */
};
struct page {
    struct page_value values[PAGE_VALUES];
    size_t n;
    char device[96]; /* what it says it is; "" nothing */
};
struct page_ask {
    int channel; /* of a meter with several; -1: not named */
    int64_t pid; /* whose share; 0: nobody's */
};

/* JOULET_OK with at least one figure, or JOULET_FORMAT with a sentence that begins with "answers". */
typedef enum joulet_status page_parser(const char *body, size_t n, const struct page_ask *ask, struct page *out,
                                       struct joulet_error *err);
page_parser page_shelly, page_tasmota, page_redfish, page_scaphandre;

/* Of a list of members of a Redfish collection: the i-th address, in buf. False when there is none. */
bool page_redfish_member(const char *body, size_t n, size_t i, char *buf, size_t size);

/* Whether a meter can have told this: a finite number that is 0 or more and below what any machine uses, W or (counter) J. */
bool page_believable(double value, bool counter);

/* Where a resource has another, in buf: {"Metrics": {"@odata.id": "/redfish/..."}}. False when it has none on this controller. */
bool page_redfish_link(const char *body, size_t n, const char *key, char *buf, size_t size);
/* A part that is not there: an empty bay. */
bool page_redfish_is_absent(const char *body, size_t n);

/* Adds a figure; false when there is no room, or the value is not believable. */
bool page_add(struct page *out, const struct page_value *v);

#endif
