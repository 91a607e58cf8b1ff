/* matrix_private.h - a plan in the making: what has been said so far, by whom. */
#ifndef LLM_MATRIX_PRIVATE_H
#define LLM_MATRIX_PRIVATE_H

#include "llm/plans/matrix.h"
#include "llm/plans/plan_private.h"

#define DRAFT_SHARED (-1) /* of the plan, or of every cell */
#define DRAFT_MATRIX (-2)

struct draft_entry {
    int where; /* DRAFT_SHARED, DRAFT_MATRIX, or the number of a cell */
    char *key, **values;
    size_t n;    /* one, but in the matrix */
    size_t line; /* of the file; 0: an option */
};
struct plan_draft {
    char *name; /* of the file; NULL: options alone */
    struct draft_entry *entries;
    size_t n;
    char **cells; /* names of the cells that are written out; "" not named */
    size_t n_cells;
};

struct draft_entry *draft_find(const struct plan_draft *d, int where, const char *key);
/* An empty entry for `key`; NULL on no memory. */
struct draft_entry *draft_add(struct plan_draft *d, int where, const char *key, size_t line);
bool draft_add_value(struct draft_entry *e, const char *value, size_t len);
bool draft_add_cell(struct plan_draft *d, const char *name);

/* A setting of a cell replaced or added. */
bool plan_cell_set(struct plan_cell *c, const char *key, const char *value);
void plan_cell_release(struct plan_cell *c);
/* Names those that have none after what differs between them, and makes equal names differ. */
bool plan_name_cells(struct plan_matrix *m, const struct plan_draft *d);
/* m->text and m->sha256. */
enum joulet_status plan_write_text(struct plan_matrix *m, struct joulet_error *err);

#endif
