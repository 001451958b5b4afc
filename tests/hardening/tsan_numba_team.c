/* The protocol of kernels/numba_team.py, transcribed, under ThreadSanitizer: Numba's code cannot be compiled for it.
 *
 * Each function here has the name of the one that it mirrors, and atomic operations of the same memory order: claim
 * (monotonic is relaxed), _count (release), _load, _swap and _replace (sequentially consistent), _look_again, _wait_for,
 * finish, wait, rotated, _post, lead, _join, _sleep, help_out, and _Team with hire, job_slot_for and _forget_threads.
 * Python's locks are semaphores. A test compares the digest of these functions' sources with this one:
 * mirrored: 3105b135999aa8d7
 * If they have changed, change this file alike, run `make tsan`, and write the new digest here.
 */
#include "tsan_jobs.h"

#include <sched.h>
#include <semaphore.h>

enum { PROGRESS_SIZE = 1 + 64, MOST_HELPERS = 63 };
enum { BUSY = 0, ENTRY = 1, JOB = 2, THREADS = 3, OPENINGS = 8, LEFT = 16, ASLEEP = 24 };
enum { LOCK = ASLEEP + MOST_HELPERS, JOB_SLOT_SIZE = LOCK + MOST_HELPERS };
enum { LOOKS = 500, LOOKS_BEFORE_YIELDING = 200 };

typedef void entry_function(intptr_t address, intptr_t rank, intptr_t threads);

static int claim(intptr_t *progress, intptr_t item, intptr_t phase) {
    intptr_t last = __atomic_load_n(&progress[1 + item], __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&progress[1 + item], &last, last > phase ? last : phase, 0, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
    }
    return last < phase;
}

static void _count(intptr_t *array, int index) { __atomic_fetch_add(&array[index], 1, __ATOMIC_RELEASE); }

static intptr_t _load(intptr_t *array, int index) { return __atomic_load_n(&array[index], __ATOMIC_SEQ_CST); }

static intptr_t _swap(intptr_t *array, int index, intptr_t value) {
    return __atomic_exchange_n(&array[index], value, __ATOMIC_SEQ_CST);
}

