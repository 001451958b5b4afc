/* Jobs for a team under ThreadSanitizer: what both harnesses share.
 *
 * A job has random numbers of rounds, phases, items and threads. Its items read what all items of the phase before
 * have written, in plain memory: a phase that begins too early is a race, which ThreadSanitizer reports, and a wrong
 * sum, which is looked for. Several callers run jobs at once, the process forks while they do, and a timer interrupts
 * them all the time. A harness includes this file and defines run_job, retire and forget.
 */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ITEMS = 64, PHASES = 4, CALLERS = 3, JOBS_OF_A_CHILD = 6, JOBS_OF_A_TEAM = 1000 };

typedef struct {
    ptrdiff_t rounds;
    int phases, threads;
    int items[PHASES];
    uint64_t seed;
    uint64_t cells[2][ITEMS]; /* what the items of the phase before wrote, and those of this one, by turns */
    int counts[2];            /* how many items these phases have */
} job_data;

static void run_job(job_data *job); /* by the team */
static void retire(void);           /* another team takes this one's place, where there can be several */
static void forget(void);           /* what the child of a fork does first */

static uint64_t mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static int below(uint64_t *state, int limit) {
    *state = mix(*state + 0x9e3779b97f4a7c15u);
    return (int)(*state % (uint64_t)limit);
}

/* Reads what the phase before has written, and writes a cell; the work is uneven. */
static void do_item(job_data *job, ptrdiff_t round, int phase, int item) {
    const ptrdiff_t number = round * job->phases + phase;
    const int before = (number + 1) % 2, count = number ? job->items[(phase + job->phases - 1) % job->phases] : 0;
    uint64_t sum = mix(job->seed + (uint64_t)(number * ITEMS + item));
    volatile uint64_t idle = 0;
    for (int i = sum % 16 == 0 ? 2000 : (int)(sum % 50); i > 0; i--) idle = idle + 1;
    for (int i = 0; i < count; i++) sum += job->cells[before][i];
    job->cells[number % 2][item] = mix(sum);
}

/* The same by one thread. */
static void do_alone(job_data *job) {
    for (ptrdiff_t round = 0; round < job->rounds; round++)
        for (int phase = 0; phase < job->phases; phase++)
            for (int item = 0; item < job->items[phase]; item++) do_item(job, round, phase, item);
}

static void make_job(job_data *job, uint64_t *state) {
    memset(job, 0, sizeof *job);
    job->rounds = 1 + below(state, 6);
    job->phases = 1 + below(state, PHASES);
    for (int p = 0; p < job->phases; p++) job->items[p] = 1 + below(state, below(state, 3) ? 8 : ITEMS);
    job->threads = 1 + below(state, 8);
    job->seed = *state;
}

/* Whether a job of the team wrote what one thread writes. */
static int agrees(uint64_t *state) {
    job_data job, alone;
    make_job(&job, state);
    alone = job;
    run_job(&job);
    do_alone(&alone);
    return !memcmp(job.cells, alone.cells, sizeof job.cells);
}

static long jobs_of_each, jobs_between_forks, forks, failures;

static int fork_agrees(uint64_t *state) {
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        int good = 1;
        struct itimerval none = {{0, 0}, {0, 0}};
        setitimer(ITIMER_REAL, &none, NULL);
        signal(SIGALRM, SIG_DFL);
        alarm(60); /* a deadlock ends too */
        forget();
        for (int i = 0; i < JOBS_OF_A_CHILD; i++) good &= agrees(state);
        _exit(good ? 0 : 1);
    }
    if (child < 0) return 0;
    while (waitpid(child, &status, 0) < 0) { /* the timer interrupts this too */
    }
    if (status) fprintf(stderr, "a child ended with status %d\n", status);
    return status == 0;
}

static void *caller(void *number) {
    uint64_t state = (uint64_t)(intptr_t)number * 1000003u;
    for (long i = 1; i <= jobs_of_each; i++) {
        int good = agrees(&state);
        if (below(&state, 8) == 0) usleep(300); /* the helpers fall asleep */
        if (number == NULL && jobs_between_forks && i % jobs_between_forks == 0) {
            good &= fork_agrees(&state);
            forks++;
        }
        if (number == NULL && i % JOBS_OF_A_TEAM == 0) retire();
        if (!good) __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void interrupt(int signal_number) { (void)signal_number; }

/* The arguments are the number of jobs of each caller, and after how many jobs the first one forks, 0 for never. Prints
 * the jobs and forks that were done; the status is 1 if an answer was wrong. */
int main(int count, char **arguments) {
    pthread_t callers[CALLERS];
    struct sigaction action;
    struct itimerval often = {{0, 500}, {0, 500}};
    if (count != 3) return 2;
    jobs_of_each = atol(arguments[1]);
    jobs_between_forks = atol(arguments[2]);
    memset(&action, 0, sizeof action);
    action.sa_handler = interrupt; /* without SA_RESTART: calls of the system are interrupted */
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (intptr_t i = 0; i < CALLERS; i++)
        if (pthread_create(&callers[i], NULL, caller, (void *)i)) return 2;
    for (int i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
    printf("%ld %ld\n", jobs_of_each * CALLERS + forks * JOBS_OF_A_CHILD, forks);
    return failures ? 1 : 0;
}
