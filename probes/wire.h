/* wire.h - what a probe inside an engine tells joulet: a file of one head and a ring of records in shared memory, written by the
 * probe without locks and read while it runs. Files are made by one version of both sides; another version is refused, not
 * guessed at. Times are CLOCK_MONOTONIC in ns, numbers those of the machine.
 *
 * A writer takes the next number from `reserved`, writes the record at number % capacity, and sets its `stamp` last. A reader
 * believes a record whose stamp is that of its number and that was still within the last `capacity` numbers after it was copied.
 */
#ifndef PROBES_WIRE_H
#define PROBES_WIRE_H

#include <stdatomic.h>
#include <stdint.h>

#define WIRE_MAGIC      "JLPROBE" /* with its NUL: 8 bytes */
#define WIRE_VERSION    1u
#define WIRE_HEAD_BYTES 16384u
#define WIRE_NAMES      256u
#define WIRE_NAME_BYTES 48u
#define WIRE_UNKNOWN    UINT32_MAX
#define WIRE_FILE       "ggml-%lld-%llx.ring" /* process, start in ns: a number that is used again makes another file */

/* How often an engine is stopped to look at the clock. */
enum wire_level { WIRE_STAGES, WIRE_LAYERS, WIRE_COMPONENTS, WIRE_NODES, WIRE_LEVELS };

enum wire_kind {
    WIRE_NONE,
    /* stages: whole calls */
    WIRE_LOAD,       /* a: 0 model, 1 context */
    WIRE_TOKENISE,   /* tokens made; a: bytes of text */
    WIRE_STEP,       /* one batch; tokens; a: enum wire_route, b: what it returned; source: context */
    WIRE_SEQUENCE,   /* of the step with this c; tokens of one sequence; a: which, b: position of its first token */
    WIRE_WAIT,       /* the engine waited for its devices; part of the step for those that compute on their own */
    WIRE_SAMPLE,     /* a: ns of it that were waiting */
    WIRE_DETOKENISE, /* tokens */
    WIRE_GRAPH,      /* a: nodes, b: stops, c: its number; source: scheduler; tokens of its step */
    /* stretches of a graph; tokens: rows of its last node, a: nodes, b: wire_place, c: number of the graph; source: scheduler */
    WIRE_EMBEDDING = 16,
    WIRE_ATTENTION_NORM,
    WIRE_ATTENTION,
    WIRE_FFN_NORM,
    WIRE_FFN,
    WIRE_OUTPUT_NORM,
    WIRE_HEAD,
    WIRE_LAYER, /* a whole layer, or one whose parts have no names we know */
    WIRE_OTHER, /* between places that do not follow each other in a model we know */
    WIRE_KINDS
};

enum wire_route { WIRE_DECODE, WIRE_ENCODE, WIRE_PROCESS_ENCODE, WIRE_PROCESS_DECODE };

/* Below components, at level nodes. */
enum wire_part {
    WIRE_PART_NONE,
    WIRE_QKV,
    WIRE_ROPE,
    WIRE_KV_WRITE,
    WIRE_SCORES, /* with softmax and the sum of values; one node under flash attention */
    WIRE_PROJECTION,
    WIRE_GATE,
    WIRE_UP,
    WIRE_ACTIVATION,
    WIRE_DOWN,
    WIRE_ROUTER,
    WIRE_EXPERTS,
    WIRE_RESIDUAL,
    WIRE_NORM,
    WIRE_PARTS
};

/* b of a stretch at level nodes: its part, and where its name stands among the names of the head, plus 1; 0 none. */
#define wire_place(part, name) ((uint32_t)(part) | (uint32_t)(name) << 16)
#define wire_part_of(b)        ((b)&0xffffu)
#define wire_name_of(b)        ((b) >> 16)

enum wire_flag {
    WIRE_WATCHED = 1,     /* a graph that was stopped at the places of the level */
    WIRE_VECTORS = 1,     /* a step: not of tokens of text but of what an encoder made of an image or a sound */
    WIRE_REPEATED = 2,    /* a further execution of a stretch, or a graph in which some are; its kind in the high byte */
    WIRE_NORM_INSIDE = 4, /* the stretch holds the norm before it as well */
    WIRE_FLASH = 8,       /* scores, softmax and values are one node */
    WIRE_FAILED = 16,     /* the call failed */
    WIRE_REFUSED = 32,    /* this stretch cannot be repeated exactly */
    WIRE_LOOPED = 64, /* all stretches of a kind over and over, for as long as was asked; tokens: stretches in a round, a: us that
                         they ran, b: rounds */
    WIRE_OUTSIDE = 128, /* a graph, a stretch or a wait in no step: of a vision encoder, or when a step has ended */
};
#define wire_segment(kind)                                                                                                       \
    ((uint16_t)((unsigned)(kind) << 8)) /* into flags: which kind is repeated while this ran; of a step its turn */