static int _replace(intptr_t *array, int index, intptr_t old, intptr_t new) {
    return __atomic_compare_exchange_n(&array[index], &old, new, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void _look_again(int looks) {
    if (looks > LOOKS_BEFORE_YIELDING) sched_yield();
}

static void _wait_for(intptr_t *array, int index, intptr_t count) {
    int looks = 0;
    while (_load(array, index) < count) {
        _look_again(looks);
        looks += 1;
    }
}

static void finish(intptr_t *progress) { _count(progress, 0); }

/* "wait" is a function of the system's. */
static void wait_for_items(intptr_t *progress, intptr_t items) { _wait_for(progress, 0, items); }

static intptr_t rotated(intptr_t i, intptr_t count, intptr_t rank, intptr_t threads) {
    return (i + rank * count / threads) % count;
}

static intptr_t _post(intptr_t *job_slot, intptr_t entry, intptr_t address, intptr_t threads) {
    const intptr_t helpers = threads - 1;
    job_slot[ENTRY] = entry, job_slot[JOB] = address, job_slot[THREADS] = threads, job_slot[LEFT] = 0;
    _swap(job_slot, OPENINGS, helpers);
    for (int number = 0; number < helpers; number++)
        if (_load(job_slot, ASLEEP + number) && _swap(job_slot, ASLEEP + number, 0))
            sem_post((sem_t *)job_slot[LOCK + number]);
    return helpers;
}

static void lead(entry_function *entry, intptr_t *job_slot, intptr_t threads, intptr_t address) {
    intptr_t helpers;
    if (threads < 2 || _swap(job_slot, BUSY, 1)) {
        entry(address, 0, 1);
        return;
    }
    helpers = _post(job_slot, (intptr_t)entry, address, threads < MOST_HELPERS + 1 ? threads : MOST_HELPERS + 1);
    entry(address, 0, helpers + 1);
    helpers -= _swap(job_slot, OPENINGS, 0);
    _wait_for(job_slot, LEFT, helpers);
    _swap(job_slot, BUSY, 0);
}

static intptr_t _join(intptr_t *job_slot) {
    intptr_t opening = _load(job_slot, OPENINGS);
    while (opening > 0 && !_replace(job_slot, OPENINGS, opening, opening - 1)) opening = _load(job_slot, OPENINGS);
    return opening;
}

static void acquire(intptr_t lock) {
    while (sem_wait((sem_t *)lock)) { /* a signal interrupted it */
    }
}

static void _sleep(intptr_t *job_slot, int number) {
    _swap(job_slot, ASLEEP + number, 1);
    if (_load(job_slot, OPENINGS) == 0 || !_swap(job_slot, ASLEEP + number, 0)) acquire(job_slot[LOCK + number]);
}

static void help_out(intptr_t *job_slot, int number) {
    sem_t *lock = malloc(sizeof *lock);
    int looks = 0;
    sem_init(lock, 0, 1);
    job_slot[LOCK + number] = (intptr_t)lock;
    acquire((intptr_t)lock);
    for (;;) {
        const intptr_t rank = _join(job_slot);
        if (rank > 0) {
            ((entry_function *)job_slot[ENTRY])(job_slot[JOB], rank, job_slot[THREADS]);
            _count(job_slot, LEFT);
            looks = 0;
        } else if (looks < LOOKS) {
            _look_again(looks);
            looks += 1;
        } else {
            _sleep(job_slot, number);
            looks = 0;
        }
    }
}

typedef struct {
    intptr_t job_slot[JOB_SLOT_SIZE];
    int helpers;
    pthread_mutex_t hiring;
} numba_team;

typedef struct {
    numba_team *team;
    int number;
} helper;

static numba_team *_team;

static void make_team(void) {
    numba_team *team = calloc(1, sizeof *team); /* never freed: its helpers poll it until the process ends */
    pthread_mutex_init(&team->hiring, NULL);
    __atomic_store_n(&_team, team, __ATOMIC_RELEASE); /* Python's own lock orders this */
}

static void *help(void *given) {
    helper *own = given;
    pthread_mutex_lock(&own->team->hiring);
    pthread_mutex_unlock(&own->team->hiring);
    help_out(own->team->job_slot, own->number);
    return NULL;
}

static void hire(numba_team *team, int wanted) {
    pthread_mutex_lock(&team->hiring);
    for (; team->helpers < wanted; __atomic_fetch_add(&team->helpers, 1, __ATOMIC_RELEASE)) {
        helper *own = malloc(sizeof *own);
        pthread_t thread;
        own->team = team;
        own->number = team->helpers;
        if (!pthread_create(&thread, NULL, help, own)) pthread_detach(thread);
    }
    pthread_mutex_unlock(&team->hiring);
}

static intptr_t *job_slot_for(int threads) {
    numba_team *team = __atomic_load_n(&_team, __ATOMIC_ACQUIRE);
    const int helpers = threads - 1 < MOST_HELPERS ? threads - 1 : MOST_HELPERS;
    if (__atomic_load_n(&team->helpers, __ATOMIC_ACQUIRE) < helpers) hire(team, helpers);
    return team->job_slot;
}

/* A kernel as Numba's drivers write them: progress, claims, and a wait after each phase. */
typedef struct {
    job_data *data;
    intptr_t progress[PROGRESS_SIZE];
} kernel_arguments;

static void member(intptr_t address, intptr_t rank, intptr_t threads) {
    kernel_arguments *own = (kernel_arguments *)address;
    intptr_t phase = 0, done = 0;
    for (ptrdiff_t round = 0; round < own->data->rounds; round++)
        for (int p = 0; p < own->data->phases; p++) {
            const int count = own->data->items[p];
            phase++;
            for (int i = 0; i < count; i++) {
                const int item = (int)rotated(i, count, rank, threads);
                if (!claim(own->progress, item, phase)) continue;
                do_item(own->data, round, p, item);
                finish(own->progress);
            }
            done += count;
            wait_for_items(own->progress, done);
        }
}

static void run_job(job_data *data) {
    kernel_arguments own;
    memset(&own, 0, sizeof own);
    own.data = data;
    lead(member, job_slot_for(data->threads), data->threads, (intptr_t)&own);
}

static void retire(void) { make_team(); }

static void forget(void) { make_team(); } /* as _forget_threads */

__attribute__((constructor)) static void import(void) { make_team(); }
