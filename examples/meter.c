/* meter.c - a meter in four calls: the energy of a piece of work.
 *
 *     cc meter.c $(pkg-config --cflags --libs joulet) -o meter && ./meter
 *
 * Without a power sensor that may be read, the figure is an estimate, and says so. */
#include <joulet.h>

#include <stdio.h>
#include <time.h>

/* Something to measure: a second of one busy core. */
static double work(void)
{
    double sum = 0;
    for (clock_t end = clock() + CLOCKS_PER_SEC; clock() < end;)
        for (int i = 1; i < 100000; i++)
            sum += 1.0 / i;
    return sum;
}

int main(void)
{
    struct joulet *meter;
    struct joulet_energy energy;
    struct joulet_error error;
    char text[64];

    if (joulet_open(&meter, NULL, &error) != JOULET_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    joulet_mark from = joulet_mark_now(meter);
    double result = work();
    joulet_mark to = joulet_mark_now(meter);
    if (joulet_energy_between(meter, JOULET_TOTAL, from, to, &energy, &error) != JOULET_OK)
        fprintf(stderr, "%s\n", error.message);
    else
        printf("%s in %.2f s (%s; the work gave %g)\n",
               joulet_format_j(text, sizeof(text), energy.gross_j, energy.gross_pm_j, false), (double)(to - from) * 1e-9,
               joulet_provenance_name(energy.provenance), result);
    joulet_close(meter);
    return error.status == JOULET_OK ? 0 : 1;
}
