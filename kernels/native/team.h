/* A team of threads that does a job together without Python.
 *
 * A job is a sequence of phases, and a phase is a number of items. Items of one phase may run at the same time; a
 * phase begins when the one before it has ended. The thread that calls team_run works on the job, and up to
 * `threads` - 1 helper threads work with it. Each member begins with its own share of a phase's items, the same in
 * every phase, because their data are still in its cache; then it takes items that no other member has begun. If a
 * helper is late, because the machine is busy, the others do its items: they wait only for items that it has begun.
 *
 * OpenMP is not used: its threads do not survive a fork, and two of its runtimes in one process can deadlock.
 */
#ifndef FASTLIN_TEAM_H
#define FASTLIN_TEAM_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>

enum { MAX_ITEMS = 64, MAX_MEMBERS = 64, MAX_PHASES = 4 };

/* After a job a helper polls for the next one for about 50 us before it sleeps, because waking it takes 10 us. */
enum { LOOKS = 500, LOOKS_BEFORE_YIELDING = 200 };

typedef struct {
    void (*work)(void *context, ptrdiff_t round, int phase, int item);
    void *context;
    ptrdiff_t rounds;      /* how often the sequence of phases is repeated */
    int phases;            /* at most MAX_PHASES */
    int items[MAX_PHASES]; /* of each phase, at most MAX_ITEMS */
    int threads;
    ptrdiff_t progress[MAX_ITEMS]; /* of each item, the number of the last phase in which a member took it */
    ptrdiff_t done;                /* how many items are done, over all phases */
    int left;                      /* how many helpers have left the job */
} team_job;

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    team_job *job;
    int busy;     /* whether a job is running */
    int helpers;  /* how many helper threads exist */
    int openings; /* how many more helpers may join the job */
    int sleepers; /* how many helpers sleep */
    int prepared; /* whether the handler for fork is registered */
} team = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, 0, 0, 0};

static inline void team_look_again(int looks) {
    if (looks > LOOKS_BEFORE_YIELDING)
        sched_yield(); /* the member that we wait for may need this core */
    else
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#else
        __asm__ volatile("" ::: "memory");
#endif
}

/* Takes the item of phase number `phase` (from 1). Returns whether it was still free. */
static int team_claim(team_job *job, int item, ptrdiff_t phase) {
    ptrdiff_t last = __atomic_load_n(&job->progress[item], __ATOMIC_RELAXED);
    return last < phase &&
           __atomic_compare_exchange_n(&job->progress[item], &last, phase, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* The work of every member of the team; `rank` is its number, 0 for the caller of team_run. */
static void team_take_part(team_job *job, int rank) {
    ptrdiff_t phase = 0, before = 0;
    for (ptrdiff_t round = 0; round < job->rounds; round++)
        for (int p = 0; p < job->phases; p++) {
            const int count = job->items[p], first = (int)((ptrdiff_t)rank * count / job->threads);
            phase++;
            for (int i = 0; i < count; i++) {
                const int item = first + i < count ? first + i : first + i - count;
                if (!team_claim(job, item, phase)) continue;
                job->work(job->context, round, p, item);
                __atomic_fetch_add(&job->done, 1, __ATOMIC_RELEASE);
            }
            before += count;
            for (int looks = 0; __atomic_load_n(&job->done, __ATOMIC_ACQUIRE) < before; looks++) team_look_again(looks);
        }
}

/* Takes an opening. Returns the new member's rank, or 0 if there was no opening. */
static int team_join(void) {
    int open = __atomic_load_n(&team.openings, __ATOMIC_RELAXED);
    while (open > 0 && !__atomic_compare_exchange_n(&team.openings, &open, open - 1, 0, __ATOMIC_ACQUIRE,
                                                    __ATOMIC_RELAXED)) {
    }
    return open;
}

static void team_sleep(void) {
    pthread_mutex_lock(&team.mutex);
    __atomic_fetch_add(&team.sleepers, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&team.openings, __ATOMIC_SEQ_CST) == 0) pthread_cond_wait(&team.wake, &team.mutex);
    __atomic_fetch_sub(&team.sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&team.mutex);
}

static void *team_help(void *nothing) {
    for (int looks = 0;; looks++) {
        const int rank = team_join();
        if (rank) {
            team_job *job = team.job; /* it exists until we have left it */
            team_take_part(job, rank);
            __atomic_fetch_add(&job->left, 1, __ATOMIC_RELEASE);
            looks = 0;
        } else if (looks < LOOKS) {
            team_look_again(looks);
        } else {
            team_sleep();
            looks = 0;
        }
    }
    return nothing;
}

/* Runs in the child of a fork, which has none of its parent's helpers. */
static void team_forget(void) {
    pthread_mutex_init(&team.mutex, NULL);
    pthread_cond_init(&team.wake, NULL);
    team.busy = team.helpers = team.openings = team.sleepers = 0;
}

/* Starts helpers until there are `wanted`, or as many as the system allows. Returns how many there are, at most
 * `wanted`. */
static int team_hire(int wanted) {
    sigset_t all, before;
    pthread_t thread;
    if (!team.prepared) team.prepared = !pthread_atfork(NULL, NULL, team_forget);
    if (team.helpers >= wanted) return wanted;
    sigfillset(&all); /* Python's own threads handle signals */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (team.helpers < wanted && !pthread_create(&thread, NULL, team_help, NULL)) {
        pthread_detach(thread);
        team.helpers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return team.helpers;
}

/* Does the job and returns when all of it is done. If another thread's job is running, the caller does its own job
 * alone: it neither waits nor adds threads. The caller sets work, context, rounds, phases, items and threads. */
static void team_run(team_job *job) {
    int helpers = 0;
    for (int i = 0; i < MAX_ITEMS; i++) job->progress[i] = 0;
    job->done = 0;
    job->left = 0;
    if (job->threads > MAX_MEMBERS) job->threads = MAX_MEMBERS;
    if (job->threads < 2 || __atomic_exchange_n(&team.busy, 1, __ATOMIC_ACQUIRE)) {
        team_take_part(job, 0);
        return;
    }
    helpers = team_hire(job->threads - 1);
    team.job = job;
    __atomic_store_n(&team.openings, helpers, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&team.sleepers, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&team.mutex);
        pthread_cond_broadcast(&team.wake);
        pthread_mutex_unlock(&team.mutex);
    }
    team_take_part(job, 0);
    helpers -= __atomic_exchange_n(&team.openings, 0, __ATOMIC_ACQUIRE); /* how many have joined */
    for (int looks = 0; __atomic_load_n(&job->left, __ATOMIC_ACQUIRE) < helpers; looks++) team_look_again(looks);
    __atomic_store_n(&team.busy, 0, __ATOMIC_RELEASE);
}

#endif
