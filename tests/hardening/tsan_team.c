/* The team of kernels/native/team.h, as the kernels include it, under ThreadSanitizer. */
#include "tsan_jobs.h"

#include "team.h"

static void work(void *context, ptrdiff_t round, int phase, int item) { do_item(context, round, phase, item); }

static void run_job(job_data *data) {
    team_job job;
    job.work = work;
    job.context = data;
    job.rounds = data->rounds;
    job.phases = data->phases;
    memcpy(job.items, data->items, sizeof data->items);
    job.threads = data->threads;
    team_run(&job);
}

static void retire(void) {} /* a module has one team */

static void forget(void) {} /* team_hire has registered team_forget */
