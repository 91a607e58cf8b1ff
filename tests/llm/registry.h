/* registry.h - a registry of models as Ollama asks one: manifests and blobs of OCI, with one small model under several names,
 * most of which have something wrong. Its answers are composed. */
#ifndef TESTS_REGISTRY_H
#define TESTS_REGISTRY_H

struct registry;
/* Names below ns/: "good"; "missing" (a layer that is not there), "wrong" (a layer with other bytes than its digest says), "cut"
 * (the connection ends inside the manifest), "slow" (its layer stops in the middle and stays silent), "page" (a web page). Others
 * are not there. */
struct registry *registry_start(const char *gguf);
int registry_port(const struct registry *r);
void registry_stop(struct registry *r);

#endif
