/* A team of threads that does a job together without Python.
 *
 * A job is a sequence of phases, a phase is some numbered items. Items of one phase may run at the same time; a
 * phase begins when the one before has ended. Whoever calls team_run works, and up to `threads` - 1 helpers with
 * it. Each prefers its own share of a phase's items, the same in every phase, so that what it left in its cache
 * is near; then it takes what others have not begun. A helper that is late, because the machine is busy, finds
 * less to do: nobody waits for it unless it has begun an item.
 *
 * Not OpenMP: its children die after fork, and two of its runtimes in a process can deadlock.
 */
#ifndef FASTLIN_TEAM_H
#define FASTLIN_TEAM_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>

enum { MOST_ITEMS = 64, MOST_MEMBERS = 64, MOST_PHASES = 4 };

/* After a job a helper looks out for the next one for about 50 us before it sleeps: waking it takes 10 us. */
enum { LOOKS = 500, LOOKS_BEFORE_YIELDING = 200 };

typedef struct {
    void (*work)(void *context, ptrdiff_t round, int phase, int item);
    void *context;
    ptrdiff_t rounds;        /* how often the phases are gone through */
    int phases;              /* at most MOST_PHASES */
    int items[MOST_PHASES];  /* of each phase, at most MOST_ITEMS */
    int threads;
    ptrdiff_t claimed[MOST_ITEMS]; /* the number of the last phase in which somebody took the item */
    ptrdiff_t done;                /* items, over all phases */
    int left;                      /* helpers that have gone again */
} team_job;

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    team_job *job;
    int busy;     /* somebody has a job running */
    int helpers;  /* threads that exist */
    int openings; /* helpers that the job still takes */
    int sleepers;
    int prepared; /* for fork */
} team = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, 0, 0, 0};

static inline void team_look_again(int looks) {
    if (looks > LOOKS_BEFORE_YIELDING)
        sched_yield(); /* whoever shares this core may be the one we wait for */
    else
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#else
        __asm__ volatile("" ::: "memory");
#endif
}

/* Whether the item of phase number `phase` (from 1) is ours: nobody has taken it yet. */
static int team_claim(team_job *job, int item, ptrdiff_t phase) {
    ptrdiff_t last = __atomic_load_n(&job->claimed[item], __ATOMIC_RELAXED);
    return last < phase &&
           __atomic_compare_exchange_n(&job->claimed[item], &last, phase, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* What every member does. */
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

/* Takes an opening if there is one; its number is the member's rank, 0 if there is none. */
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
            team_job *job = team.job; /* it stays until we have left */
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

/* The child of a fork has none of the parent's threads. */
static void team_forget(void) {
    pthread_mutex_init(&team.mutex, NULL);
    pthread_cond_init(&team.wake, NULL);
    team.busy = team.helpers = team.openings = team.sleepers = 0;
}

/* Makes sure that there are `wanted` helpers, or as many as the system allows; how many that is. */
static int team_hire(int wanted) {
    sigset_t all, before;
    pthread_t thread;
    if (!team.prepared) team.prepared = !pthread_atfork(NULL, NULL, team_forget);
    if (team.helpers >= wanted) return wanted;
    sigfillset(&all); /* Ctrl-C is for Python's own thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (team.helpers < wanted && !pthread_create(&thread, NULL, team_help, NULL)) {
        pthread_detach(thread);
        team.helpers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return team.helpers;
}

/* Does the job; returns when all of it is done. If another thread has a job running, the caller does its own
 * alone: it neither waits nor adds threads. The caller sets work, context, rounds, phases, items and threads. */
static void team_run(team_job *job) {
    int helpers = 0;
    for (int i = 0; i < MOST_ITEMS; i++) job->claimed[i] = 0;
    job->done = 0;
    job->left = 0;
    if (job->threads > MOST_MEMBERS) job->threads = MOST_MEMBERS;
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
    helpers -= __atomic_exchange_n(&team.openings, 0, __ATOMIC_ACQUIRE); /* those that came */
    for (int looks = 0; __atomic_load_n(&job->left, __ATOMIC_ACQUIRE) < helpers; looks++) team_look_again(looks);
    __atomic_store_n(&team.busy, 0, __ATOMIC_RELEASE);
}

#endif