#define wire_segment_of(flags) ((unsigned)(flags) >> 8)

struct wire_record {
    _Atomic uint32_t stamp; /* low bits of its number + 1; anything else: not written yet, or another record */
    uint32_t tokens;        /* WIRE_UNKNOWN */
    uint64_t t0_ns, t1_ns;
    uint16_t kind;
    int16_t layer; /* -1 none */
    uint16_t source;
    uint16_t flags;
    uint32_t a, b, c;
    uint32_t thread; /* of the system */
};
_Static_assert(sizeof(struct wire_record) == 48, "records are laid out alike everywhere");

enum wire_count {
    WIRE_N_SETTER,     /* callbacks set by the engine: a graph was built */
    WIRE_N_ASKED,      /* nodes the scheduler asked about */
    WIRE_N_STOPS,      /* of those, stopped after */
    WIRE_N_GRAPHS,     /* computed */
    WIRE_N_WATCHED,    /* of those, with stops */
    WIRE_N_DECODE,     /* calls of llama_decode and llama_encode */
    WIRE_N_PROCESS,    /* of llama_process */
    WIRE_N_FOREIGN,    /* callbacks of somebody else that were chained */
    WIRE_N_TABLE_FULL, /* schedulers, batches or names without room: they were left alone */
    WIRE_N_REPEATS,    /* stretches executed again */
    WIRE_N_CHECKED,    /* of those, compared byte by byte with the first time */
    WIRE_N_DIFFER,     /* of those, with a difference: must stay 0 */
    WIRE_N_REFUSED,    /* stretches that cannot be repeated exactly, at each build of a graph */
    WIRE_COUNTS
};

struct wire_name {
    _Atomic uint32_t state; /* 0 free, 1 being written, 2 written */
    uint32_t hash;
    char text[WIRE_NAME_BYTES - 8]; /* name without its layer, ':', operation */
};

/* What a reader asks of the writer while it runs; all 0, as in a new file: what the writer was started with. */
enum wire_watch { WIRE_AS_SET, WIRE_WATCH_NONE, WIRE_WATCH_ALL, WIRE_WATCH_TURNS };
/* WIRE_WATCH_TURNS: each step of a thread in another way, in random order within four, so that what the probe itself costs can be
 * seen in one process. A step tells its way in the high byte of its flags; of one without the probe it tells nothing else. */
enum wire_turn { WIRE_TURN_NONE, WIRE_TURN_OFF, WIRE_TURN_STAGES, WIRE_TURN_AS_SET, WIRE_TURN_ALL, WIRE_TURNS };
enum wire_again { WIRE_AGAIN_NORM, WIRE_AGAIN_ATTENTION, WIRE_AGAIN_FFN, WIRE_AGAIN_HEAD, WIRE_AGAIN };
struct wire_control {
    _Atomic uint32_t watch;             /* enum wire_watch: which graphs are stopped */
    _Atomic uint32_t segment_ms;        /* least length of a segment of repeats */
    _Atomic uint32_t again[WIRE_AGAIN]; /* further executions, at most 64; all 0: none beyond those it was started with */
    _Atomic uint32_t loop_ms; /* after each graph one of the kinds in `again`, in turn, for so long and at most a minute; 0: as
                                 often as that says */
};

struct wire_head {
    char magic[8];
    uint32_t version, head_bytes, record_bytes, level;
    uint64_t capacity; /* records */
    int64_t pid;
    uint64_t start_ns;        /* monotonic */
    uint64_t start_wall_ns;   /* since 1970 at that time */
    uint32_t every;           /* one graph in so many is stopped; 0: as many as cost little */
    uint32_t stop_ns;         /* what a stop is believed to cost at most, for that choice */
    _Atomic uint32_t repeats; /* 1: stretches are executed again */
    uint32_t pad;
    char engine[64], ggml[64]; /* versions as the libraries tell them, "" unknown */
    char device[64];           /* names of the backends of the first scheduler */
    char remark[256];          /* what the probe cannot do here, "" nothing */
    _Alignas(64) _Atomic uint64_t reserved;
    _Alignas(64) _Atomic uint64_t counts[WIRE_COUNTS];
    struct wire_name names[WIRE_NAMES];
    struct wire_control control; /* the only part of the file that a reader writes */
    /* By graphs without stops, and with them: in which a captured graph was launched; how many were. 0 also where it is not seen.
     */
    _Atomic uint64_t captured[2], launches[2];
};
_Static_assert(sizeof(struct wire_name) == WIRE_NAME_BYTES, "names are laid out alike everywhere");
_Static_assert(sizeof(struct wire_head) <= WIRE_HEAD_BYTES, "the records begin after the head");

/* Stamp of the record with this number. */
static inline uint32_t wire_stamp(uint64_t number)
{
    return (uint32_t)(number + 1);
}

#endif
