/* loaded.c - a program that loads llama.cpp at run time, as node and Python do: nothing of it stands behind the probe in the
 * order of the process. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *driver = dlopen(STAND_IN_DRIVER, RTLD_NOW | RTLD_LOCAL);
    int (*serve)(int, char **) = NULL;
    if (driver)
        *(void **)&serve = dlsym(driver, "main");
    if (!serve) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    return serve(argc, argv);
}
