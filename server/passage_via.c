/* passage_via.c - one joulet server in front of another: which ones a request came through, so that a ring of them is seen, and
 * the token that the next one wants. Engines get none of this. */
#include "server/internal.h"

#include <string.h>

static const char *const forms[] = {[SPLICE_NONE] = "none", [SPLICE_ENERGY] = "energy", [SPLICE_USAGE] = "usage"};

static const char *via_of(const struct passage *p)
{
    return net_head_value(p->head->headers, p->head->n_headers, PASSAGE_VIA);
}

enum splice_form passage_form(const struct passage *p)
{
    const char *wish = net_head_value(p->head->headers, p->head->n_headers, PASSAGE_INJECT);
    enum splice_form ours = p->rules->o.inject;
    for (size_t i = 0; wish && ours != SPLICE_NONE && i < JL_COUNT(forms); i++)
        if (strcmp(wish, forms[i]) == 0)
            return (enum splice_form)i;
    return ours;
}

bool passage_loops(const struct passage *p)
{
    const char *via = via_of(p);
    return via && strstr(via, p->server->instance);
}

/* What came from a joulet server goes on to whoever is next: in a ring nobody has seen an answer yet. */
bool passage_to_joulet(struct passage *p)
{
    const char *via = via_of(p);
    if (p->to->token)
        p->headers[p->n_headers++] = (struct net_header){"X-Joulet-Token", p->to->token};
    if (p->server->o.metering && atomic_load(&p->upstream->joulet)) /* so that there is one energy, where ours would be */
        p->headers[p->n_headers++] = (struct net_header){PASSAGE_INJECT, forms[passage_form(p)]};
    if (!via && !atomic_load(&p->upstream->joulet))
        return true;
    p->via = jl_strf("%s%s%s", via ? via : "", via ? ", " : "", p->server->instance);
    if (p->via)
        p->headers[p->n_headers++] = (struct net_header){PASSAGE_VIA, p->via};
    return p->via != NULL;
}

void passage_notice_joulet(struct passage *p, const struct net_reply *reply)
{
    if (!atomic_load(&p->upstream->joulet) && net_head_value(reply->headers, reply->n_headers, "X-Joulet-Request"))
        atomic_store(&p->upstream->joulet, true);
}
